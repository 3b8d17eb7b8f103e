# build: Kubernetes and its helpers from Go modules.  What was built from the same sources with the same Go stays; any change
# of a source gets a folder of its own, so that a running cluster keeps its binaries.

PARTS='kubernetes coredns storage pods helm'
HELM_VERSION=v4.3.1                  # src/helm/go.mod has the same
UNUSED_DAYS=14                       # builds that no 'up' has used for so long are removed

need_go() {
  command -v go >/dev/null || fail "Go is not installed; Debian 12's golang (1.19) is too old." \
    "Get Go 1.26 or newer for $(uname -m) from https://go.dev/dl, unpack it in /usr/local and add /usr/local/go/bin to PATH."
  local minor; minor=$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')
  [ "$minor" -ge 26 ] || fail "Go is $(go env GOVERSION); 1.26 or newer is needed." "Get it from https://go.dev/dl."
}

# part_dir PART: where PART is, or will be, by the hash of all that it depends on.
part_dir() {
  local sources=("$HERE/src/$1" "$HERE/lib/build.sh")
  [ "$1" != pods ] || sources+=("$HERE/../image/archive.py" "$HERE/../image/pack" "$HERE/../image/libraries.py")
  local hash
  hash=$( { echo "$VERSION $GO_IS"; find "${sources[@]}" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 cat; } | sha256sum | cut -c1-12)
  echo "$BUILT/$1-$hash"
}
# Without Go what was built with it before still counts, so a machine can be handed the binaries alone.
go_version() { GO_IS=$(go env GOVERSION GOARCH 2>/dev/null | xargs || true); }

build_kubernetes() {
  local v=k8s.io/component-base/version
  compile kubernetes "$1/kubernetes" "-X $v.gitVersion=$VERSION -X $v.gitMajor=1 -X $v.gitMinor=35 -X $v.gitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion=$VERSION" .
  local name
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubeadm kubectl; do ln -s kubernetes "$1/$name"; done
}
build_coredns() { compile coredns "$1/coredns" "" .; }
build_storage() { compile storage "$1/" "" tool ./local-csi ./local-netpol; }
build_helm() { compile helm "$1/" "-X helm.sh/helm/v4/internal/version.version=$HELM_VERSION" tool; }
build_pods() {
  compile pods "$1/" "" ./pause ./probe
  local name
  for name in pause probe; do "$HERE/../image/pack" "localhost/$name:1" "$1/$name.tar" "$1/$name" >/dev/null; done
}

# compile PART OUT LDFLAGS PACKAGE...: static, without paths of this machine, exactly the modules of go.sum.
compile() {
  local part=$1 out=$2 flags=$3; shift 3
  (cd "$HERE/src/$part" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -buildvcs=false -ldflags "-s -w $flags" -o "$out" "$@") \
    || fail "$part cannot be built." "If modules cannot be fetched, see 'go env GOPROXY'; a full disk needs about 10 GB."
}

build() {
  need_go
  go_version
  lock build
  local part dir
  for part in ${*:-$PARTS}; do
    [[ " $PARTS " == *" $part "* ]] || misused "there is no part $part to build; there is: $PARTS."
    dir=$(part_dir "$part")
    if [ -d "$dir" ]; then touch "$dir"; continue; fi
    say "building $part"
    rm -rf "$dir.new"; mkdir -p "$dir.new"
    "build_$part" "$dir.new"
    mv "$dir.new" "$dir"
    say "built $part ($(du -sh --apparent-size "$dir" | cut -f1))"
  done
  find "$BUILT" -mindepth 1 -maxdepth 1 -mtime +"$UNUSED_DAYS" -exec rm -rf {} +
  say "all built, in $BUILT"
}

need_built() {
  go_version
  local part missing=()
  for part in $PARTS; do [ -d "$(part_dir "$part")" ] || missing+=("$part"); done
  if [ ${#missing[@]} != 0 ] && [ -n "${BUILD:-}" ]; then (build); missing=(); fi
  [ ${#missing[@]} = 0 ] || fail "not built yet, or changed since: ${missing[*]}." "Run 'local-kubernetes build' (about 10 minutes on 2 cores the first time), or 'up --build'."
}

# link_built: the cluster's own bin folder, file by file, each replaced at once.
link_built() {
  local part dir file
  mkdir -p "$BIN"
  for part in $PARTS; do
    dir=$(part_dir "$part")
    touch "$dir"
    for file in "$dir"/*; do ln -sfn "$file" "$BIN/.new"; mv -T "$BIN/.new" "$BIN/$(basename "$file")"; done
  done
}
