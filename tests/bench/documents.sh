#!/usr/bin/env bash
# documents: what a packet costs recorder and server, written the documented way at a steady rate.
. "$(dirname "$0")/../lib/lab.sh"

rate=25000 seconds=20
[[ ${1:-} != --smoke ]] || seconds=4

lab_begin
lab_engine
lab_veth a r0 b p0
lab_offloads a r0 off
lab_offloads b p0 off
lab_settle b p0
lab_record docs a -i r0 --storage documents || exit 1
drainer=$(lab_drainer docs) engine=$(lab_engine_pid)
lab_send b --iface p0 --raw --proto mix --count 2000 --rate 2000 # warm
lab_stored 2000
recorder=$(($(lab_cpu "$drainer") + $(lab_cpu "${lab_pid[docs]}")))
server=$(lab_cpu "$engine")
begin=${EPOCHREALTIME/./}
lab_send b --iface p0 --raw --proto mix --first 2000 --count $((rate * seconds)) --rate $rate
stored() { [[ $(lab_in a "$lab_program" status --json | grep -oP '"stored[^}]*' | grep -oP '[0-9]{4,}' | head -n 1) -ge $((sent + 2000)) ]]; }
# Asking the database while it writes would be measured too: ask the recorder.
lab_wait 60 stored || note 'status does not say when all is stored' >&2
took=$((${EPOCHREALTIME/./} - begin))
recorder=$(($(lab_cpu "$drainer") + $(lab_cpu "${lab_pid[docs]}") - recorder))
server=$(($(lab_cpu "$engine") - server))
lab_end_record docs
check 'each frame is stored once' lab_check sequence $((sent + 2000)) >&2
awk -v n="$sent" -v r="$recorder" -v s="$server" -v t="$took" 'BEGIN {
  printf "documents.rate %.0f packets/s\n", n * 1e6 / t
  printf "documents.recorder_cpu %.2f us/packet\n", r * 1000 / n
  printf "documents.server_cpu %.2f us/packet\n", s * 1000 / n }'
[[ $lab_failed -eq 0 ]]
