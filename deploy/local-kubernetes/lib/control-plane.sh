# The control plane: etcd, the API server, controllers, scheduler, DNS and storage, as processes of the machine that run
# in the cluster's network.

# control NAME CMD...: starts one of them.
control() { local name=$1; shift; spawn "$name" control nsenter --net="/proc/$(pid_of network)/ns/net" "$@"; }
kubectl() { "$BIN/kubectl" --kubeconfig "$DIR/kubeconfig" "$@"; }

etcd_up() {
  # No fsync: a cluster for tests may lose its last writes when the machine itself loses power.
  control etcd "$BIN/etcd" --name local --data-dir "$DIR/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://127.0.0.1:2379 \
    --listen-peer-urls https://127.0.0.1:2380 --initial-advertise-peer-urls https://127.0.0.1:2380 \
    --initial-cluster local=https://127.0.0.1:2380 \
    --cert-file "$PKI/etcd/server.crt" --key-file "$PKI/etcd/server.key" --trusted-ca-file "$PKI/etcd/ca.crt" --client-cert-auth \
    --peer-cert-file "$PKI/etcd/peer.crt" --peer-key-file "$PKI/etcd/peer.key" --peer-trusted-ca-file "$PKI/etcd/ca.crt" --peer-client-cert-auth
}

apiserver_up() {
  control kube-apiserver "$BIN/kube-apiserver" --bind-address "$HOST_IP" --advertise-address "$HOST_IP" --secure-port 6443 \
    --etcd-servers https://127.0.0.1:2379 --etcd-cafile "$PKI/etcd/ca.crt" \
    --etcd-certfile "$PKI/apiserver-etcd-client.crt" --etcd-keyfile "$PKI/apiserver-etcd-client.key" \
    --client-ca-file "$PKI/ca.crt" --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" \
    --kubelet-client-certificate "$PKI/apiserver-kubelet-client.crt" --kubelet-client-key "$PKI/apiserver-kubelet-client.key" \
    --kubelet-preferred-address-types InternalIP,Hostname \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$PKI/sa.pub" --service-account-signing-key-file "$PKI/sa.key" \
    --requestheader-client-ca-file "$PKI/front-proxy-ca.crt" --requestheader-allowed-names front-proxy-client \
    --requestheader-extra-headers-prefix X-Remote-Extra- --requestheader-group-headers X-Remote-Group --requestheader-username-headers X-Remote-User \
    --proxy-client-cert-file "$PKI/front-proxy-client.crt" --proxy-client-key-file "$PKI/front-proxy-client.key" --enable-aggregator-routing \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged --service-cluster-ip-range "$SERVICE_CIDR" \
    --default-not-ready-toleration-seconds "$EVICT_AFTER" --default-unreachable-toleration-seconds "$EVICT_AFTER"
}

controllers_up() {
  local c=$CONF/controller-manager.conf s=$CONF/scheduler.conf
  control kube-controller-manager "$BIN/kube-controller-manager" --bind-address 127.0.0.1 --leader-elect=false \
    --kubeconfig "$c" --authentication-kubeconfig "$c" --authorization-kubeconfig "$c" \
    --client-ca-file "$PKI/ca.crt" --requestheader-client-ca-file "$PKI/front-proxy-ca.crt" --root-ca-file "$PKI/ca.crt" \
    --service-account-private-key-file "$PKI/sa.key" --cluster-signing-cert-file "$PKI/ca.crt" --cluster-signing-key-file "$PKI/ca.key" \
    --use-service-account-credentials --node-monitor-grace-period "$NODE_GRACE" --node-monitor-period 2s
  control kube-scheduler "$BIN/kube-scheduler" --bind-address 127.0.0.1 --leader-elect=false \
    --kubeconfig "$s" --authentication-kubeconfig "$s" --authorization-kubeconfig "$s"
}

dns_up() {
  fill Corefile >"$CONF/Corefile"
  control coredns "$BIN/coredns" -conf "$CONF/Corefile"
}

storage_up() {
  control storage "$BIN/local-csi" controller --socket "$RUN/csi.sock" --dir "$DIR/volumes"
  local part
  for part in provisioner attacher resizer; do
    control "csi-$part" "$BIN/csi-$part" --kubeconfig "$CONF/storage.conf" --csi-address "$RUN/csi.sock"
  done
}
