#!/usr/bin/env bash
# buckets: what a packet costs the server, written as documents, as finished buckets with the host index, and without it. The same
# heavy-tailed mix, through the recorder's own sink (fill.c); CPU of the engine's process up to and with a checkpoint.
. "$(dirname "$0")/../lib/lab.sh"

documents=200000 buckets=4000000
[[ ${1:-} != --smoke ]] || documents=20000 buckets=200000
fill=$build/tests/bench/fill

lab_begin
lab_engine
engine=$(lab_engine_pid)
checkpoint() { lab_query checkpoint >/dev/null; }

# cost NAME PACKETS OPTION...: sets us (ns a packet / 1000) and bytes (of BSON sent a packet)
cost() {
  local name=$1 packets=$2 before report
  shift 2
  checkpoint
  before=$(lab_cpu "$engine")
  report=$("$fill" "$lab_uri" "${lab_database}_$name" --packets "$packets" "$@") || { not_ok "fill $name" >&2; us=0; return; }
  checkpoint
  us=$(awk -v c=$(($(lab_cpu "$engine") - before)) -v n="$packets" 'BEGIN { printf "%.3f", c * 1000 / n }')
  printf 'buckets.%s %s us/packet of server CPU, %s packets/s\n' "$name" "$us" \
    "$(jq -r '.packets / .seconds | floor' <<<"$report")"
}

cost documents $documents --storage documents --rate 25000
d=$us
cost indexed $buckets --storage buckets --rate 1000000 --span 1
i=$us
cost unindexed $buckets --storage buckets --rate 1000000 --span 1 --without-index
u=$us
awk -v d="$d" -v i="$i" -v u="$u" 'BEGIN {
  printf "buckets.ratio_indexed %.1f documents : buckets (aim 12)\n", d / i
  printf "buckets.ratio_unindexed %.1f documents : buckets (aim 20)\n", d / u
  exit !(d / i >= 12 && d / u >= 20) }' || [[ ${1:-} == --smoke ]] || not_ok 'an aim is missed' >&2
[[ $lab_failed -eq 0 ]]
