# lab.sh - sourced by the shell tests: namespaces, veth pairs, a database engine and recorders of the test's own, and
# what is needed to say `ok` or `not ok` about them. Whatever happens, the trap takes all of it away again.
#
#   . "$(dirname "$0")/../lib/lab.sh"
#   lab_begin
#   lab_veth a r0 b p0            # two namespaces with a veth between them
#   lab_engine
#   lab_record rec a -i r0        # returns when it records
#   lab_in b ping -c 3 10.7.1.1
#   lab_end_record rec INT
#   equal 'stored' "$(lab_query packets)" 6
#   lab_summary                   # `N passed, N failed`, and the exit status
#
# Namespaces are named by the test's pid and by their letter; nothing outside of them is touched. Environment:
# XDP_RECORDER_BUILD (the build directory, default build/), LAB_KEEP=1 (leave the work directory for a look).
# shellcheck shell=bash
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${XDP_RECORDER_BUILD:-$root/build}
lab_program=$build/xdp-recorder
generate=$build/tests/lib/generate
lab_python=/usr/bin/python3 # Debian's own: pymongo is a Debian package
lab_user=nobody # whom the drainer runs as, and so the engine: its socket is for one user
lab_passed=0 lab_failed=0 lab_pairs=0
declare -A lab_pid=()  # name -> keeper's pid
declare -a lab_namespaces=() lab_background=()

# --- saying what was found ----------------------------------------------------------------------------------

ok() { lab_passed=$((lab_passed + 1)); echo "ok - $*"; }

not_ok() { lab_failed=$((lab_failed + 1)); echo "not ok - $*"; }

note() { echo "# $*"; }

# check WHAT COMMAND...: ok if the command succeeds; what it says is shown if not.
check() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then ok "$what"; else not_ok "$what"; printf '%s\n' "$output" | tail -n 15 | sed 's/^/#   /'; fi
}

# shows WHAT COMMAND...: the same, and the last line of what it says belongs to the name.
shows() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then ok "$what: ${output##*$'\n'}"; else not_ok "$what"; printf '%s\n' "$output" | tail -n 15 | sed 's/^/#   /'; fi
}

# fails WHAT COMMAND...: a control; ok if the command fails.
fails() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then not_ok "$what: it should have failed"; else ok "$what: ${output##*$'\n'}"; fi
}

equal() { if [[ $2 == "$3" ]]; then ok "$1: $2"; else not_ok "$1: $2, not $3"; fi; }

at_most() { if [[ $2 =~ ^-?[0-9]+$ && $2 -le $3 ]]; then ok "$1: $2, at most $3"; else not_ok "$1: $2, more than $3"; fi; }

at_least() { if [[ $2 =~ ^-?[0-9]+$ && $2 -ge $3 ]]; then ok "$1: $2, at least $3"; else not_ok "$1: $2, less than $3"; fi; }

# matches WHAT TEXT REGEX
matches() { if [[ $2 =~ $3 ]]; then ok "$1"; else not_ok "$1: no /$3/ in: ${2:0:600}"; fi; }

# A script whose function broke off has checked nothing: that is no success.
lab_summary() {
  echo "$lab_passed passed, $lab_failed failed"
  [[ $lab_failed -eq 0 && $lab_passed -gt 0 ]]
}

lab_skip() {
  echo "# skipped: $*"
  exit 77
}

# --- beginning and end --------------------------------------------------------------------------------------

lab_begin() {
  [[ $EUID -eq 0 ]] || lab_skip "network namespaces and BPF take root"
  [[ -x $lab_program ]] || lab_skip "$lab_program is not built"
  lab=$(mktemp -d -t xdp-lab.XXXXXX)
  trap lab_clean EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  # The recorder runs under `ip netns exec`, which hides /sys/fs/bpf: it gets a bpffs and a run directory of its own.
  chmod 0711 "$lab" # the drainer is nobody in particular
  mkdir -p "$lab/run" "$lab/bpf" "$lab/state"
  # Spools, sensors' ids and the block list of the test's own; what deploy/install has put into the machine's state directory stays there.
  ln -s "$(realpath -m "${XDP_RECORDER_STATE:-/var/lib/xdp-recorder}/engine")" "$lab/state/engine"
  mount -t bpf -o mode=0700 bpf "$lab/bpf" || exit 1
  export XDP_RECORDER_RUN=$lab/run XDP_RECORDER_BPFFS=$lab/bpf XDP_RECORDER_STATE=$lab/state
}

# Every process that carries this lab's run directory in its environment was started by it.
lab_processes() {
  local directory
  for directory in /proc/[0-9]*; do
    [[ ${directory#/proc/} != "$$" && ${directory#/proc/} != "$BASHPID" ]] || continue
    if tr '\0' '\n' 2>/dev/null <"$directory/environ" | grep -qxF "XDP_RECORDER_RUN=$lab/run"; then echo "${directory#/proc/}"; fi
  done
}

lab_clean() {
  local status=$? pid namespace
  trap '' INT TERM
  set +e
  for pid in $(lab_processes); do kill -CONT "$pid"; kill -TERM "$pid"; done 2>/dev/null
  lab_wait 5 lab_nobody || for pid in $(lab_processes); do kill -KILL "$pid"; done 2>/dev/null
  lab_wait 5 lab_nobody
  wait 2>/dev/null
  for namespace in "${lab_namespaces[@]}"; do ip netns del "$namespace" 2>/dev/null; done
  rm -rf "$lab/bpf/xdp-recorder"
  umount "$lab/bpf"
  if [[ ${LAB_KEEP:-} ]]; then echo "# left: $lab"; else rm -rf "$lab"; fi
  exit "$status"
}

lab_nobody() { [[ -z $(lab_processes) ]]; }

# lab_wait SECONDS COMMAND...: until the command succeeds; its last exit status.
lab_wait() {
  local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
  shift
  until "$@" >/dev/null 2>&1; do
    [[ ${EPOCHREALTIME/./} -lt $end ]] || return 1
    sleep 0.05
  done
}

# --- namespaces ---------------------------------------------------------------------------------------------

lab_name() { echo "lab$$$1"; }

lab_in() {
  local namespace
  namespace=$(lab_name "$1")
  shift
  ip netns exec "$namespace" "$@"
}

lab_namespace() {
  local namespace
  namespace=$(lab_name "$1")
  [[ ! -e /run/netns/$namespace ]] || return 0
  ip netns add "$namespace" || exit 1
  lab_namespaces+=("$namespace")
  ip -n "$namespace" link set lo up
  # Silence, so that every packet is one that the test made: no router solicitation, no address detection, no link-local.
  ip netns exec "$namespace" sysctl -qw net.ipv6.conf.{all,default}.router_solicitations=0 \
    net.ipv6.conf.{all,default}.accept_dad=0 net.ipv6.conf.default.addr_gen_mode=1 net.ipv4.ping_group_range='0 0'
}

# lab_veth NS1 IF1 NS2 IF2 [QUEUES]: addresses 10.7.N.1 and .2, fd07:N::1 and ::2 for the Nth pair, static neighbours.
lab_veth() {
  local one two n mac=02:00:00:00 queues=${5:-1}
  lab_namespace "$1"
  lab_namespace "$3"
  one=$(lab_name "$1") two=$(lab_name "$3")
  n=$((++lab_pairs))
  printf -v mac '02:00:00:00:%02x' "$n"
  ip -n "$one" link add "$2" numtxqueues "$queues" numrxqueues "$queues" address "$mac:01" type veth \
    peer name "$4" numtxqueues "$queues" numrxqueues "$queues" address "$mac:02" netns "$two" || exit 1
  ip -n "$one" addr add "10.7.$n.1/24" dev "$2"
  ip -n "$two" addr add "10.7.$n.2/24" dev "$4"
  ip -n "$one" addr add "fd07:$n::1/64" dev "$2" nodad
  ip -n "$two" addr add "fd07:$n::2/64" dev "$4" nodad
  ip -n "$one" link set "$2" up
  ip -n "$two" link set "$4" up
  ip -n "$one" neigh replace "10.7.$n.2" lladdr "$mac:02" dev "$2" nud permanent
  ip -n "$two" neigh replace "10.7.$n.1" lladdr "$mac:01" dev "$4" nud permanent
  ip -n "$one" neigh replace "fd07:$n::2" lladdr "$mac:02" dev "$2" nud permanent
  ip -n "$two" neigh replace "fd07:$n::1" lladdr "$mac:01" dev "$4" nud permanent
}

# lab_offloads NS IF on|off: segmentation and checksum offload. TCP makes super-packets whatever the device says (they are
# cut behind the hook), unless one segment is the longest that it may make.
lab_offloads() {
  lab_in "$1" ethtool -K "$2" tx "$3" rx "$3" sg "$3" tso "$3" gso "$3" gro "$3" >/dev/null 2>&1
  lab_in "$1" ip link set dev "$2" gso_max_segs "$([[ $3 == on ]] && echo 65535 || echo 1)"
}

# A queue that counts what goes out in segments, with every segment's headers: the witness when segmentation is offloaded.
lab_counting_queue() { lab_in "$1" tc qdisc replace dev "$2" root pfifo limit 20000; }

# lab_queue_counters NS IF: packets bytes drops
lab_queue_counters() { lab_in "$1" tc -s -j qdisc show dev "$2" root | jq -r '.[0] | "\(.packets) \(.bytes) \(.drops)"'; }

# lab_counters NS IF: rx_packets rx_bytes tx_packets tx_bytes rx_dropped tx_dropped
lab_counters() {
  lab_in "$1" ip -s -j link show dev "$2" |
    jq -r '.[0].stats64 | "\(.rx.packets) \(.rx.bytes) \(.tx.packets) \(.tx.bytes) \(.rx.dropped) \(.tx.dropped)"'
}

# Waits until an interface has been silent for 1.2 s (multicast reports come after an address), at most 10 s.
lab_settle() {
  local before after end=$((SECONDS + 10))
  before=$(lab_counters "$1" "$2")
  while sleep 1.2; do
    after=$(lab_counters "$1" "$2")
    [[ $after != "$before" && $SECONDS -lt $end ]] || return 0
    before=$after
  done
}

# --- the database -------------------------------------------------------------------------------------------

# lab_engine [NAME [NS [OPTION...]]]: an engine with data of its own; sets lab_uri. In a namespace a --port is that one's.
lab_engine() {
  local name=${1:-db} namespace=${2:-} where=()
  shift $(($# < 2 ? $# : 2))
  [[ -z $namespace ]] || where=(lab_in "$namespace")
  ${where[@]+"${where[@]}"} "$root/deploy/engine/engine" start --data "$lab/$name" --user "$lab_user" "$@" >"$lab/engine.log" 2>&1 || {
    cat "$lab/engine.log"
    exit 1
  }
  lab_uri=$("$root/deploy/engine/engine" uri --data "$lab/$name")
  lab_database=lab_${BASHPID}_$RANDOM
}

lab_engine_pid() { "$root/deploy/engine/engine" status --data "$lab/${1:-db}" | grep -oP '(?<=pid )[0-9]+'; }

# lab_query WORD...: see query.py; asks the lab's database.
lab_query() { "$lab_python" "$root/tests/lib/query.py" "$lab_uri" "$lab_database" "$@"; }

# lab_check WORD...: see check.py
lab_check() { "$lab_python" "$root/tests/lib/check.py" "$lab_uri" "$lab_database" "$@"; }

# --- the recorder -------------------------------------------------------------------------------------------

# lab_start_record NAME NS OPTION...: starts it, does not wait. Its output is $lab/NAME.log. The sensor is NAME, or $lab_sensor.
lab_start_record() {
  local name=$1 namespace=$2
  shift 2
  ip netns exec "$(lab_name "$namespace")" "$lab_program" record --user "$lab_user" --mongo "$lab_uri" --database "$lab_database" --sensor "${lab_sensor:-$name}" "$@" \
    >>"$lab/$name.log" 2>&1 </dev/null &
  lab_pid[$name]=$!
}

# lab_ready NAME [SECONDS]: until it says that it records (once more than before).
lab_ready() {
  local name=$1 end=$((SECONDS + ${2:-45}))
  until [[ $(grep -c '^[^#]*recording on ' "$lab/$name.log" 2>/dev/null) -gt ${lab_said[$name]:-0} ]]; do
    if ! kill -0 "${lab_pid[$name]}" 2>/dev/null || [[ $SECONDS -ge $end ]]; then
      note "$name did not begin to record:"
      tail -n 10 "$lab/$name.log" | sed 's/^/#   /'
      return 1
    fi
    sleep 0.05
  done
  lab_said[$name]=$(grep -c '^[^#]*recording on ' "$lab/$name.log")
}
declare -A lab_said=()

lab_record() { lab_start_record "$@" && lab_ready "$1"; }

# lab_warm NAME: until the pages of its rings were read; it says so with -v
lab_warm() { lab_wait 60 grep -q 'pages were read' "$lab/$1.log" || not_ok "$1: the rings' pages are not read after a minute" >&2; }

# lab_hooks NS IF: the hooks that are in use there; empty when none is
lab_hooks() { lab_in "$1" "$lab_python" "$root/tests/lib/hooks.py" "$2"; }

lab_pins() { find "$XDP_RECORDER_BPFFS/xdp-recorder" -type f 2>/dev/null | wc -l; }

# lab_drainer NAME: pid of the drainer, the keeper's child
lab_drainer() { pgrep -P "${lab_pid[$1]}" | head -n 1; }

# lab_await NAME SECONDS: waits for the keeper's end; sets lab_status (124: it did not end) and lab_took (ms).
lab_await() {
  local begin=${EPOCHREALTIME/./} end=$((SECONDS + $2 + 1))
  while kill -0 "${lab_pid[$1]}" 2>/dev/null && [[ $(ps -o stat= -p "${lab_pid[$1]}") != Z* ]]; do
    if [[ $SECONDS -ge $end ]]; then
      lab_status=124 lab_took=$(($2 * 1000))
      return
    fi
    sleep 0.02
  done
  lab_took=$(((${EPOCHREALTIME/./} - begin) / 1000))
  wait "${lab_pid[$1]}"
  lab_status=$?
}

# lab_end_record NAME [SIGNAL [SECONDS]]: ends it (INT, 20 s) and holds it to exit status 0.
lab_end_record() {
  if [[ ${2:-INT} == INT ]]; then lab_wait 30 lab_replayed; fi
  kill "-${2:-INT}" "${lab_pid[$1]}" 2>/dev/null
  lab_await "$1" "${3:-20}"
  if [[ $lab_status -ne 0 ]]; then
    not_ok "$1 ended with status $lab_status"
    tail -n 15 "$lab/$1.log" | sed 's/^/#   /'
    return 1
  fi
}

# lab_send NS OPTION...: frames of known content, see generate.c; sets sent (packets) and sent_bytes, without those that
# the device refused (of live frames, which are all of one size), and refused.
lab_send() {
  local line namespace=$1
  shift
  line=$(lab_in "$namespace" "$generate" "$@") || note "generate: $line"
  read -r _ sent _ sent_bytes _ _ _ _ _ refused _ <<<"$line"
  if [[ ${refused:-0} -gt 0 && $sent -gt 0 ]]; then
    sent_bytes=$((sent_bytes - refused * (sent_bytes / sent))) sent=$((sent - refused))
  fi
}

# lab_stored N [SECONDS]: until N packets are in the database
# What is on a spool of this lab is sent: ending leaves what is left there to the next recording.
lab_replayed() { [[ -z $(find "$lab/state/spool" -name '*.spool' -size +0 2>/dev/null) ]]; }
lab_stored() { lab_query wait-packets "$1" "${2:-20}" >/dev/null; }

# lab_balance TERM: packets of one term, added up over everything in the database (stored, lost.ring_full, ...)
lab_balance() { lab_query balance | jq -r --arg term "$1" '.[$term].packets'; }

# What must hold of everything that was written, whatever the test did.
lab_closed() {
  shows 'every second closes' lab_check balance
  shows 'every batch is there' lab_check ledger
  shows 'every summary adds up' lab_check floods
}

# lab_cpu PID: user and system time so far, ms
lab_cpu() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) * 1000 / hz) }' "/proc/$1/stat"; }
