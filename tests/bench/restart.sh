#!/usr/bin/env bash
# restart: what is missing when the recorder is killed, ended or replaced at 500,000 packets a second (it must be nothing), and how long
# it takes until the next process has taken over and until it has a batch acknowledged.
#
# drainer: kill -9 of it, the keeper makes another one. both: kill -9 of both, and `record` again at once. program: `--keep`, and `record`
# again with another program on the live link.
. "$(dirname "$0")/../lib/lab.sh"

rate=500000 count=1250000 rounds=3
smoke=
[[ ${1:-} != --smoke ]] || smoke=1 rounds=1
flows=2000 rings=(--hook xdp --tap --ring-size 512M --instance x --keep)

# taken_over MILLISECONDS: of the wall clock; ms from then until the event that says so
taken_over() { lab_query docs events '{"kind": "resume"}' | jq -s --argjson from "$1" '[.[].ts["$date"] | if type == "string" then sub("\\.(?<f>[0-9]+)Z$"; "Z") as $s | ($s | fromdateiso8601) * 1000 + (capture("\\.(?<f>[0-9]{3})").f | tonumber) else . end] | max - $from'; }

restart() {
  local how=$1 round=$2 from watcher sender
  lab_database=restart_${how}_$round
  lab_record "$how" a -i r0 "${rings[@]}" || { not_ok 'it does not record'; return; }
  "$lab_python" "$(dirname "$0")/restart.py" "$XDP_RECORDER_BPFFS" >"$lab/acknowledged" &
  watcher=$!
  ip netns exec "$(lab_name b)" "$generate" --iface p0 --count $count --rate $rate --quiet-per 1 --quiet-flows $flows >"$lab/sent" &
  sender=$!
  sleep 1
  from=${EPOCHREALTIME/./}
  case $how in
    drainer)
      kill -9 "$(lab_drainer drainer)"
      kill -USR1 $watcher
      ;;
    both)
      kill -9 "${lab_pid[both]}" "$(lab_drainer both)"
      kill -USR1 $watcher
      lab_start_record both a -i r0 "${rings[@]}"
      ;;
    program)
      kill -TERM "${lab_pid[program]}"
      lab_await program 20
      kill -USR1 $watcher # what it had acknowledged itself does not count
      lab_start_record program a -i r0 "${rings[@]}" 'not tcp port 4444'
      ;;
  esac
  wait $watcher
  wait $sender
  [[ $how == drainer ]] || lab_ready "$how" || not_ok "$how: it does not record again"
  read -r _ _ _ _ _ _ _ _ _ _ _ _ _ got _ <"$lab/sent"
  lab_stored $count 60
  kill -INT "${lab_pid[$how]}"
  lab_await "$how" 60
  equal "$how: it ends" "$lab_status" 0
  echo "restart_${how}_taken_over $(taken_over $((from / 1000))) ms"
  echo "restart_${how}_acknowledged $(cat "$lab/acknowledged") ms"
  echo "restart_${how}_sent_at $got packets/s"
  [[ ${smoke:-} ]] || at_least "$how: packets a second" "${got%.*}" $((rate * 9 / 10))
  shows "$how: every packet once" lab_check quiet $count $flows
  equal "$how: none lost or summarised" "$(lab_query balance | jq '[to_entries[] | select(.key | test("lost|summarised")) | .value.packets] | add // 0')" 0
  lab_closed
  lab_query drop
}

lab_begin
lab_engine
lab_veth a r0 b p0
lab_settle b p0
for ((i = 0; i < rounds; i++)); do
  for how in drainer both program; do restart $how $i; done
done
lab_summary
