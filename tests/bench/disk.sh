#!/usr/bin/env bash
# disk: bytes of data and of indexes for each packet, behind a checkpoint: a capture file with a snapshot length of 96, documents in a
# plain collection with two address indexes, documents in a time series, finished buckets; and a day at 20 packets a second
# as open buckets, with every replacement that a recorder makes; so few packets come from few conversations at a time. What takes the bytes: by column.
. "$(dirname "$0")/../lib/lab.sh"

some=400000 many=4000000 day=1728000 live=30
[[ ${1:-} != --smoke ]] || some=20000 many=100000 day=20000
fill=$build/tests/bench/bench_fill

lab_begin
lab_engine

# size NAME PACKETS OPTION...: fills a database of its own and says what it takes; sets total (B a packet)
size() {
  local name=$1 packets=$2 data index
  shift 2
  "$fill" "$lab_uri" "disk_$name" --packets "$packets" "$@" >"$lab/fill.json" || { not_ok "fill $name" >&2; return; }
  read -r data index < <("$lab_python" "$root/tests/lib/query.py" "$lab_uri" "disk_$name" sizes)
  total=$(awk -v d="$data" -v i="$index" -v n="$packets" 'BEGIN { printf "%.2f", (d + i) / n }')
  awk -v name="$name" -v d="$data" -v i="$index" -v n="$packets" 'BEGIN {
    printf "disk.%s %.2f B/packet (data %.2f, index %.2f)\n", name, (d + i) / n, d / n, i / n }'
}

size plain $some --storage documents --plain --rate 1000000
size timeseries $some --storage documents --rate 25000 --span 1
size buckets $many --storage buckets --rate 1000000 --span 1 --pcap "$lab/mix.pcap"
fast=$total
"$lab_python" "$root/tests/bench/disk_columns.py" "$lab_uri" disk_buckets buckets || not_ok 'no columns' >&2
awk -v b="$(stat -c %s "$lab/mix.pcap")" -v n=$many 'BEGIN { printf "disk.pcap %.2f B/packet\n", b / n }'
size rest $many --storage buckets --rate 1000000 --span 1 --rest
size quiet_day $day --storage buckets --rate 20 --live $live --span 60 --open --threads 64
"$lab_python" "$root/tests/bench/disk_columns.py" "$lab_uri" disk_quiet_day quiet_day || not_ok 'no columns' >&2
printf 'disk.quiet_day_replacements %s\n' "$(jq '.revisions - .batches' "$lab/fill.json")"
awk -v f="$fast" -v q="$total" 'BEGIN {
  printf "disk.aims buckets %.2f (25), quiet day %.2f (30)\n", f, q
  exit !(f <= 25 && q <= 30) }' || [[ ${1:-} == --smoke ]] || not_ok 'an aim is missed' >&2
[[ $lab_failed -eq 0 ]]
