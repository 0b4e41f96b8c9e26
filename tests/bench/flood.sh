#!/usr/bin/env bash
# flood: ten million packets of each kind, as fast as the generator can, in pieces that take turns: one against the recorder (--tap,
# its database beside it), one on a second veth against a program that only drops. Everything sent is stored or summarised, to the
# packet and to the byte, against the generator's counter; none is lost; the quiet conversations are stored packet by packet, whether they
# come in the flood's own queue (one frame in 8,000) or by another CPU.
#
# The generator has CPU 0 for itself, and so the program, which runs where the packets come; recorder and database have CPU 1. `cost` is
# what a packet costs that is counted: rings of 16 MB that nobody drains are full at once. The share of the empty
# program's rate says as much about the generator: at 20 million packets a second a look at the packet (`touch`) is a tenth of it.
#
# usage: flood.sh [--smoke] [--count N] [--ring-size SIZE] [--away SECONDS] [KIND...]
#   KIND: one many random random6 syn syn6 icmp fragment scan big, beside (the quiet ones by the other CPU), pass (without --tap), engine
#   and drainer (they stand still for --away seconds, 30), cost, touch, counting
. "$(dirname "$0")/../lib/lab.sh"

count=10000000 pieces=5 flows=200 warm=600 per=8000 away=30 ring=() kinds=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --smoke) count=1000000 pieces=2 away=4 ring=(--ring-size 16M) kinds=(many touch) ;;
    --count) count=$2; shift ;;
    --away) away=$2; shift ;;
    --ring-size) ring=(--ring-size "$2"); shift ;;
    -*) echo "flood: '$1' is not an option; --smoke, --count N, --away SECONDS and --ring-size SIZE are" >&2; exit 2 ;;
    *) kinds+=("$1") ;;
  esac
  shift
done
[[ ${#kinds[@]} -gt 0 ]] || kinds=(one many random random6 syn syn6 icmp fragment scan big beside pass engine drainer cost touch counting)

declare -A options=(
  [one]='--sources one' [many]='--sources 4096' [random]='--sources random' [random6]='--sources random6'
  [syn]='--sources random --proto tcp-syn' [syn6]='--sources random6 --proto tcp-syn' [icmp]='--sources 4096 --proto icmp'
  [fragment]='--sources random --proto fragment' [scan]='--sources one --targets random' [big]='--sources one --size 1500'
  [beside]='--sources random' [pass]='--sources random' [engine]='--sources random' [drainer]='--sources 4096'
)

term() { lab_query balance | jq --arg term "$1" --arg unit "$2" '.[$term][$unit] // 0'; }
summarised() { echo $(($(term summarised.flow "$1") + $(term summarised.prefix "$1"))); }
status() { lab_in a "$lab_program" status --instance "$1" --json | jq ".captures[0].$2"; }
drained() { [[ $(status "$1" ring.used) -eq 0 ]]; }
written() { [[ $(status "$1" summaries_written) == true ]]; }
sent_on() { [[ $(lab_in a "$lab_program" status --instance "$1" --json | jq -r '.spool.state // "empty"') == empty ]]; }
calm() { [[ $(status "$1" level) -eq 0 ]]; }

# send IFACE COUNT WORD...: adds up all, all_bytes and took (s); sets rate
send() {
  local iface=$1 n=$2 line
  shift 2
  line=$(lab_in b "$generate" --iface "$iface" --cpu 0 --count "$n" --quiet-flows $flows "$@") || note "generate: $line"
  read -r _ sent _ sent_bytes _ _ _ _ _ _ _ took_now _ rate <<<"$line"
  all=$((all + sent)) all_bytes=$((all_bytes + sent_bytes)) took=$(awk "BEGIN { print $took + $took_now }")
}

# empty [pass|touch]: on r1; sets beside
empty() {
  ip netns exec "$(lab_name a)" "$build/tests/bench/bench_empty" r1 "$@" >"$lab/empty" & # not lab_in, whose pid is a shell's
  beside=$!
  lab_wait 5 grep -q ready "$lab/empty" || not_ok 'the empty program'
}
end_empty() { kill $beside; wait $beside 2>/dev/null; }

# watch NAME: every 0.5 s the memory (kB) of its two processes beyond the maps that they share with the kernel, the most of it in $lab/memory
watch() {
  local pid kb most=0
  while kill -0 "${lab_pid[$1]}" 2>/dev/null; do
    kb=0
    for pid in "${lab_pid[$1]}" $(pgrep -P "${lab_pid[$1]}"); do
      kb=$((kb + $(awk '/^[0-9a-f]+-/ { map = /bpf-map/ } /^Rss:/ && !map { n += $2 } END { print n + 0 }' "/proc/$pid/smaps" 2>/dev/null || echo 0)))
    done
    [[ $kb -le $most ]] || { most=$kb; echo $most >"$lab/memory"; }
    sleep 0.5
  done
}

# turns NAME WORD...: the pieces, empty and recorded in turn; sets share (% of all), best (% of the best pieces)
turns() {
  local name=$1 i empties=0 fastest=0 mine=0 n=$((count / pieces)) keep_all keep_bytes keep_took
  shift
  took=0
  for ((i = 0; i < pieces; i++)); do
    keep_all=$all keep_bytes=$all_bytes keep_took=$took
    send p1 $n --quiet-per $per "$@"
    empties=$(awk "BEGIN { print $empties + $took_now }")
    [[ $rate -le $fastest ]] || fastest=$rate
    all=$keep_all all_bytes=$keep_bytes took=$keep_took
    send p0 $n --first $((warm + (per ? i * n / per : 0))) --quiet-per $per "$@"
    [[ $rate -le $mine ]] || mine=$rate
  done
  share=$(awk "BEGIN { printf \"%.0f\", 100 * $empties / $took }") best=$((100 * mine / fastest)) full=$fastest
  reached=$(awk "BEGIN { printf \"%.0f\", $count / $took }")
}

# still NAME PID: it stands for `away` seconds, and the flood comes a second after it stopped
still() {
  kill -STOP "$2"
  (sleep "$away"; kill -CONT "$2") &
  sleep 1
}

# device UNIT: what p0 took since it was made
device() { lab_in b cat "/sys/class/net/p0/statistics/tx_$1"; }

# kind NAME WORD...: what this page's head says
kind() {
  local name=$1 tap=(--tap) quiet other='' ended after before=0 before_bytes=0
  shift
  quiet=$((warm + pieces * (count / pieces / per)))
  lab_database=flood_$name all=0 all_bytes=0 took=0
  [[ $name != pass ]] || tap=()
  lab_record "$name" a -i r0 --hook xdp "${tap[@]}" "${ring[@]}" --instance "$name" -v || return
  lab_warm "$name"
  echo 0 >"$lab/memory"
  watch "$name" &
  if [[ $name == pass ]]; then empty pass; else empty; fi
  send p0 $warm --rate 500 --quiet-per 1
  case $name in
    engine) still "$name" "$(lab_engine_pid)" ;;
    drainer) still "$name" "$(lab_drainer "$name")" ;;
    beside) # no quiet ones in the flood's queue, 1,000 a second by CPU 1
      before=$(device packets) before_bytes=$(device bytes)
      lab_in b "$generate" --iface p0 --shared --cpu 1 --count 4000 --rate 1000 --quiet-per 1 --quiet-flows $flows --first $warm >"$lab/beside" &
      other=$! quiet=$((warm + 4000)) per=0
      set -- "$@" --shared ;;
  esac
  turns "$name" "$@"
  ended=${EPOCHREALTIME/./}
  if [[ $other ]]; then
    wait $other
    at_least "$name: quiet ones made" "$(cut -d' ' -f2 "$lab/beside")" 4000 >&2
    all=$((warm + $(device packets) - before)) all_bytes=$((warm * 60 + $(device bytes) - before_bytes)) per=8000
  fi
  [[ $name != engine && $name != drainer ]] || sleep $((away + 1))
  end_empty
  lab_wait 30 calm "$name" || not_ok "$name: not level 0 within 30 s" >&2
  after=$(((${EPOCHREALTIME/./} - ended) / 100000))
  lab_wait 120 drained "$name" || not_ok "$name: the rings are not empty after two minutes" >&2
  lab_wait 600 sent_on "$name" || not_ok "$name: the spool is not empty after ten minutes" >&2
  lab_wait 60 written "$name" || not_ok "$name: its summaries are not written after a minute" >&2
  lab_end_record "$name" INT 120
  equal "$name: packets" $(($(term stored packets) + $(summarised packets) + $(term lost.ring_full packets))) $all >&2
  equal "$name: bytes" $(($(term stored bytes) + $(summarised bytes) + $(term lost.ring_full bytes))) $all_bytes >&2
  equal "$name: lost" "$(term lost.ring_full packets)" 0 >&2
  equal "$name: stored is found" "$(lab_query packets)" "$(term stored packets)" >&2
  shows "$name: quiet" lab_check quiet $quiet $flows >&2
  shows "$name: summaries add up" lab_check floods >&2
  [[ $name != one && $name != many ]] || equal "$name: all by 5-tuple" "$(term summarised.prefix packets)" 0 >&2
  at_most "$name: kB of memory beyond the rings" "$(<"$lab/memory")" $((512 * 1024)) >&2
  printf 'flood.%s %d packets/s, %d %% of %d, best %d %%: stored %d, by conversation %d, by network %d, lost %d; %d MB; level 0 after %d.%d s\n' \
    "$name" "$reached" "$share" "$full" "$best" "$(term stored packets)" "$(term summarised.flow packets)" "$(term summarised.prefix packets)" \
    "$(term lost.ring_full packets)" $(($(<"$lab/memory") / 1024)) $((after / 10)) $((after % 10))
}

# median of the words
median() { printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# pairs LABEL IFACE WORD...: nine short runs each, in turn, on p1 and on IFACE; ns a packet beyond the empty program's, medians
pairs() {
  local label=$1 iface=$2 i e=() m=()
  shift 2
  for i in 1 2 3 4 5 6 7 8 9; do
    send p1 $((count / 20)) "$@"; e+=("$(awk "BEGIN { print 1e9 / $rate }")")
    send "$iface" $((count / 20)) "$@"
    at_least "$label: packets a second" "$rate" 100000 >&2
    m+=("$(awk "BEGIN { print 1e9 / $rate }")")
  done
  awk -v e="$(median "${e[@]}")" -v m="$(median "${m[@]}")" -v label="$label" 'BEGIN {
    printf "flood.%s %.0f ns a packet beside %.0f of the empty program: %.0f %% of its rate\n", label, m - e, e, 100 * e / m }'
}

# cost: by level. 0: a ring of 256 MB that nobody drains; 2 and 3: one of 16 MB, full.
cost() {
  local name size
  empty
  for name in level0 one many random random6 scan; do
    lab_database=flood_cost_$name all=0 all_bytes=0 took=0
    size=16M
    [[ $name != level0 ]] || size=256M
    lab_record "c$name" a -i r0 --hook xdp --tap --ring-size $size --instance "c$name" || return
    kill -STOP "$(lab_drainer "c$name")"
    case $name in
      # shellcheck disable=SC2086
      level0) count=$((count < 2000000 ? count : 2000000)) pairs "cost.$name" p0 ${options[many]} ;;
      *)
        # shellcheck disable=SC2086
        send p0 400000 ${options[$name]}
        # shellcheck disable=SC2086
        pairs "cost.$name" p0 ${options[$name]} ;;
    esac
    kill -CONT "$(lab_drainer "c$name")"
    lab_wait 60 drained "c$name" || not_ok "cost.$name: the rings are not empty after a minute" >&2
    lab_wait 60 written "c$name"
    lab_end_record "c$name" INT 60
  done
  end_empty
}

# touch: a program that looks at the packet and drops it
touch_only() {
  local other
  all=0 all_bytes=0 took=0
  empty
  ip netns exec "$(lab_name a)" "$build/tests/bench/bench_empty" r0 touch >"$lab/touch" &
  other=$!
  lab_wait 5 grep -q ready "$lab/touch"
  pairs touch p0 --sources random
  kill $other
  wait $other 2>/dev/null
  end_empty
}

counting() {
  lab_database=flood_counting all=0 all_bytes=0 took=0
  empty
  lab_record counting a -i r0 --hook xdp --tap --count --instance counting || return
  pairs counting p0 --sources random
  end_empty
  lab_end_record counting INT 60
  equal 'counting: packets' "$(term summarised.prefix packets)" $((9 * (count / 20))) >&2
  check 'counting: summaries add up' lab_check floods >&2
}

lab_begin
taskset -pc 1 $$ >/dev/null # and all that is started from here, but for the generator
lab_engine
lab_veth a r0 b p0 2 # a queue for each CPU that sends
lab_veth a r1 b p1 2
lab_settle b p0
for name in "${kinds[@]}"; do
  case $name in
    cost) cost ;;
    touch) touch_only ;;
    counting) counting ;;
    *)
      [[ ${options[$name]-} ]] || { echo "flood: '$name' is no kind; cost touch counting ${!options[*]} are" >&2; exit 2; }
      # shellcheck disable=SC2086
      kind "$name" ${options[$name]} ;;
  esac
done
lab_summary
