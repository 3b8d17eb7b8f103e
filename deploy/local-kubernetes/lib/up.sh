# up: start what does not run, wait until pods can be made.  Safe to repeat at any point, also after a
# run that was killed half-way.

check_up() {
  [[ $NODES =~ ^[1-9]$ ]] || misused "--nodes takes 1 to $MOST_NODES."
  [[ -z $PORT || $PORT =~ ^[0-9]+$ && $PORT -ge 1 && $PORT -le 65535 ]] || misused "--port takes a number from 1 to 65535."
  [[ " $PROXY_MODES " == *" $PROXY_MODE "* ]] || misused "--proxy-mode takes one of: $PROXY_MODES."
  need_root
  need_programs
  mkdir -p "$HOME_DIR"
  [ "$(stat -fc %T "$HOME_DIR")" != overlayfs ] || fail "$HOME_DIR is on an overlay file system, where containerd cannot make its own." \
    "Set XDG_CACHE_HOME to a folder on a disk or tmpfs."
}

save_sysctls() {
  # The kubelet changes these for the whole machine; the last cluster to go puts them back.
  [ -e /run/local-kubernetes.sysctl ] || sysctl $SYSCTLS >/run/local-kubernetes.sysctl
}

up() {
  check_up
  need_built
  lock "$NAME"
  if alive network && [ "$NODES" -lt "$NODES_BEFORE" ]; then
    fail "cluster $NAME runs with $NODES_BEFORE nodes; a running one cannot lose any." "Use 'down --keep-data' first."
  fi
  exec 8>"$HOME_DIR/locks/ports"
  flock 8                               # until the port is taken, so that two clusters that start at once do not choose the same
  choose_port
  mkdir -p "$DIR"/{pki,conf,etcd,logs,pids,nodes,images,volumes} "$RUN" /var/lib/kubelet /var/lib/cni
  chmod 700 "$DIR"/{pki,conf,etcd} "$RUN"
  alive network || cgroup_kill          # what an interrupted run left has no network any more
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
  doors_up
  local i
  for i in $(seq "$NODES"); do node_start "$i"; done
  route_services
  say "processes started"
  # shellcheck disable=SC2046
  on_each_node import $(cluster_images) &
  local images=$!
  await 90 "an answer of the API server" "$DIR/logs/kube-apiserver.log" kubectl get --raw /readyz
  say "API server ready at 127.0.0.1:$PORT"
  controllers_up
  await 30 "the first objects" "$DIR/logs/apply.log" apply_base
  dns_up
  storage_up
  wait "$images" || exit 1
  # Before the default ServiceAccount exists no pod can be made.
  await 60 "the default ServiceAccount" "$DIR/logs/kube-controller-manager.log" kubectl -n default get serviceaccount default
  for i in $(seq "$NODES"); do await 90 "node$i Ready" "$DIR/logs/node$i-kubelet.log" node_ready "$i"; done
  for i in $(seq $((NODES + 1)) "$NODES_BEFORE"); do kubectl delete node "node$i" --ignore-not-found >/dev/null; done
  say "$NODES node(s) Ready"
  echo "Use it:     eval \"\$($0$(name_flag) env)\"    # sets KUBECONFIG, kubectl and helm"
  echo "Remove it:  $0$(name_flag) down"
}

apply_base() { kubectl apply -f "$HERE/conf/base.yaml" >>"$DIR/logs/apply.log" 2>&1; }
name_flag() { [ "$NAME" = default ] || echo " --name $NAME"; }
