#!/usr/bin/env bash
# replay: the database is killed for some seconds under traffic that goes on all the time. Once it is back: how fast the spool is
# sent, and how old the newest packet in the database is meanwhile, asked four times a second (live ones pass the spool by).
. "$(dirname "$0")/../lib/lab.sh"

rate=20000 away=20 most=60
[[ ${1:-} != --smoke ]] || { rate=5000 away=5 most=30; }

# Seconds from the newest packet of any ledger entry to now, until the spool is empty: median and worst.
lag() {
  "$lab_python" - "$lab_uri" "$lab_database" "$lab_program" "$most" <<'PYTHON'
import datetime, json, statistics, subprocess, sys, time
import pymongo
uri, database, program, most = sys.argv[1:5]
db = pymongo.MongoClient(uri)[database]
lags, end = [], time.time() + float(most)
while time.time() < end:
    state = json.loads(subprocess.run([program, "status", "replay", "--json"], capture_output=True).stdout)["spool"]["state"]
    if state == "empty":
        break
    names = [n for n in db.list_collection_names() if n.startswith("batches_")]
    newest = [d["last"] for n in names for d in db[n].find({}, {"last": 1}).sort("last", -1).limit(1)]
    if newest:
        lags.append((datetime.datetime.utcnow() - max(newest)).total_seconds())
    time.sleep(0.25)
print("%.1f %.1f %d" % (statistics.median(lags) if lags else -1, max(lags, default=-1), len(lags)))
PYTHON
}

one() {
  local storage=$1 sender begin kept seconds median worst n
  lab_database=replay_$storage
  lab_record replay a -i r0 -Q in --storage "$storage" --instance replay || exit 1
  ip netns exec "$(lab_name b)" "$generate" --iface p0 --raw --proto mix --count $((rate * (away + most + 10))) --rate "$rate" >"$lab/sent" &
  sender=$!
  sleep 2
  kill -9 "$(lab_engine_pid db)"
  sleep "$away"
  kept=$("$lab_program" status replay --json | jq .spool.packets)
  "$root/deploy/engine/engine" start --data "$lab/db" --user "$lab_user" >>"$lab/engine.log" 2>&1
  begin=${EPOCHREALTIME/./}
  read -r median worst n <<<"$(lag)"
  seconds=$(((${EPOCHREALTIME/./} - begin) / 1000))
  kill -TERM "$sender"
  wait "$sender"
  read -r _ total _ <"$lab/sent"
  lab_wait 30 bash -c "[[ \$('$lab_program' status replay --json | jq -r .spool.state) == empty ]]" || not_ok "$storage: the spool is not empty" >&2
  lab_end_record replay INT 30
  shows "$storage: each packet once" lab_check sequence "$total" >&2
  printf 'replay.%s.kept %d packets\nreplay.%s.empty_after %d ms\n' "$storage" "$kept" "$storage" "$seconds"
  awk -v m="$storage" -v k="$kept" -v s="$seconds" 'BEGIN { printf "replay.%s.rate %.0f packets/s\n", m, k * 1000 / s }'
  printf 'replay.%s.live_median %s s\nreplay.%s.live_worst %s s\nreplay.%s.looks %d times\n' "$storage" "$median" "$storage" "$worst" "$storage" "$n"
}

lab_begin
lab_engine db
lab_veth a r0 b p0
lab_offloads a r0 off
lab_offloads b p0 off
lab_settle b p0
one buckets
[[ $lab_failed -eq 0 ]]
