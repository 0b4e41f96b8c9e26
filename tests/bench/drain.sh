#!/usr/bin/env bash
# drain: from the rings to the database command, as documents and as finished buckets. The drainer is stopped, a burst fills the
# rings at full rate, then the drainer goes on; swallow.py answers for the server, at once. `buckets` are heavy-tailed conversations,
# `worst` and documents a SYN flood from random sources: every packet its own conversation. Four bursts: in the first the process takes its
# memory, and each page of it is a fault; the figures are the least of the others, the first stands beside them.
. "$(dirname "$0")/../lib/lab.sh"

burst=1000000 bursts=4
[[ ${1:-} != --smoke ]] || burst=200000 bursts=2

# ran: CPU time of the drainer's threads, ns; faults: how many pages it was given
ran() { cat /proc/"$drainer"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f\n", n }'; }
faults() { cut -d ' ' -f 10 "/proc/$drainer/stat"; }
swallowed() { [[ $(jq .packets "$lab/$name.json") -ge $all ]]; }

# one NAME STORAGE OPTION...: a burst of what generate makes by the options; sets name
one() {
  local storage=$2 i cpu least=0 first=0 before pages before_pages rate socket
  name=$1 socket=$lab/$1.sock all=0
  shift 2
  XDP_RECORDER_RUN=$lab/run "$lab_python" "$(dirname "$0")/swallow.py" "$engine" "$socket" "$lab/$name.json" &
  lab_wait 5 test -S "$socket" || exit 1
  lab_database=drain_$name lab_uri=mongodb://${socket//\//%2F}
  lab_record "$name" a -i r0 --hook xdp --tap --storage "$storage" || exit 1
  drainer=$(lab_drainer "$name")
  sleep 1
  for ((i = 0; i < bursts; i++)); do
    kill -STOP "$drainer"
    lab_send b --iface p0 --count "$burst" "$@"
    all=$((all + sent)) before=$(ran) before_pages=$(faults)
    kill -CONT "$drainer"
    lab_wait 60 swallowed || not_ok "$name: not all of $all packets came within 60 s" >&2
    sleep 0.5 # what is behind the answers: the ledger
    cpu=$((($(ran) - before) / sent)) pages=$((($(faults) - before_pages) * 1000 / sent))
    note "$name: burst $i: $cpu ns a packet, $pages pages for 1,000" >&2
    if [[ $i -eq 0 ]]; then
      first=$cpu rate=$(jq '.packets / (.last - .first)' "$lab/$name.json")
    elif [[ $least -eq 0 || $cpu -lt $least ]]; then
      least=$cpu
    fi
  done
  lab_end_record "$name"
  lab_uri=$engine
  equal "$name: packets in the balance" "$(lab_balance stored)" "$all" >&2
  equal "$name: lost in the rings" "$(lab_balance lost.ring_full)" 0 >&2
  awk -v m="$name" -v rate="$rate" -v first="$first" -v cpu="$least" 'BEGIN {
    printf "drain.%s.rate %.0f packets/s, first burst\n", m, rate
    printf "drain.%s.recorder_cpu %.0f ns/packet, %.0f in the first burst\n", m, cpu, first
    printf "drain.%s.per_core %.0f packets/s\n", m, 1e9 / cpu }'
}

lab_begin
lab_engine
lab_veth a r0 b p0
lab_settle b p0
engine=$lab_uri
one documents documents --sources random --proto tcp-syn
one buckets buckets --flows 2000 --size 90
one worst buckets --sources random --proto tcp-syn
[[ $lab_failed -eq 0 ]]
