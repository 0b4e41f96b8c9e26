#!/usr/bin/env bash
# drain: from the rings to the database command. The drainer is stopped, a burst fills the rings at full rate, then the
# drainer goes on; swallow.py answers for the server, at once.
. "$(dirname "$0")/../lib/lab.sh"

burst=1000000
[[ ${1:-} != --smoke ]] || burst=200000

lab_begin
lab_engine
lab_veth a r0 b p0
lab_settle b p0
engine=$lab_uri
XDP_RECORDER_RUN=$lab/run "$lab_python" "$(dirname "$0")/swallow.py" "$engine" "$lab/swallow.sock" "$lab/swallow.json" &
lab_wait 5 test -S "$lab/swallow.sock" || exit 1
socket=$lab/swallow.sock
lab_uri=mongodb://${socket//\//%2F}
lab_record drain a -i r0 --hook xdp --tap --storage documents || exit 1
lab_uri=$engine
drainer=$(lab_drainer drain)
sleep 1
kill -STOP "$drainer"
lab_send b --iface p0 --count "$burst" --sources random --proto tcp-syn
begin=$(lab_cpu "$drainer")
kill -CONT "$drainer"
swallowed() { [[ $(jq .packets "$lab/swallow.json") -ge $sent ]]; }
lab_wait 60 swallowed || not_ok "not all of $sent packets came within 60 s"
cpu=$(($(lab_cpu "$drainer") - begin))
seconds=$(jq '.last - .first' "$lab/swallow.json")
lab_end_record drain
equal 'packets in the balance' "$(lab_balance stored)" "$sent" >&2
equal 'lost in the rings' "$(lab_balance lost.ring_full)" 0 >&2
awk -v n="$sent" -v s="$seconds" -v cpu="$cpu" 'BEGIN {
  printf "drain.rate %.0f packets/s\n", n / s
  printf "drain.recorder_cpu %.2f us/packet\n", cpu * 1000 / n
  printf "drain.per_core %.0f packets/s\n", n * 1000 / cpu }'
[[ $lab_failed -eq 0 ]]
