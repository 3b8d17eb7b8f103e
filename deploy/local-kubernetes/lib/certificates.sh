# Certificates and kubeconfigs, created by kubeadm's own phases.  admin.conf is written last: if it exists, all others do.

fill() { # fill TEMPLATE [SED-EXPRESSION...]: prints a file of conf/ with its @NAMES@ replaced
  local template=$1; shift
  sed -e "s|@DIR@|$DIR|g; s|@CONF@|$CONF|g; s|@HOST_IP@|$HOST_IP|g; s|@VERSION@|$VERSION|g; s|@SERVICE_CIDR@|$SERVICE_CIDR|g" \
      -e "s|@POD_NET@|$POD_NET|g; s|@DNS_IP@|$DNS_IP|g; s|@CLUSTER@|local-kubernetes-$NAME|g; s|@CGROUP@|$CGROUP|g; s|@PROXY_MODE@|$PROXY_MODE|g" \
      "$@" "$HERE/conf/$template"
}

# client USER FILE [GROUP]: creates a kubeconfig with a client certificate of its own.
client() {
  [ ! -e "$CONF/$2.conf" ] || return 0
  "$BIN/kubeadm" kubeconfig user --config "$CONF/kubeadm.yaml" --client-name "$1" ${3:+--org "$3"} >"$CONF/$2.conf.new" 2>>"$DIR/logs/kubeadm.log" \
    || fail "kubeadm cannot create a kubeconfig for $1." "See its log: $DIR/logs/kubeadm.log"
  mv "$CONF/$2.conf.new" "$CONF/$2.conf"
}

certificates() {
  if [ ! -e "$CONF/admin.conf" ]; then
    fill kubeadm.yaml >"$CONF/kubeadm.yaml"
    "$BIN/kubeadm" init phase certs all --config "$CONF/kubeadm.yaml" >>"$DIR/logs/kubeadm.log" 2>&1 \
      || fail "kubeadm cannot create the certificates." "See its log: $DIR/logs/kubeadm.log"
    client system:kube-controller-manager controller-manager
    client system:kube-scheduler scheduler
    client system:kube-proxy kube-proxy
    client local:coredns coredns
    client local:storage storage
    client local:netpol netpol
    client admin admin system:masters
    say "certificates written"
  fi
  local i
  for i in $(seq "$NODES"); do client "system:node:node$i" "node$i" system:nodes; done
  sed "s|server: .*|server: https://127.0.0.1:$PORT|" "$CONF/admin.conf" >"$DIR/kubeconfig.new"
  chmod 600 "$DIR/kubeconfig.new"
  [ -z "${SUDO_UID:-}" ] || chown "$SUDO_UID" "$DIR/kubeconfig.new"   # kubectl is run by the user who called sudo
  mv "$DIR/kubeconfig.new" "$DIR/kubeconfig"
}
