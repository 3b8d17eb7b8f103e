# up: starts what is not running, and waits until pods can be created.  Safe to repeat at any point, also after a
# run that was killed halfway.

check_up() {
  [[ $NODES =~ ^[1-9]$ ]] || misused "--nodes must be from 1 to $MOST_NODES."
  [[ -z $PORT || $PORT =~ ^[0-9]+$ && $PORT -ge 1 && $PORT -le 65535 ]] || misused "--port must be a number from 1 to 65535."
  [[ " $PROXY_MODES " == *" $PROXY_MODE "* ]] || misused "--proxy-mode must be one of: $PROXY_MODES."
  need_root
  need_programs
  mkdir -p "$HOME_DIR"
  [ "$(stat -fc %T "$HOME_DIR")" != overlayfs ] || fail "$HOME_DIR is on an overlay file system, on which containerd cannot create its own overlays." \
    "Set XDG_CACHE_HOME to a directory on a disk or tmpfs."
}

save_sysctls() {
  # The kubelet changes these for the whole machine; removing the last cluster restores them.
  [ -e /run/local-kubernetes.sysctl ] || sysctl $SYSCTLS >/run/local-kubernetes.sysctl
}

up() {
  check_up
  need_built
  lock "$NAME"
  if alive network && [ "$NODES" -lt "$NODES_BEFORE" ]; then
    fail "cluster $NAME is running with $NODES_BEFORE nodes; nodes cannot be removed while it runs." "Run 'down --keep-data' first."
  fi
  exec 8>"$HOME_DIR/locks/ports"
  flock 8                               # held until the port is taken, so that two clusters that start at once do not choose the same port
  choose_port
  mkdir -p "$DIR"/{pki,conf,etcd,logs,pids,nodes,images,volumes} "$RUN" /var/lib/kubelet /var/lib/cni
  chmod 700 "$DIR"/{pki,conf,etcd} "$RUN"
  alive network || cgroup_kill          # processes left by an interrupted run no longer have a network
  remember_settings
  save_sysctls
  link_built "$BIN"
  cgroup_make control
  take_port
  exec 8>&-
  network_up
  certificates
  etcd_up
  apiserver_up
  api_relays_up
  local i
  for i in $(seq "$NODES"); do node_start "$i"; done
  route_services
  say "processes started"
  # shellcheck disable=SC2046
  on_each_node import $(cluster_images) &
  local images=$!
  await 90 "an answer from the API server" "$DIR/logs/kube-apiserver.log" kubectl get --raw /readyz
  say "API server ready at 127.0.0.1:$PORT"
  controllers_up
  await 30 "the first objects" "$DIR/logs/apply.log" apply_base
  dns_up
  storage_up
  wait "$images" || exit 1
  # No pod can be created before the default ServiceAccount exists.
  await 60 "the default ServiceAccount" "$DIR/logs/kube-controller-manager.log" kubectl -n default get serviceaccount default
  for i in $(seq "$NODES"); do await 90 "node$i to become Ready" "$DIR/logs/node$i-kubelet.log" node_ready "$i"; done
  for i in $(seq $((NODES + 1)) "$NODES_BEFORE"); do kubectl delete node "node$i" --ignore-not-found >/dev/null; done
  say "$NODES node(s) Ready"
  echo "Use:     eval \"\$($0$(name_flag) env)\"    # sets KUBECONFIG, kubectl and helm"
  echo "Remove:  $0$(name_flag) down"
}

apply_base() { kubectl apply -f "$HERE/conf/base.yaml" >>"$DIR/logs/apply.log" 2>&1; }
name_flag() { [ "$NAME" = default ] || echo " --name $NAME"; }
