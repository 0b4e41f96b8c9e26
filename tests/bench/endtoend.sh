#!/usr/bin/env bash
# endtoend: generator, recorder (--tap) and engine together on this machine, heavy-tailed conversations as live frames. A minute at a
# million packets a second: every packet stored and found, the balance closed, 59 of the 60 million acknowledged when the
# generator ends, rings no fuller than at second 10. Then the highest rate at which nothing is lost, by halving, and beside it
# documents mode, tcpdump -w and dumpcap -w to the same disk.
#
# usage: endtoend.sh [--smoke] [--rate N] [--seconds N] [--no-push]
. "$(dirname "$0")/../lib/lab.sh"

rate=1000000 seconds=60 push=1 flows=2000 size=90 smoke=
while [[ $# -gt 0 ]]; do
  case $1 in
    --smoke) smoke=1 rate=100000 seconds=6 push= ;;
    --rate) rate=$2; shift ;;
    --seconds) seconds=$2; shift ;;
    --no-push) push= ;;
    *) echo "endtoend: '$1' is not an option" >&2; exit 2 ;;
  esac
  shift
done

lab_begin
lab_engine
lab_veth a r0 b p0
lab_settle b p0

# status NAME JQ: a figure of the recorder's status
status() { lab_in a "$lab_program" status --instance "$1" --json | jq -r "$2"; }
cpu_of() { echo $(($(lab_cpu "$(lab_drainer "$1")") + $(lab_cpu "${lab_pid[$1]}"))); }

# one NAME STORAGE RATE SECONDS: records a run of its own database; sets stored lost acknowledged early late
one() {
  local name=$1 storage=$2 engine recorder_before engine_before generator begin took
  lab_database=endtoend_$name
  lab_record "$name" a -i r0 --hook xdp --tap --storage "$storage" --bucket-span 1 --instance "$name" || return 1
  engine=$(lab_engine_pid)
  lab_send b --iface p0 --flows $flows --size $size --count 1000 --rate 1000 # warm
  recorder_before=$(cpu_of "$name") engine_before=$(lab_cpu "$engine") begin=${EPOCHREALTIME/./}
  lab_in b "$generate" --iface p0 --flows $flows --size $size --count $(($3 * $4)) --rate "$3" >"$lab/sent" &
  generator=$!
  sleep $(($4 < 10 ? $4 / 2 : 10))
  early=$(status "$name" '.captures[0].ring.used')
  wait $generator
  took=$(((${EPOCHREALTIME/./} - begin) / 1000))
  acknowledged=$(($(status "$name" '.captures[0].totals.stored.packets') - 1000))
  late=$(status "$name" '.captures[0].ring.used')
  read -r _ sent _ <"$lab/sent"
  sent=$((sent + 1000))
  lab_wait 120 settled "$name"
  recorder_cpu=$(awk -v c=$(($(cpu_of "$name") - recorder_before)) -v n="$sent" 'BEGIN { printf "%.0f", c * 1e6 / n }')
  engine_cpu=$(awk -v c=$(($(lab_cpu "$engine") - engine_before)) -v n="$sent" 'BEGIN { printf "%.0f", c * 1e6 / n }')
  lab_end_record "$name" INT 60
  stored=$(lab_balance stored) lost=$(lab_balance lost.ring_full)
  pushed=$((sent * 1000 / (took > 0 ? took : 1)))
}
settled() { [[ $(status "$1" '.captures[0].totals.stored.packets + .captures[0].totals.lost.ring_full.packets') -ge $sent ]]; }

one minute buckets $rate $seconds
found=$(lab_query packets)
equal 'packets stored' "$stored" "$sent" >&2
equal 'packets found' "$found" "$sent" >&2
equal 'lost in the rings' "$lost" 0 >&2
check 'every second closes' lab_check balance >&2
printf 'endtoend.rate %s packets/s for %s s: sent %s, stored %s, found %s, lost %s\n' $pushed $seconds "$sent" "$stored" "$found" "$lost"
printf 'endtoend.acknowledged %s when the generator ended\n' "$acknowledged"
printf 'endtoend.ring %s bytes used at second 10, %s at the end\n' "$early" "$late"
printf 'endtoend.cpu recorder %s ns/packet, engine %s ns/packet\n' "$recorder_cpu" "$engine_cpu"
awk -v r="$recorder_cpu" -v e="$engine_cpu" -v n="$(nproc)" 'BEGIN {
  printf "endtoend.ceiling %.0f packets/s, if %d cores did nothing but record and store\n", n * 1e9 / (r + e), n }'
if [[ ! $smoke ]]; then
  at_least 'acknowledged at the end' "$acknowledged" $((sent * 59 / 60)) >&2
  at_most 'ring no fuller than at second 10' "$late" $((early * 3 / 2 + 8000000)) >&2
  at_least 'rate' "$pushed" $((rate * 95 / 100)) >&2
fi

# highest NAME STORAGE LOW HIGH: by halving, runs of 15 s each; nothing lost and no backlog that grows
highest() {
  local low=$3 high=$4 middle n=0 best=0
  while [[ $((high - low)) -gt $((high / 12)) ]]; do
    middle=$(((low + high) / 2))
    one "$1$((n++))" "$2" $middle 15 || return
    if [[ $lost -eq 0 && $stored -eq $sent && $acknowledged -ge $((sent * 5 / 6)) && $pushed -ge $((middle * 9 / 10)) ]]; then
      low=$middle best=$middle
    else
      high=$middle
    fi
  done
  printf 'endtoend.highest_%s %s packets/s without loss or growing backlog\n' "$1" "$best"
}

# tool NAME COMMAND...: the highest rate at which a capture tool loses nothing; the frames pass, for it sits behind XDP
tool() {
  local name=$1 low=50000 high=3000000 middle best=0 pid captured
  shift
  lab_in a ethtool -K r0 gro on >/dev/null 2>&1
  while [[ $((high - low)) -gt $((high / 12)) ]]; do
    middle=$(((low + high) / 2))
    rm -f "$lab/tool.pcap"
    lab_in a "$@" -i r0 -s 96 -w "$lab/tool.pcap" >"$lab/tool.log" 2>&1 &
    pid=$!
    sleep 1
    lab_send b --iface p0 --flows $flows --size $size --count $((middle * 8)) --rate $middle
    sleep 1
    kill -INT $pid
    wait $pid 2>/dev/null
    captured=$(capinfos -Mrc "$lab/tool.pcap" 2>/dev/null | awk 'END { print $NF }')
    if [[ ${captured:-0} -ge $sent ]]; then low=$middle best=$middle; else high=$middle; fi
  done
  rm -f "$lab/tool.pcap"
  printf 'endtoend.highest_%s %s packets/s without loss\n' "$name" "$best"
}

if [[ $push ]]; then
  highest buckets buckets 100000 2500000
  highest documents documents 5000 100000
  tool tcpdump tcpdump -Z root -B 65536
  tool dumpcap dumpcap -q -B 64
fi
[[ $lab_failed -eq 0 ]]
