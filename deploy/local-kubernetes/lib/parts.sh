# The parts to build and how.  This file counts as a source of each: a change here builds all of them anew.
PARTS='kubernetes coredns storage pods helm'
HELM_VERSION=v4.3.1                  # src/helm/go.mod has the same

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
