#!/usr/bin/env bash
# capacity: what could be stored is stored. The highest rate at which every packet is stored, by halving, for one recorder (--tap) and one
# generator; then at 90 % of it nothing is summarised, and above it, 1.5 and 3 times, at least 90 % of it is stored.
#
# The rings are small (16 MB, 200,000 packets: a quarter of a second), so a step of some seconds is a steady state and not a burst that
# they hold. The generator, and so the program, has CPU 0; recorder and database have CPU 1: what they can store does not
# fall because more comes.
#
# usage: capacity.sh [--smoke] [--seconds N] [GENERATE-OPTION...]      default: --sources 4096
. "$(dirname "$0")/../lib/lab.sh"

seconds=5 steps=8 words=() smoke=
while [[ $# -gt 0 ]]; do
  case $1 in
    --smoke) smoke=1 seconds=3 steps=5 ;;
    --seconds) seconds=$2; shift ;;
    *) words+=("$1") ;;
  esac
  shift
done
[[ ${#words[@]} -gt 0 ]] || words=(--sources 4096)

totals() { lab_in a "$lab_program" status --instance cap --json | jq -r '.captures[0] | "\(.totals.published.packets) \(.totals.summarised.packets) \(.totals.lost.ring_full.packets)"'; }
drained() { [[ $(lab_in a "$lab_program" status --instance cap --json | jq '.captures[0].ring.used') -eq 0 ]]; }

# step RATE: sends at it for `seconds`; sets kept (packets a second that were stored), counted, lost, at (the rate that it was)
step() {
  local before after line
  lab_wait 60 drained || not_ok 'the rings are not empty after a minute'
  before=($(totals))
  line=$(lab_in b "$generate" --iface p0 --cpu 0 --rate "$1" --count $(($1 * seconds)) "${words[@]}")
  after=($(totals))
  at=${line##* }
  kept=$(awk "BEGIN { printf \"%.0f\", (${after[0]} - ${before[0]}) / ($1 * $seconds) * $at }")
  counted=$((after[1] - before[1])) lost=$((after[2] - before[2]))
  note "$at packets/s: $kept/s stored, $counted summarised, $lost lost"
}

lab_begin
taskset -pc 1 $$ >/dev/null
lab_engine
lab_veth a r0 b p0
lab_settle b p0
lab_record cap a -i r0 --hook xdp --tap --ring-size 16M --instance cap || exit 1
step 100000 # the first batches make their collections
low=50000 high=3000000
for ((i = 0; i < steps; i++)); do
  middle=$(awk "BEGIN { printf \"%.0f\", sqrt($low * $high) }")
  step $middle
  if [[ $counted -eq 0 && $lost -eq 0 && $at -ge $((middle * 98 / 100)) ]]; then low=$middle; else high=$middle; fi
done
capacity=$low
for ((tries = 0; tries < 2; tries++)); do # the machine may have had something else to do
  step $((capacity * 9 / 10))
  [[ $counted -ne 0 ]] || break
done
equal 'at 90 % of it: summarised' "$counted" 0
shares=()
for times in 15 30; do
  step $((capacity * times / 10))
  shares+=($((kept * 100 / capacity)))
  at_least "at $((times / 10)).$((times % 10)) times: percent of it stored" ${shares[-1]} $([[ $smoke ]] && echo 70 || echo 90)
  at_least "at $((times / 10)).$((times % 10)) times: summarised" "$counted" 1000 # the control: it was above
  equal "at $((times / 10)).$((times % 10)) times: lost" "$lost" 0
done
lab_end_record cap INT 60
printf 'capacity %d packets/s stored without a summary; at 1.5 times %d %% of it, at 3 times %d %%\n' $capacity "${shares[@]}"
lab_summary
