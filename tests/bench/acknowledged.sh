#!/usr/bin/env bash
# acknowledged: what the local engine has forgotten of the inserts that it acknowledged when it is killed right behind them, by
# write concern. What the recorder makes of it is `tests/chaos --unjournalled --faults kill-engine-answered`.
. "$(dirname "$0")/../lib/lab.sh"

kills=20
[[ ${1:-} != --smoke ]] || kills=3

lab_begin
lab_engine db
"$lab_python" "$(dirname "$0")/acknowledged.py" "$lab_uri" "$lab/run" "$root/deploy/engine/engine" "$lab/db" "$lab_user" $kills
