# Records the state of the machine beforehand, for comparison in removal.sh.
machine() {
  ip -o link | awk '{print $2}' | grep -v '^lk' | sort
  mount | sort
  losetup -nO NAME | sort
  sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
}
others_run() { ls -d /run/local-kubernetes-*/ 2>/dev/null | grep -qv selftest; }
machine >"$work/before"
