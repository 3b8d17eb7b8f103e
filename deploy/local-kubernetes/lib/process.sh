# Long-lived processes: each has a name, a log, a place in the cluster's control group and a file
# with its pid, start time and boot id, so that a reused pid is never mistaken for it.
BOOT=$(cat /proc/sys/kernel/random/boot_id)

# started PID: prints the kernel's start time of a process; nothing for a zombie, which has ended
# although a slow PID 1 may keep it for seconds.
started() { awk '{sub(/.*\) /,""); if ($1 != "Z" && $1 != "X") print $20}' "/proc/$1/stat" 2>/dev/null || true; }

alive() {
  local pid start boot
  read -r pid start boot 2>/dev/null <"$DIR/pids/$1" || return 1
  [ "$boot" = "$BOOT" ] && [ -n "$start" ] && [ "$(started "$pid")" = "$start" ]
}
pid_of() { local pid; read -r pid _ <"$DIR/pids/$1" && echo "$pid"; }

# spawn NAME GROUP CMD...: starts CMD unless it is running.  The child itself joins the group and writes its file before it
# becomes CMD, so that a parent that is killed here leaves no untracked process behind.
spawn() {
  local name=$1 group=$2; shift 2
  ! alive "$name" || return 0
  (
    exec </dev/null >>"$DIR/logs/$name.log" 2>&1 8>&- 9>&-
    me=$BASHPID
    cgroup_join "$group"
    echo "$me $(started "$me") $BOOT" >"$DIR/pids/$name.new"
    mv "$DIR/pids/$name.new" "$DIR/pids/$name"
    exec setsid "$@"
  ) &
  local child=$!
  until alive "$name"; do
    kill -0 "$child" 2>/dev/null || fail "$name exited immediately." "See its log: $DIR/logs/$name.log"
    sleep 0.01
  done
}

# stop NAME [SIGNAL]: stops a process and waits for it; after 5 s it is killed.
stop() {
  local tries
  if alive "$1"; then
    kill -"${2:-TERM}" "$(pid_of "$1")" 2>/dev/null || true
    for tries in $(seq 100); do alive "$1" || break; sleep 0.05; done
    ! alive "$1" || kill -KILL "$(pid_of "$1")" 2>/dev/null || true
  fi
  rm -f "$DIR/pids/$1"
}
