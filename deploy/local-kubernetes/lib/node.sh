# A node is a process in network, mount and PID namespaces of its own, which runs its own containerd, kubelet, kube-proxy
# and agents for volumes and network policies: when it is killed, the kernel ends everything that ran on the node, as a
# power failure would.

node_dir() { echo "$DIR/nodes/node$1"; }

# node_pid N: prints the pid of the node's first process (PID 1 inside), a child of the unshare that was spawned.
node_pid() {
  local pid child
  pid=$(pid_of "node$1") && child=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) && [ -n "$child" ] && echo "${child%% *}"
}

# node_start N: starts the node unless it is running, and connects it to the network.
node_start() {
  local i=$1 d f
  d=$(node_dir "$i")
  if ! alive "node$i"; then
    mkdir -p "$d"/{conf,cni,containerd,kubelet,cnilib,pods,log}
    for f in containerd.toml kubelet.yaml kube-proxy.yaml; do
      fill "$f" -e "s|@NODE_DIR@|$d|g; s|@NODE@|node$i|g; s|@I@|$i|g" >"$d/conf/$f"
    done
    fill cni.conflist -e "s|@I@|$i|g" >"$d/cni/10-local.conflist"
    cgroup_make "node$i/system"
    disconnect_node "$i"
    spawn "node$i" "node$i/system" unshare --mount --net --pid --fork --kill-child "$HERE/lib/node-init" "$NAME" "$i"
  fi
  node_has_network() { has_own_network "$(node_pid "$i")"; }
  await 10 "the start of node$i" "$DIR/logs/node$i.log" node_has_network
  connect_node "$i"
}

# node_crash N: ends the node without warning to anything that runs there.
node_crash() {
  cgroup_thaw "node$1"
  stop "node$1" KILL
  cgroup_kill "node$1"
  cgroup_remove "node$1"               # otherwise a restarted kubelet spends seconds on each container whose group still exists
  disconnect_node "$1"
}

# node_ctr N ARGS...: runs ctr on the machine against the node's containerd, whose socket is in the node's own /run.
node_ctr() {
  local pid; pid=$(node_pid "$1") || fail "node$1 is not running." "Start it with 'node start $1'."
  shift
  ctr --address "/proc/$pid/root/run/containerd/containerd.sock" --namespace k8s.io "$@"
}

# node_enter N CMD...: becomes CMD in the node's namespaces.
node_enter() {
  local pid; pid=$(node_pid "$1") || fail "node$1 is not running." "Start it with 'node start $1'."
  shift
  exec nsenter --target "$pid" --mount --net --pid "$@"
}

# node_state N: prints the state of the node: off, frozen, partitioned or on.
node_state() {
  if ! alive "node$1"; then echo off
  elif cgroup_frozen "node$1"; then echo frozen
  elif ! connected "$1"; then echo partitioned
  else echo on; fi
}

# node_ready N: checks that the node has reported Ready since it was started, because an old status outlives a restart.
node_ready() {
  local status beat
  read -r status beat < <(kubectl get node "node$1" \
    -o jsonpath='{.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].lastHeartbeatTime}{"\n"}' 2>/dev/null)
  [ "$status" = True ] && [[ ! $beat < $(date -u -d "@$(stat -c %Y "$DIR/pids/node$1")" +%FT%TZ) ]]
}
