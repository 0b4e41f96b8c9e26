#!/usr/bin/env bash
# flood: ten million packets of each kind, as fast as the generator can, against a program that only drops and against the recorder on
# default settings (--tap, its database beside it), in turn. Everything sent is stored or summarised, to the packet and to the
# byte, and the quiet conversations in between are stored packet by packet; the recorder reaches a share of the empty program's rate.
#
# Then what a packet costs that is counted: rings of 16 MB that nobody drains are full at once.
#
# usage: flood.sh [--smoke] [--count N] [KIND...]      one many random random6 syn icmp fragment big
. "$(dirname "$0")/../lib/lab.sh"

count=10000000 flows=200 warm=600 per=8000 aim=80 kinds=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --smoke) count=1000000 aim=0 kinds=(one random) ;;
    --count) count=$2; shift ;;
    -*) echo "flood: '$1' is not an option; --smoke and --count N are" >&2; exit 2 ;;
    *) kinds+=("$1") ;;
  esac
  shift
done
[[ ${#kinds[@]} -gt 0 ]] || kinds=(one many random random6 syn icmp fragment big)

declare -A options=(
  [one]='--sources one' [many]='--sources 4096' [random]='--sources random' [random6]='--sources random6'
  [syn]='--sources random --proto tcp-syn' [icmp]='--sources 4096 --proto icmp' [fragment]='--sources random --proto fragment'
  [big]='--sources one --size 1500'
)

term() { lab_query balance | jq --arg term "$1" --arg unit "$2" '.[$term][$unit] // 0'; }
rate_of() { awk '{ printf "%.0f", $NF }' "$1"; } # the generator's own last word

drained() { [[ $(lab_in a "$lab_program" status --instance "$1" --json | jq '.captures[0].ring.used') -eq 0 ]]; }

# send COUNT WORD...: of this kind, with quiet ones in between
send() {
  local n=$1
  shift
  lab_in b "$generate" --iface p0 --cpu 0 --count "$n" --quiet-flows $flows "$@" >"$lab/sent" || note "generate: $(<"$lab/sent")"
  read -r _ sent _ sent_bytes _ <"$lab/sent"
}

# empty WORD...: packets a second against the program that only drops
empty() {
  local pid
  ip netns exec "$(lab_name a)" "$build/tests/bench/bench_empty" r0 >"$lab/empty" & # not lab_in, whose pid is a shell's
  pid=$!
  lab_wait 5 grep -q ready "$lab/empty" || not_ok 'the empty program'
  send "$count" --quiet-per $per "$@"
  kill $pid
  wait $pid 2>/dev/null
  rate_of "$lab/sent"
}

# kind NAME WORD...: both, one behind the other
kind() {
  local name=$1 alone rate all bytes stored flow prefix lost
  shift
  alone=$(empty "$@")
  lab_database=flood_$name
  lab_record "$name" a -i r0 --hook xdp --tap --instance "$name" || return
  send $warm --rate 500 --quiet-per 1
  all=$sent bytes=$sent_bytes
  send "$count" --first $warm --quiet-per $per "$@"
  all=$((all + sent)) bytes=$((bytes + sent_bytes)) rate=$(rate_of "$lab/sent")
  lab_wait 120 drained "$name" || not_ok "$name: the rings are not empty after two minutes" >&2
  lab_end_record "$name" INT 120
  stored=$(term stored packets) flow=$(term summarised.flow packets) prefix=$(term summarised.prefix packets)
  lost=$(term lost.ring_full packets)
  equal "$name: packets" $((stored + flow + prefix + lost)) $all >&2
  equal "$name: bytes" $(($(term stored bytes) + $(term summarised.flow bytes) + $(term summarised.prefix bytes))) $bytes >&2
  equal "$name: lost" "$lost" 0 >&2
  equal "$name: stored is found" "$(lab_query packets)" "$stored" >&2
  shows "$name: quiet" lab_check quiet $((warm + count / per)) $flows >&2
  check "$name: summaries add up" lab_check floods >&2
  printf 'flood.%s %d packets/s, %d %% of %d: stored %d, by conversation %d, by network %d\n' \
    "$name" "$rate" $((rate * 100 / alone)) "$alone" "$stored" "$flow" "$prefix"
  [[ $aim -eq 0 ]] || at_least "$name: share of the empty program's rate" $((rate * 100 / alone)) $aim >&2
}

# cost NAME WORD...: ns a packet, of those that are counted, beyond the empty program's
cost() {
  local name=cost_$1 alone counted
  shift
  alone=$(empty "$@")
  lab_database=flood_$name
  lab_record "$name" a -i r0 --hook xdp --tap --ring-size 16M --instance "$name" || return
  kill -STOP "$(lab_drainer "$name")"
  send 300000 "$@"
  all=$sent
  send "$count" "$@"
  all=$((all + sent)) counted=$(rate_of "$lab/sent")
  kill -CONT "$(lab_drainer "$name")"
  lab_wait 120 drained "$name"
  lab_end_record "$name" INT 120
  stored=$(term stored packets)
  equal "$name: packets" $((stored + $(term summarised.flow packets) + $(term summarised.prefix packets))) $all >&2
  at_most "$name: stored" "$stored" 200000 >&2
  awk -v a="$alone" -v c="$counted" -v name="$name" 'BEGIN {
    printf "flood.%s %.0f ns a packet beside %.0f of the empty program: %.0f %% of its rate\n", name, 1e9 / c - 1e9 / a, 1e9 / a, 100 * c / a }'
}

# counting WORD...: ns a packet of --count, beyond the empty program's
counting() {
  local alone rate
  alone=$(empty "$@")
  lab_database=flood_counting
  lab_record counting a -i r0 --hook xdp --tap --count --instance counting || return
  send "$count" "$@"
  rate=$(rate_of "$lab/sent")
  lab_end_record counting INT 60
  equal 'counting: packets' "$(term summarised.prefix packets)" "$sent" >&2
  check 'counting: summaries add up' lab_check floods >&2
  awk -v a="$alone" -v c="$rate" 'BEGIN {
    printf "flood.counting %.0f ns a packet beside %.0f of the empty program: %.0f %% of its rate\n", 1e9 / c - 1e9 / a, 1e9 / a, 100 * c / a }'
}

lab_begin
lab_engine
lab_veth a r0 b p0
lab_settle b p0
for name in "${kinds[@]}"; do
  [[ ${options[$name]-} ]] || { echo "flood: '$name' is no kind; ${!options[*]} are" >&2; exit 2; }
  # shellcheck disable=SC2086
  kind "$name" ${options[$name]}
  # shellcheck disable=SC2086
  cost "$name" ${options[$name]}
done
counting --sources random
lab_summary
