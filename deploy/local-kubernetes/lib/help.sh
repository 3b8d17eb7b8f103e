help() {
  cat <<TEXT
local-kubernetes: a real Kubernetes $VERSION with 1 to $MOST_NODES nodes as processes of this machine.
It touches neither the machine's network nor any other cluster, and one command removes it.

usage: local-kubernetes COMMAND [FLAGS] [ARGUMENTS]

  deps               install the Debian packages it needs (root)
  build [PART...]    build Kubernetes from Go modules, once; parts: $PARTS
  up                 start the cluster, or what of it does not run, and wait until it can be used (root)
  down               end all of it and remove its data (root); --keep-data keeps it for the next 'up'
  status             what runs; exit code 0 if all does, 3 if not
  load IMAGE.tar...  import docker-archives into every node (root)
  env                shell lines that set KUBECONFIG and PATH (kubectl, helm)
  kubeconfig         the path of the kubeconfig
  bin                the folder with kubectl and helm, for use without a cluster
  exec CMD...        run a program of this machine with the cluster's network and DNS: it reaches pods and Services (root)
  forward PORT HOST:PORT   a Service at 127.0.0.1:PORT of this machine, until 'down' (root)
  node VERB ...      crash, cut off, freeze, enter a node; kill a pod's process (root)
  clean              remove every cluster and all binaries (root)

flags:
  --name NAME        which cluster (default; or the variable LOCAL_KUBERNETES_NAME)
  --nodes N          up: number of nodes, 1 to $MOST_NODES (3, or as before)
  --port PORT        up: where the API server is reached on 127.0.0.1 (6443 or the next that is free)
  --proxy-mode MODE  up: kube-proxy with nftables (default) or iptables
  --build            up: build first what is not built
  --keep-data        down: only stop

nodes:
$(sed 's/^/  /' <<<"$NODE_HELP")

examples:
  local-kubernetes up --build && eval "\$(local-kubernetes env)" && kubectl get nodes
  local-kubernetes up --name two --nodes 1           # a second cluster beside the first
  deploy/image/build --tag dev --out /tmp/images && local-kubernetes load /tmp/images/quorate.tar
  local-kubernetes node crash 2; local-kubernetes node start 2
  local-kubernetes node kill default/chat-0 chatd    # a real kill -9
  local-kubernetes exec curl http://chat.default.svc.cluster.local:8008/_matrix/client/versions
  local-kubernetes forward 8008 web.default:80 && curl http://127.0.0.1:8008/
  local-kubernetes down

Files are in $HOME_DIR. README.md beside this program has limits and reasons.
TEXT
}
