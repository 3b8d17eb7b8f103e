nothing_left() {
  local bad=0 pid
  for pid in /proc/[0-9]*; do
    [[ $(tr '\0' ' ' <"$pid/cmdline" 2>/dev/null) != *clusters/selftest-* ]] || { echo "a process is left: $(tr '\0' ' ' <"$pid/cmdline")"; bad=1; }
  done
  left() { [ -z "$2" ] || { echo "$1 left: $2"; bad=1; }; }
  left "control groups" "$(find /sys/fs/cgroup -maxdepth 2 -name '*local-kubernetes-selftest-*')"
  left "mounts" "$(grep selftest- /proc/mounts)"
  left "loop devices" "$(losetup -nO BACK-FILE | grep selftest-)"
  left "sockets" "$(ls -d /run/local-kubernetes-selftest-* 2>/dev/null)"
  left "files" "$(ls -d "$HOME_DIR"/clusters/selftest-* 2>/dev/null)"
  return $bad
}
machine_is_as_before() { machine | diff "$work/before" -; }

[ -n "$keep" ] && return
holds "a cluster is removed while its pods run" lk $A down
holds "no process, control group, mount, loop device, socket or file is left" nothing_left
others_run || holds "links, mounts and kernel settings of the machine are unchanged" machine_is_as_before
