# Images: docker-archives on this machine, imported into each node; there is no registry.

# import N TAR...: into one node's containerd, as soon as that answers.
import() {
  local i=$1 tar; shift
  await 30 "containerd of node$i" "$DIR/logs/node$i-containerd.log" node_ctr "$i" version
  for tar in "$@"; do
    node_ctr "$i" images import "$tar" >>"$DIR/logs/images.log" 2>&1 || fail "$tar cannot be imported into node$i." "See the end of $DIR/logs/images.log."
  done
}

# cluster_images: what every node of this cluster must have.
cluster_images() {
  local tar
  for tar in "$BIN"/*.tar "$DIR"/images/*.tar; do [ ! -e "$tar" ] || echo "$tar"; done
}

# running_nodes: the numbers of those that run.
running_nodes() { local i; for i in $(seq "$NODES"); do ! alive "node$i" || echo "$i"; done; }

# on_each_node FUNCTION ARGS...: at once; fails if one does.
on_each_node() {
  local i jobs=() job bad=0
  for i in $(running_nodes); do "$1" "$i" "${@:2}" & jobs+=($!); done
  for job in "${jobs[@]}"; do wait "$job" || bad=1; done
  return $bad
}

# load TAR...: a copy stays with the cluster, for nodes that are started or added later.
load() {
  local tar copies=()
  for tar in "$@"; do
    [ -r "$tar" ] || fail "there is no image archive $tar." "Make one with deploy/image/build."
    tar -tf "$tar" manifest.json >/dev/null 2>&1 || fail "$tar is no docker-archive: it has no manifest.json." "Make one with deploy/image/build."
    cp --reflink=auto "$tar" "$DIR/images/.new"
    mv "$DIR/images/.new" "$DIR/images/$(basename "$tar")"
    copies+=("$DIR/images/$(basename "$tar")")
  done
  on_each_node import "${copies[@]}" || exit 1
  for tar in "$@"; do
    say "loaded $(tar -xOf "$tar" manifest.json | grep -o '"RepoTags": *\[[^]]*' | grep -o '[^"[]*:[^":]*$' | tr -d '"') into nodes $(running_nodes | xargs)"
  done
}
