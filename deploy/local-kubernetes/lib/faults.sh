# node VERB N: injects the faults of machines.

NODE_HELP='node start N           power the node on (after a crash: reboot it with its disk)
node crash N           power the node off without warning
node partition N       cut the node off from the network: API server, other nodes and pods
node heal N            restore the network link
node freeze N          suspend all processes of the node; thaw N resumes them
node enter N CMD...    run CMD in the node (with its files, network and processes)
node ctr N ARGS...     run ctr on the images and containers of the node
node pids POD [CONTAINER]          print the host pids of a pod: NAMESPACE/NAME or its UID
node kill [-SIGNAL] POD [CONTAINER]    send a signal to those processes (default: KILL)'

node() {
  local verb=${1:-}
  [ -n "$verb" ] || { echo "$NODE_HELP"; return; }
  shift
  alive network || fail "cluster $NAME is not running." "Start it with 'up'."
  case $verb in
    pids) need_root; node_pids "$@"; return ;;
    kill) need_root; node_kill "$@"; return ;;
  esac
  local i=${1:-}
  [[ $i =~ ^(node)?[1-9]$ ]] || misused "node $verb takes the number of a node, 1 to $NODES."
  i=${i#node}; shift
  [ "$i" -le "$NODES" ] || fail "cluster $NAME has $NODES node(s), no node$i." "Add nodes with 'up --nodes N'."
  need_root
  case $verb in
    start) lock "$NAME"; node_start "$i"; route_services ;;
    crash) node_crash "$i"; route_services ;;
    partition) need_on "$i"; inside ip link set "lk-n$i" down; route_services ;;
    heal) need_on "$i"; inside ip link set "lk-n$i" up; route_services ;;
    freeze) need_on "$i"; cgroup_freeze "node$i" ;;
    thaw) cgroup_thaw "node$i" ;;
    enter) node_enter "$i" "${@:-bash}" ;;
    ctr) node_ctr "$i" "$@" ;;
    *) misused "unknown command 'node $verb'; use one of: start crash partition heal freeze thaw enter ctr pids kill." ;;
  esac
}

need_on() { alive "node$1" || fail "node$1 is off." "Start it with 'node start $1'."; }

# node_pids POD [CONTAINER]: prints the pids as the machine sees them, from the control groups, without the pause process
# that holds the pod's namespaces.
node_pids() {
  local pod=${1:?} container=${2:-} uid id='' pid
  if [[ $pod == */* ]]; then
    read -r uid id < <(kubectl -n "${pod%%/*}" get pod "${pod#*/}" \
      -o jsonpath="{.metadata.uid} {.status.containerStatuses[?(@.name==\"$container\")].containerID}{\"\n\"}") || true
    [ -n "$uid" ] || fail "pod $pod does not exist."
    [ -z "$container" ] || [ -n "$id" ] || fail "pod $pod has no running container $container."
  else
    [ -z "$container" ] || misused "a container can be given only with NAMESPACE/NAME, not with a UID."
    uid=$pod
  fi
  for pid in $(pod_cgroup_pids "$uid" "${id#containerd://}"); do
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = pause ] || echo "$pid"
  done
}

pod_cgroup_pids() {
  local root
  for root in $(cgroup_roots); do
    find "$root/$CGROUP" -path "*/pod$1/*$2*/cgroup.procs" -exec cat {} + 2>/dev/null || true
  done | sort -un
}

node_kill() {
  local signal=KILL pids
  case ${1:-} in -*) signal=${1#-}; shift ;; esac
  [ $# -ge 1 ] || misused "node kill takes a pod: NAMESPACE/NAME or its UID."
  pids=$(node_pids "$@")
  [ -n "$pids" ] || fail "pod $1 has no processes on this machine." "Is it running? See kubectl get pod."
  # shellcheck disable=SC2086
  kill -"$signal" $pids
}
