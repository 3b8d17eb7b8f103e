# The parts to build and how.  This file counts as a source of each: a change here builds all of them anew.
PARTS='kubernetes coredns storage pods helm'
HELM_VERSION=v4.2.3                  # src/go.mod has the same

# packages_of PART: prints the Go packages of its programs; the last component of a package is the name of the program.
packages_of() {
  local csi=github.com/kubernetes-csi
  case $1 in
    kubernetes|coredns) echo "./$1" ;;
    storage) echo ./storage/local-{csi,netpol} \
      $csi/external-{attacher/v4/cmd/csi-attacher,provisioner/v6/cmd/csi-provisioner,resizer/v2/cmd/csi-resizer} ;;
    pods) echo ./pods/{pause,probe} ;;
    helm) echo helm.sh/helm/v4/cmd/helm ;;
  esac
}

# finish PART DIR: adds to the programs of the part in DIR what is not compiled.
finish() {
  local name
  case $1 in
    kubernetes)
      for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubeadm kubectl; do ln -s kubernetes "$2/$name"; done ;;
    pods)
      for name in pause probe; do "$HERE/../image/pack" "localhost/$name:1" "$2/$name.tar" "$2/$name" >/dev/null; done ;;
  esac
}

# compile OUT PART...: static, without paths of this machine, exactly the modules of go.sum.  One command for all parts:
# while it links one program it compiles the next.
compile() {
  local out=$1 part packages=() v=k8s.io/component-base/version minor=${VERSION#v1.}
  shift
  for part in "$@"; do
    # shellcheck disable=SC2207
    packages+=($(packages_of "$part"))
  done
  (cd "$HERE/src" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -buildvcs=false -o "$out/" \
    -ldflags "-s -w -X $v.gitVersion=$VERSION -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*} -X $v.gitTreeState=clean
      -X k8s.io/client-go/pkg/version.gitVersion=$VERSION -X helm.sh/helm/v4/internal/version.version=$HELM_VERSION" "${packages[@]}") \
    || fail "$* cannot be built." "If modules cannot be fetched, see 'go env GOPROXY'; the first build takes about 6 GB of disk."
}
