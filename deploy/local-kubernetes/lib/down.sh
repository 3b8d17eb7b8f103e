# down: end every process of the cluster, whatever state it is in, then remove its data.

down() {
  need_root
  [ -d "$DIR" ] || { say "there is no cluster $NAME"; return 0; }
  lock "$NAME"
  if [ -n "${KEEP_DATA:-}" ]; then      # etcd ends in order, once its one client is gone
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
  rmdir /var/lib/kubelet /var/lib/cni 2>/dev/null || true   # mount points; not empty where others use them
  say "cluster $NAME removed"
}

# free_loops: a volume's loop device goes with its mount; this is for one that was cut off between the two.
free_loops() {
  local dev
  for dev in $(losetup -nO NAME,BACK-FILE 2>/dev/null | awk -v d="$DIR/" 'index($2, d) == 1 {print $1}'); do losetup -d "$dev"; done
}

restore_sysctls() {
  if ls -d /run/local-kubernetes-* >/dev/null 2>&1 || [ ! -e /run/local-kubernetes.sysctl ]; then return; fi
  sysctl -q -p /run/local-kubernetes.sysctl >/dev/null
  rm -f /run/local-kubernetes.sysctl
}

# clean: all clusters of this home, and the binaries.
clean() {
  need_root
  local name
  for name in $(cluster_names); do (use_cluster "$name"; KEEP_DATA='' down); done
  rm -rf "$HOME_DIR"
  say "$HOME_DIR removed"
}
