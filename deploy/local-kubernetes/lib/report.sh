# Output for people: progress with the time since the start, and errors that say what to do.
started_at=${EPOCHREALTIME/,/.}

elapsed() { awk -v a="$started_at" -v b="${EPOCHREALTIME/,/.}" 'BEGIN{printf "%.1f", b - a}'; }
say() { printf '%6ss  %s\n' "$(elapsed)" "$*"; }

# fail WHAT [WHAT-TO-DO]: prints one sentence about the problem and one about the remedy, and exits.
fail() {
  printf 'local-kubernetes: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '                  %s\n' "$2" >&2
  exit 1
}

# misused WHAT: reports an invalid command line; exit code 2, as is usual for usage errors.
misused() {
  printf 'local-kubernetes: %s\n                  See local-kubernetes --help.\n' "$1" >&2
  exit 2
}

# await SECONDS WHAT LOG CMD...: waits until CMD succeeds; at the limit prints the end of LOG and fails.
await() {
  local end=$((SECONDS + $1)) what=$2 log=$3; shift 3
  # In a shell of its own: a command that fails for good would end this one, and its message is not shown.
  until ("$@") >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      [ ! -s "$log" ] || { echo "--- end of $log" >&2; tail -n 15 "$log" >&2; }
      fail "timed out waiting for $what." "The logs are in $DIR/logs; remove the cluster with 'down', then try 'up' again."
    fi
    sleep 0.1
  done
}
