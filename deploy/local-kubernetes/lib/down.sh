# down: ends every process of the cluster, whatever state it is in, then removes its data.

down() {
  need_root
  [ -d "$DIR" ] || { say "cluster $NAME does not exist"; return 0; }
  lock "$NAME"
  if [ -n "${KEEP_DATA:-}" ]; then      # etcd shuts down cleanly, once its only client is gone
    stop kube-apiserver KILL
    stop etcd
  fi
  cgroup_kill
  cgroup_remove
  rm -rf "$RUN" "$DIR"/pids/*
  free_loops
  restore_sysctls
  if [ -n "${KEEP_DATA:-}" ]; then say "cluster $NAME stopped; its data is in $DIR"; return; fi
  rm -rf "$DIR"
  rmdir /var/lib/kubelet /var/lib/cni 2>/dev/null || true   # mount points; not empty if something else uses them
  say "cluster $NAME removed"
}

# free_loops: a loop device is normally released with its mount; this releases those that an interruption left behind.
free_loops() {
  local dev
  for dev in $(losetup -nO NAME,BACK-FILE 2>/dev/null | awk -v d="$DIR/" 'index($2, d) == 1 {print $1}'); do losetup -d "$dev"; done
}

restore_sysctls() {
  if ls -d /run/local-kubernetes-* >/dev/null 2>&1 || [ ! -e /run/local-kubernetes.sysctl ]; then return; fi
  sysctl -q -p /run/local-kubernetes.sysctl >/dev/null
  rm -f /run/local-kubernetes.sysctl
}

# clean: removes all clusters of this home directory, and the binaries.
clean() {
  need_root
  local name
  for name in $(cluster_names); do (use_cluster "$name"; KEEP_DATA='' down); done
  rm -rf "$HOME_DIR"
  say "$HOME_DIR removed"
}
