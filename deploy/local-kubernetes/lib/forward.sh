# forward: makes a Service of the cluster available at 127.0.0.1 of the machine, for browsers, until the cluster ends.

# forward PORT HOST:PORT: uses two processes as for the API server, one inside the cluster's network and one outside, with
# a socket between them. The name is resolved for each connection, so that a Service may be recreated.
forward() {
  local port=${1:-} to=${2:-}
  [[ $port =~ ^[0-9]+$ && $port -ge 1 && $port -le 65535 ]] || misused "the first argument of forward must be a port of this machine, from 1 to 65535."
  [[ $to =~ ^[a-z0-9.-]+:[0-9]+$ ]] || misused "the second argument of forward must be HOST:PORT in the cluster, such as web.default:80."
  alive network || fail "cluster $NAME is not running." "Start it with 'up'."
  local name=forward-$port kept=$DIR/forward-$port
  if alive "$name-outside" && [ "$(cat "$kept" 2>/dev/null)" = "$to" ]; then return; fi
  stop "$name-outside"
  stop "$name-inside"
  port_free "$port" || fail "port $port is in use by another program." "Choose another one."
  spawn "$name-inside" control "$HERE/local-kubernetes" exec --name "$NAME" -- socat "UNIX-LISTEN:$RUN/$name.sock,fork,unlink-early,mode=600" "TCP:$to"
  spawn "$name-outside" control socat "TCP-LISTEN:$port,bind=127.0.0.1,fork,reuseaddr" "UNIX-CONNECT:$RUN/$name.sock"
  forward_ready() { ! port_free "$port"; }
  await 10 "a socket in the cluster's network" "$DIR/logs/$name-inside.log" test -S "$RUN/$name.sock"
  await 10 "a listener on port $port" "$DIR/logs/$name-outside.log" forward_ready
  echo "$to" >"$kept"
}
