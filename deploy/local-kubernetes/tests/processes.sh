pids_are_the_program() {
  local pid; pid=$(lk $A node pids default/db-1 probe)
  [ "$(cat "/proc/$pid/comm")" = probe ]
}
same_by_uid() {
  [ "$(lk $A node pids "$(k $A get pod db-1 -o jsonpath='{.metadata.uid}')")" = "$(lk $A node pids default/db-1)" ]
}
restarts() { k $A get pod db-1 -o jsonpath='{.status.containerStatuses[0].restartCount}'; }
killed_and_back() {
  local was; was=$(restarts)
  lk $A node kill default/db-1 probe && restarted() { [ "$(restarts)" -gt "$was" ]; } && within 20 restarted
}
load_image() {
  "$HERE/../../image/pack" localhost/selftest:1 "$work/selftest.tar" "$HOME_DIR/clusters/$A/bin/probe" && lk $A load "$work/selftest.tar"
  local i
  for i in 1 2 3; do prints localhost/selftest:1 lk $A node ctr $i images ls -q || return 1; done
}

holds "'node pids' prints the process of a container" pids_are_the_program
holds "'node pids' also accepts a pod's UID" same_by_uid
holds "a container that is killed with 'node kill' is restarted" killed_and_back
holds "'load' imports an image into every node" load_image
holds "'load' refuses a file that is not an image" fails lk $A load "$HERE/run"
holds "'node enter' runs a program in the node" prints "10.55.0.12" lk $A node enter 2 ip -o -4 address show eth0
holds "a node that does not exist is refused" prints "no node7" lk $A node crash 7
