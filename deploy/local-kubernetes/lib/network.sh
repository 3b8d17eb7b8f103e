# The cluster's network is one namespace with a bridge, to which each node is connected by a veth pair.
# It disappears, with everything in it, when its last process ends.

# inside CMD...: runs CMD with the cluster's network, and otherwise on the machine.
inside() { nsenter --net="/proc/$(pid_of network)/ns/net" "$@"; }

# has_own_network PID: checks that unshare has given the process its own network namespace.
has_own_network() {
  local theirs; theirs=$(readlink "/proc/$1/ns/net") && [ "$theirs" != "$(readlink /proc/self/ns/net)" ]
}

# become_inside CMD...: replaces this process by CMD, so that its parent can end it, with the cluster's network, DNS,
# kubectl and kubeconfig.
become_inside() {
  export KUBECONFIG=$DIR/kubeconfig PATH=$BIN:$PATH
  printf '%s\n' "nameserver $HOST_IP" 'search default.svc.cluster.local svc.cluster.local cluster.local' 'options ndots:5' >"$RUN/resolv.conf.$$"
  mv "$RUN/resolv.conf.$$" "$RUN/resolv.conf"
  # shellcheck disable=SC2016
  exec nsenter --net="/proc/$(pid_of network)/ns/net" unshare --mount \
    sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$RUN/resolv.conf" "$@"
}

network_up() {
  spawn network control unshare --net sleep infinity
  local pid; pid=$(pid_of network)
  await 10 "the cluster's network namespace" "$DIR/logs/network.log" has_own_network "$pid"
  inside ip link set lo up
  # A bridge without a MAC address of its own uses that of a port, and changes it when that port is removed: after the
  # crash of one node the others would send to an address that no longer exists, for up to a minute.
  if ! inside ip link show lk0 >/dev/null 2>&1; then inside ip link add lk0 address 02:00:0a:37:00:01 type bridge; fi
  inside ip addr replace "$HOST_IP/24" dev lk0
  inside ip link set lk0 up
}

# The API server is available at 127.0.0.1:PORT of the machine (take_port), and at the same address inside (api_relays_up),
# so that one kubeconfig works for both.
api_relays_up() {
  spawn api-inside control nsenter --net="/proc/$(pid_of network)/ns/net" \
    socat "UNIX-LISTEN:$RUN/api.sock,fork,unlink-early,mode=600" "TCP:$HOST_IP:6443"
  spawn api-local control nsenter --net="/proc/$(pid_of network)/ns/net" \
    socat "TCP-LISTEN:$PORT,bind=127.0.0.1,fork,reuseaddr" "TCP:$HOST_IP:6443"
}
take_port() {
  spawn api-outside control socat "TCP-LISTEN:$PORT,bind=127.0.0.1,fork,reuseaddr" "UNIX-CONNECT:$RUN/api.sock"
  port_taken() { ! port_free "$PORT"; }
  await 10 "a listener on port $PORT" "$DIR/logs/api-outside.log" port_taken
}

port_free() { ! ss -Hltn "sport = :$1" 2>/dev/null | grep -q .; }

# choose_port: selects the port that was requested or used before, otherwise the first free one from 6443.
choose_port() {
  if alive api-outside; then return; fi
  if [ -n "$PORT" ]; then
    port_free "$PORT" || fail "port $PORT is in use by another program." "Choose another one with --port, or omit --port."
    return
  fi
  for PORT in $(seq 6443 6499); do if port_free "$PORT"; then return; fi; done
  fail "no port from 6443 to 6499 is free." "Choose one with --port."
}

# connect_node N: creates the link between the bridge and a node whose first process is running.
connect_node() {
  local i=$1
  if ! inside ip link show "lk-n$i" >/dev/null 2>&1; then
    inside ip link add "lk-n$i" type veth peer name eth0 netns "$(node_pid "$i")"
  fi
  inside ip link set "lk-n$i" master lk0 up
  inside ip route replace "$POD_NET.$i.0/24" via "$NODE_NET.$((10 + i))"
}
disconnect_node() { inside ip link del "lk-n$1" 2>/dev/null || true; }
connected() { inside ip link show "lk-n$1" 2>/dev/null | grep -q '[<,]UP[,>]'; }

# route_services: lets programs inside the network, including the API server, reach Services through the kube-proxy of the
# first node that is available.
route_services() {
  local i
  for i in $(seq "$NODES"); do
    if alive "node$i" && connected "$i"; then
      inside ip route replace "$SERVICE_CIDR" via "$NODE_NET.$((10 + i))"
      return
    fi
  done
}
