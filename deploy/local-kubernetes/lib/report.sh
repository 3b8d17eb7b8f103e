# What people read: progress with the time since the start, and errors that say what to do.
started_at=${EPOCHREALTIME/,/.}

elapsed() { awk -v a="$started_at" -v b="${EPOCHREALTIME/,/.}" 'BEGIN{printf "%.1f", b - a}'; }
say() { printf '%6ss  %s\n' "$(elapsed)" "$*"; }

# fail WHAT [WHAT-TO-DO]: one sentence on what is wrong, one on what helps.
fail() {
  printf 'local-kubernetes: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '                  %s\n' "$2" >&2
  exit 1
}

# misused WHAT: a command line that cannot be understood; exit code 2, as usual for usage.
misused() {
  printf 'local-kubernetes: %s\n                  See local-kubernetes --help.\n' "$1" >&2
  exit 2
}

# await SECONDS WHAT LOG CMD...: until CMD succeeds; at the limit show the end of LOG and fail.
await() {
  local end=$((SECONDS + $1)) what=$2 log=$3; shift 3
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      [ ! -s "$log" ] || { echo "--- the end of $log" >&2; tail -n 15 "$log" >&2; }
      fail "$what did not happen in time." "The logs are in $DIR/logs; 'down' clears the cluster away, then try 'up' again."
    fi
    sleep 0.1
  done
}
