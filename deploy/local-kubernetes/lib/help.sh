help() {
  cat <<TEXT
local-kubernetes: a real Kubernetes $VERSION with 1 to $MOST_NODES nodes, run as processes of this machine.
It does not affect the machine's network or any other cluster, and one command removes it.

usage: local-kubernetes COMMAND [FLAGS] [ARGUMENTS]

  deps               install the required Debian packages (root)
  build [PART...]    build Kubernetes from Go modules, once; parts: $PARTS
  up                 start the cluster, or those parts of it that are not running, and wait until it is usable (root)
  down               stop the cluster and remove its data (root); --keep-data keeps the data for the next 'up'
  status             show what is running; exit code 0 if everything is, 3 if not
  load IMAGE.tar...  import docker-archives into every node (root)
  env                print shell commands that set KUBECONFIG and PATH (kubectl, helm)
  kubeconfig         print the path of the kubeconfig
  bin                print the directory of kubectl and helm, for use without a cluster
  exec CMD...        run a program of this machine with the cluster's network and DNS: it reaches pods and Services (root)
  forward PORT HOST:PORT   make a Service available at 127.0.0.1:PORT of this machine, until 'down' (root)
  node VERB ...      crash, partition, freeze or enter a node; kill the processes of a pod (root)
  clean              remove every cluster and all binaries (root)

flags:
  --name NAME        name of the cluster (default: \$LOCAL_KUBERNETES_NAME, or "default")
  --nodes N          up: number of nodes, 1 to $MOST_NODES (default: 3, or as before)
  --port PORT        up: port of the API server on 127.0.0.1 (default: the first free port from 6443)
  --proxy-mode MODE  up: kube-proxy with nftables (default) or iptables
  --build            up: first build missing parts
  --keep-data        down: keep the data

nodes:
$(sed 's/^/  /' <<<"$NODE_HELP")

examples:
  local-kubernetes up --build && eval "\$(local-kubernetes env)" && kubectl get nodes
  local-kubernetes up --name two --nodes 1           # a second cluster next to the first
  deploy/image/build --tag dev --out /tmp/images && local-kubernetes load /tmp/images/quorate.tar
  local-kubernetes node crash 2; local-kubernetes node start 2
  local-kubernetes node kill default/chat-0 chatd    # a real kill -9
  local-kubernetes exec curl http://chat.default.svc.cluster.local:8008/_matrix/client/versions
  local-kubernetes forward 8008 web.default:80 && curl http://127.0.0.1:8008/
  local-kubernetes down

All files are in $HOME_DIR. README.md next to this program describes limits and design decisions.
TEXT
}
