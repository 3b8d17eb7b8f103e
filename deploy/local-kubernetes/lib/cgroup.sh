# Control groups.  All processes of a cluster are in one subtree, with a group for each node: the kubelet accounts for each
# node separately, a node can be frozen, and no process escapes 'down', whatever was interrupted.

# cgroup_roots: prints the mounted hierarchies: one for each controller (version 1) or a single one (version 2).
cgroup_roots() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; return; fi
  local c
  for c in /sys/fs/cgroup/*/; do [ ! -e "$c/cgroup.procs" ] || echo "${c%/}"; done
}

# cgroup_make PATH: creates PATH below the cluster's group, ready for processes.
cgroup_make() {
  local root dir part
  for root in $(cgroup_roots); do
    dir=$root
    for part in "$CGROUP" ${1//\// }; do
      # Version 2 delegates controllers one level at a time; version 1 requires the cpuset to be filled in.
      if [ -e "$dir/cgroup.subtree_control" ] && [ -s "$dir/cgroup.controllers" ]; then
        sed 's/[^ ]*/+&/g' "$dir/cgroup.controllers" >"$dir/cgroup.subtree_control" 2>/dev/null || true
      fi
      dir=$dir/$part
      mkdir -p "$dir"
      if [ -e "$root/cpuset.cpus" ] && [ -e "$root/cpuset.mems" ]; then
        cat "$root/cpuset.cpus" >"$dir/cpuset.cpus"
        cat "$root/cpuset.mems" >"$dir/cpuset.mems"
      fi
    done
  done
}

# cgroup_join PATH: moves the calling shell, and so everything that it starts, into PATH.
cgroup_join() {
  local root
  for root in $(cgroup_roots); do echo 0 >"$root/$CGROUP/$1/cgroup.procs"; done
}

# cgroup_pids [PATH]: prints the pids of the processes in PATH and below.
cgroup_pids() {
  local root
  for root in $(cgroup_roots); do
    [ ! -d "$root/$CGROUP/${1:-}" ] || find "$root/$CGROUP/${1:-}" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done | sort -un
}

# cgroup_kill [PATH]: kills processes until none is left.  A frozen process does not die, so it is thawed first.
cgroup_kill() {
  local pids tries
  for tries in $(seq 200); do
    pids=$(cgroup_pids "${1:-}")
    [ -n "$pids" ] || return 0
    [ "$tries" != 1 ] || cgroup_thaw_all
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true
    sleep 0.05
  done
  fail "processes of cluster $NAME do not exit: ${pids//$'\n'/ }." "Inspect them with ps; a process in state D is waiting for the kernel."
}

# cgroup_remove [PATH]: removes groups, which are empty only once the kernel has reaped their last process.
cgroup_remove() {
  local root left tries
  for tries in $(seq 100); do
    left=
    for root in $(cgroup_roots); do
      [ -d "$root/$CGROUP/${1:-}" ] || continue
      find "$root/$CGROUP/${1:-}" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
    done
    [ -n "$left" ] || return 0
    sleep 0.05
  done
  fail "control groups of cluster $NAME cannot be removed." "See: find /sys/fs/cgroup -path '*$CGROUP*' -name cgroup.procs -exec cat {} +"
}

# freezer_of NODE: prints the file that freezes a node, and the values that freeze and thaw it.
freezer_of() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo "/sys/fs/cgroup/$CGROUP/$1/cgroup.freeze 1 0"
  else echo "/sys/fs/cgroup/freezer/$CGROUP/$1/freezer.state FROZEN THAWED"; fi
}
cgroup_freeze() { local f word; read -r f word _ < <(freezer_of "$1"); echo "$word" >"$f"; }
cgroup_thaw() { local f word; read -r f _ word < <(freezer_of "$1"); [ ! -e "$f" ] || echo "$word" >"$f"; }
cgroup_frozen() { local f; read -r f _ < <(freezer_of "$1"); grep -qE '^(1|FROZEN|FREEZING)$' "$f" 2>/dev/null; }
cgroup_thaw_all() { local i; for i in $(seq $MOST_NODES); do cgroup_thaw "node$i"; done; }
