#!/usr/bin/env bash
# query: "all packets of one host" over 30 days and ten million packets, for a rare, a middling and a busy host, networks, and the first
# 100 packets of the busy one; beside the scan of the same collections, and beside tshark and tcpdump on the same packets as
# a capture file. Milliseconds.
. "$(dirname "$0")/../lib/lab.sh"

packets=10000000 rate=3.8580 live=30 # so few packets a second come from few conversations at a time
[[ ${1:-} != --smoke ]] || packets=100000 rate=0.03858
fill=$build/tests/bench/bench_fill

lab_begin
lab_engine
"$fill" "$lab_uri" "$lab_database" --packets $packets --rate $rate --live $live --storage buckets --span 600 --threads 64 --pcap "$lab/month.pcap" \
  >"$lab/fill.json" || exit 1
note "$(cat "$lab/fill.json")" >&2
"$lab_python" "$(dirname "$0")/query.py" "$lab_uri" "$lab_database" "$lab/month.pcap" "$@" || not_ok 'an aim is missed, or an answer differs' >&2
[[ $lab_failed -eq 0 ]]
