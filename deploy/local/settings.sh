# Shared by up and down: directories, addresses and configuration of the three processes.
# shellcheck source=deploy/deps/env.sh
. deploy/deps/env.sh
DIR=${QUORATE_LOCAL:-$QUORATE_CACHE/local}
NODES="1 2 3"
PEERS=node-1=127.0.0.1:17401,node-2=127.0.0.1:17402,node-3=127.0.0.1:17403
SERVERS=127.0.0.1:17411,127.0.0.1:17412,127.0.0.1:17413

chatctl() { "$CARGO_TARGET_DIR/release/chatctl" "$@"; }

# alive N: checks that the process `up` started still runs and is chatd; the binary may have been rebuilt since.
alive() {
  local pid exe
  pid=$(cat "$DIR/node-$1/pid" 2>/dev/null) && exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
  [ "${exe% (deleted)}" = "$(readlink -f "$CARGO_TARGET_DIR/release/chatd")" ]
}

# config N: prints the configuration file of node N.
config() {
  local i=$1
  cat <<YAML
serverName: chat.localhost
nodeName: node-$i
dataDir: $DIR/node-$i/data
listen: {http: "127.0.0.1:$((18007 + i))", grpc: "127.0.0.1:$((17410 + i))", peer: "127.0.0.1:$((17400 + i))", metrics: "127.0.0.1:$((9400 + i))"}
advertise: {peer: "127.0.0.1:$((17400 + i))", grpc: "127.0.0.1:$((17410 + i))"}
tls: {caFile: $DIR/tls/ca.crt, certFile: $DIR/tls/node-$i/tls.crt, keyFile: $DIR/tls/node-$i/tls.key}
log: {format: text, level: info}
YAML
}
