#!/usr/bin/env bash
# idle: CPU of keeper and drainer while no packet comes.
. "$(dirname "$0")/../lib/lab.sh"

seconds=30
[[ ${1:-} != --smoke ]] || seconds=6

# Time on a CPU of all threads of both processes, ns
ran() { cat /proc/"${lab_pid[idle]}"/task/*/schedstat /proc/"$drainer"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f\n", n }'; }

lab_begin
lab_engine
lab_veth a r0 b p0
lab_settle b p0
lab_record idle a -i r0 || exit 1
drainer=$(lab_drainer idle)
lab_in b ping -q -c 3 -i 0.1 10.7.1.1 >/dev/null
sleep 3 # what came at the start is written
before=$(ran)
sleep $seconds
after=$(ran)
lab_end_record idle
percent=$(awk -v a="$before" -v b="$after" -v s=$seconds 'BEGIN { printf "%.3f", (b - a) / s / 1e7 }')
echo "idle.cpu $percent %"
[[ $lab_failed -eq 0 ]] && { [[ ${1:-} == --smoke ]] || awk -v p="$percent" 'BEGIN { exit !(p <= 0.3) }'; }
