# Names, paths and addresses.  Addresses exist only inside a cluster's own network namespace, so that
# every cluster can use the same ones and none affects the machine's network.
VERSION=v1.36.1                      # of Kubernetes; the same as in src/go.mod
HOST_IP=10.55.0.1                    # control plane and cluster DNS, on the bridge lk0
NODE_NET=10.55.0                     # node N is 10.55.0.(10+N)
POD_NET=10.56                        # node N's pods are 10.56.N.0/24
SERVICE_CIDR=10.57.0.0/16
DNS_IP=10.57.0.10
MOST_NODES=9                         # more would need wider pod ranges, and hardly fit on one machine
NODE_GRACE=20s                       # a silent node counts as NotReady after this (upstream: 50s)
EVICT_AFTER=30                       # seconds from NotReady to eviction (upstream: 300); tests wait for both

HOME_DIR=${XDG_CACHE_HOME:-${HOME:?local-kubernetes needs HOME or XDG_CACHE_HOME}/.cache}/quorate/local-kubernetes
BUILT=$HOME_DIR/built                # one folder per part and hash of its sources
PROXY_MODES='nftables iptables'
SYSCTLS='vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes'

# use_cluster NAME: derives all settings of a cluster from its name.
use_cluster() {
  NAME=$1
  [[ $NAME =~ ^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$ ]] || misused "'$NAME' is not a valid cluster name: use up to 20 characters of a-z, 0-9 and '-', not starting or ending with '-'."
  DIR=$HOME_DIR/clusters/$NAME
  # Two home directories may contain clusters of the same name (a test with its own XDG_CACHE_HOME), so the names of
  # kernel objects include a hash of the path.
  ID=$NAME-$(printf %s "$DIR" | sha256sum | cut -c1-6)
  RUN=/run/local-kubernetes-$ID      # sockets; short, because the path of a socket has at most 108 bytes
  CGROUP=local-kubernetes-$ID
  CONF=$DIR/conf PKI=$DIR/pki
  BIN=$DIR/bin                       # links to the build with which the cluster was last started
  NODES=3 PORT='' PROXY_MODE=nftables   # unless an earlier 'up' chose otherwise
  # shellcheck disable=SC1091
  [ ! -e "$DIR/settings" ] || . "$DIR/settings"
  NODES_BEFORE=0
  [ ! -e "$DIR/settings" ] || NODES_BEFORE=$NODES
}

# remember_settings: stores the flags of 'up', so that later commands do not need them.
remember_settings() {
  printf 'NODES=%q PORT=%q PROXY_MODE=%q\n' "$NODES" "$PORT" "$PROXY_MODE" >"$DIR/settings.new"
  mv "$DIR/settings.new" "$DIR/settings"
}

need_root() { [ "$(id -u)" = 0 ] || fail "this command needs root to create namespaces, mounts and cgroups." "Run it with sudo -E (which keeps HOME), or use 'make local' (three processes, no Kubernetes)."; }

# need_programs: checks for the programs of the Debian packages.
need_programs() {
  local p missing=()
  for p in containerd runc nft iptables conntrack socat mkfs.xfs ip losetup nsenter unshare flock; do
    command -v "$p" >/dev/null || missing+=("$p")
  done
  [ -x /usr/lib/cni/bridge ] || missing+=("the CNI plugins in /usr/lib/cni")
  [ ${#missing[@]} = 0 ] || fail "not installed: ${missing[*]}." "Run 'local-kubernetes deps' as root."
}

# lock WHICH: allows one change at a time; file descriptor 9 is closed in every process that keeps running.
lock() {
  mkdir -p "$HOME_DIR/locks"
  exec 9>"$HOME_DIR/locks/$1"
  flock -n 9 || { say "waiting for another local-kubernetes process that is working on $1"; flock 9; }
}
