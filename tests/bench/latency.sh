#!/usr/bin/env bash
# latency: from a packet to its document being found by a query that polls, on a silent interface and beside
# 10,000 packets a second.
. "$(dirname "$0")/../lib/lab.sh"

probes=100 limit=1 # seconds
[[ ${1:-} != --smoke ]] || probes=15 limit=5

measure() { lab_in b "$lab_python" "$(dirname "$0")/latency.py" "$lab_uri" "$lab_database" p0 "$1" $probes $limit || lab_failed=1; }

lab_begin
lab_engine
lab_veth a r0 b p0
lab_offloads b p0 off
lab_settle b p0
lab_record latency a -i r0 || exit 1
measure silent
ip netns exec "$(lab_name b)" "$generate" --iface p0 --raw --count 10000000 --rate 10000 >/dev/null &
sender=$!
measure busy
kill $sender
lab_end_record latency
[[ $lab_failed -eq 0 ]]
