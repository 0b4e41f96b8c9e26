#!/usr/bin/env bash
# drain: from the rings to the database command, as documents and as finished buckets. The drainer is stopped, a burst fills the
# rings at full rate, then the drainer goes on; swallow.py answers for the server, at once. `buckets` are heavy-tailed conversations,
# `worst` and documents a SYN flood from random sources: every packet its own conversation.
. "$(dirname "$0")/../lib/lab.sh"

burst=1000000
[[ ${1:-} != --smoke ]] || burst=200000

# ran: CPU time of the drainer's threads, ns
ran() { cat /proc/"$drainer"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f\n", n }'; }
swallowed() { [[ $(jq .packets "$lab/$name.json") -ge $sent ]]; }

# one NAME STORAGE OPTION...: a burst of what generate makes by the options; sets name
one() {
  local storage=$2 begin cpu seconds socket
  name=$1 socket=$lab/$1.sock
  shift 2
  XDP_RECORDER_RUN=$lab/run "$lab_python" "$(dirname "$0")/swallow.py" "$engine" "$socket" "$lab/$name.json" &
  lab_wait 5 test -S "$socket" || exit 1
  lab_database=drain_$name lab_uri=mongodb://${socket//\//%2F}
  lab_record "$name" a -i r0 --hook xdp --tap --storage "$storage" || exit 1
  drainer=$(lab_drainer "$name")
  sleep 1
  kill -STOP "$drainer"
  lab_send b --iface p0 --count "$burst" "$@"
  begin=$(ran)
  kill -CONT "$drainer"
  lab_wait 60 swallowed || not_ok "$name: not all of $sent packets came within 60 s" >&2
  cpu=$(($(ran) - begin))
  seconds=$(jq '.last - .first' "$lab/$name.json")
  lab_end_record "$name"
  lab_uri=$engine
  equal "$name: packets in the balance" "$(lab_balance stored)" "$sent" >&2
  equal "$name: lost in the rings" "$(lab_balance lost.ring_full)" 0 >&2
  awk -v m="$name" -v n="$sent" -v s="$seconds" -v cpu="$cpu" 'BEGIN {
    printf "drain.%s.rate %.0f packets/s\n", m, n / s
    printf "drain.%s.recorder_cpu %.0f ns/packet\n", m, cpu / n
    printf "drain.%s.per_core %.0f packets/s\n", m, n * 1e9 / cpu }'
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
