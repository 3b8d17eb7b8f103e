# Images are docker-archives on this machine that are imported into each node; there is no registry.

# import N TAR...: imports archives into the containerd of node N, as soon as it answers.
import() {
  local i=$1 tar; shift
  await 30 "containerd of node$i" "$DIR/logs/node$i-containerd.log" node_ctr "$i" version
  for tar in "$@"; do
    # In a shell of its own, which a node that is not running ends with a message in the log.
    (node_ctr "$i" images import "$tar") >>"$DIR/logs/images.log" 2>&1 || fail "cannot import $tar into node$i." "See the end of $DIR/logs/images.log."
  done
}

# cluster_images: prints the archives that every node of this cluster must have.
cluster_images() {
  local tar
  for tar in "$BIN"/*.tar "$DIR"/images/*.tar; do [ ! -e "$tar" ] || echo "$tar"; done
}

# running_nodes: prints the numbers of the running nodes.
running_nodes() { local i; for i in $(seq "$NODES"); do ! alive "node$i" || echo "$i"; done; }

# on_each_node FUNCTION ARGS...: runs FUNCTION on all running nodes in parallel; fails if one of the runs does.
on_each_node() {
  local i jobs=() job bad=0
  for i in $(running_nodes); do "$1" "$i" "${@:2}" & jobs+=($!); done
  for job in "${jobs[@]}"; do wait "$job" || bad=1; done
  return $bad
}

# load TAR...: imports archives; the cluster keeps a copy for nodes that are started or added later.
load() {
  local tar copies=()
  for tar in "$@"; do
    [ -r "$tar" ] || fail "image archive $tar does not exist or is not readable." "Build one with deploy/image/build."
    tar -tf "$tar" manifest.json >/dev/null 2>&1 || fail "$tar is not a docker-archive: it has no manifest.json." "Build one with deploy/image/build."
    cp --reflink=auto "$tar" "$DIR/images/.new"
    mv "$DIR/images/.new" "$DIR/images/$(basename "$tar")"
    copies+=("$DIR/images/$(basename "$tar")")
  done
  on_each_node import "${copies[@]}" || exit 1
  for tar in "$@"; do
    say "loaded $(tar -xOf "$tar" manifest.json | grep -o '"RepoTags": *\[[^]]*' | grep -o '[^"[]*:[^":]*$' | tr -d '"') into nodes $(running_nodes | xargs)"
  done
}
