# build: builds Kubernetes and its helpers from Go modules.  A build of the same sources is reused; any change of a source
# gets a directory of its own, so that a running cluster keeps its binaries.  The Go version is not part of the key, because
# sudo hides Go from 'up'.

KEPT_DAYS=1                          # days for which a build that no cluster uses is kept, for switching back and forth

need_go() {
  command -v go >/dev/null || fail "Go is not installed; Debian 12's golang (1.19) is too old." \
    "Download Go 1.26 or newer for $(uname -m) from https://go.dev/dl, unpack it in /usr/local and add /usr/local/go/bin to PATH."
  local minor; minor=$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')
  [ "$minor" -ge 26 ] || fail "The installed Go is $(go env GOVERSION); 1.26 or newer is required." "Download it from https://go.dev/dl."
}

# part_dir PART: prints the directory of the build of PART, named by the hash of all its sources.
part_dir() {
  local sources=("$HERE/src/go.mod" "$HERE/src/go.sum" "$HERE/lib/parts.sh")
  [ ! -d "$HERE/src/$1" ] || sources+=("$HERE/src/$1")   # the others are built entirely from modules
  [ "$1" != pods ] || sources+=("$HERE/../image/archive.py" "$HERE/../image/pack" "$HERE/../image/libraries.py")
  local hash
  hash=$( { echo "$VERSION $(uname -m)"; find "${sources[@]}" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 cat; } | sha256sum | cut -c1-12)
  echo "$BUILT/$1-$hash"
}

build() {
  lock build
  rm -rf "$BUILT"/*.new
  local part dir
  local -A missing=()                  # directories of the parts to build, by name
  for part in ${*:-$PARTS}; do
    [[ " $PARTS " == *" $part "* ]] || misused "unknown part $part; available parts: $PARTS."
    dir=$(part_dir "$part")
    if [ -d "$dir" ]; then touch "$dir"; else missing[$part]=$dir; fi
  done
  if [ ${#missing[@]} != 0 ]; then
    need_go
    say "building ${!missing[*]}"
    mkdir -p "$BUILT/programs.new"
    compile "$BUILT/programs.new" "${!missing[@]}"
    for part in "${!missing[@]}"; do assemble "$part" "${missing[$part]}"; done
    rmdir "$BUILT/programs.new"
  fi
  [ $# -gt 0 ] || link_built "$HOME_DIR/bin"
  remove_old
  say "all parts are built, in $BUILT"
}

# assemble PART DIR: makes DIR from the compiled programs of the part.
assemble() {
  local package
  mkdir "$2.new"
  for package in $(packages_of "$1"); do mv "$BUILT/programs.new/${package##*/}" "$2.new/"; done
  finish "$1" "$2.new"
  mv "$2.new" "$2"
  say "built $1 ($(du -sh --apparent-size "$2" | cut -f1))"
}

remove_old() {
  local dir used
  # Without a cluster nothing matches: `find` then returns an exit code that is not a failure here.
  used=$({ find "$HOME_DIR"/bin "$HOME_DIR"/clusters/*/bin -type l -printf '%l\n' 2>/dev/null || true; } | xargs -r dirname | sort -u)
  for dir in $(find "$BUILT" -mindepth 1 -maxdepth 1 -mmin +$((KEPT_DAYS * 1440))); do
    grep -qxF "$dir" <<<"$used" || rm -rf "$dir"
  done
}

need_built() {
  local part missing=()
  for part in $PARTS; do [ -d "$(part_dir "$part")" ] || missing+=("$part"); done
  if [ ${#missing[@]} != 0 ] && [ -n "${BUILD:-}" ]; then (build); missing=(); fi
  [ ${#missing[@]} = 0 ] || fail "not built yet, or changed since the last build: ${missing[*]}." "Run 'local-kubernetes build' (about 10 minutes on 2 cores the first time), or 'up --build'."
}

# link_built FOLDER: links the built files into FOLDER, replacing each atomically.
link_built() {
  local part dir file
  mkdir -p "$1"
  for part in $PARTS; do
    dir=$(part_dir "$part")
    touch -c "$dir"
    for file in "$dir"/*; do ln -sfn "$file" "$1/.new"; mv -T "$1/.new" "$1/$(basename "$file")"; done
  done
}
