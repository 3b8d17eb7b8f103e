# status: shows what is running; the exit code is 0 if everything is, 3 if not.

cluster_names() { local d; for d in "$HOME_DIR"/clusters/*/; do [ ! -d "$d" ] || basename "$d"; done; }

CONTROL='network etcd kube-apiserver kube-controller-manager kube-scheduler coredns storage csi-provisioner csi-attacher csi-resizer api-inside api-local api-outside'

status() {
  if [ ! -d "$DIR" ] || ! alive network; then
    echo "Cluster $NAME is not running. Clusters in $HOME_DIR: $(cluster_names | xargs)"
    return 3
  fi
  local p i off=()
  for p in $CONTROL; do alive "$p" || off+=("$p"); done
  echo "Cluster $NAME: API server https://127.0.0.1:$PORT, kube-proxy in $PROXY_MODE mode, data in $DIR"
  if [ ${#off[@]} = 0 ]; then echo "Control plane: all $(wc -w <<<"$CONTROL") processes are running."; else echo "Control plane: NOT running: ${off[*]} ('up' starts them)."; fi
  for i in $(seq "$NODES"); do
    printf 'node%s  %-11s  %s\n' "$i" "$(node_state "$i")" "$(kubectl get node "node$i" --no-headers --request-timeout 3s 2>/dev/null | awk '{print $2}')"
  done
  [ ${#off[@]} = 0 ] || return 3
}
