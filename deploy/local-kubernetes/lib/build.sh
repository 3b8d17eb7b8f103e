# build: Kubernetes and its helpers from Go modules.  What was built from the same sources stays; any change
# of a source gets a folder of its own, so that a running cluster keeps its binaries.  Which Go built it does not count:
# sudo hides Go from 'up'.

KEPT_DAYS=1                          # how long a build that no cluster uses stays, for changes back and forth

need_go() {
  command -v go >/dev/null || fail "Go is not installed; Debian 12's golang (1.19) is too old." \
    "Get Go 1.26 or newer for $(uname -m) from https://go.dev/dl, unpack it in /usr/local and add /usr/local/go/bin to PATH."
  local minor; minor=$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')
  [ "$minor" -ge 26 ] || fail "Go is $(go env GOVERSION); 1.26 or newer is needed." "Get it from https://go.dev/dl."
}

# part_dir PART: where PART is, or will be, by the hash of all that it depends on.
part_dir() {
  local sources=("$HERE/src/$1" "$HERE/lib/parts.sh")
  [ "$1" != pods ] || sources+=("$HERE/../image/archive.py" "$HERE/../image/pack" "$HERE/../image/libraries.py")
  local hash
  hash=$( { echo "$VERSION $(uname -m)"; find "${sources[@]}" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 cat; } | sha256sum | cut -c1-12)
  echo "$BUILT/$1-$hash"
}

build() {
  lock build
  rm -rf "$BUILT"/*.new
  local part dir
  for part in ${*:-$PARTS}; do
    [[ " $PARTS " == *" $part "* ]] || misused "there is no part $part to build; there is: $PARTS."
    dir=$(part_dir "$part")
    if [ -d "$dir" ]; then touch "$dir"; continue; fi
    need_go
    say "building $part"
    rm -rf "$dir.new"; mkdir -p "$dir.new"
    "build_$part" "$dir.new"
    mv "$dir.new" "$dir"
    say "built $part ($(du -sh --apparent-size "$dir" | cut -f1))"
  done
  [ $# -gt 0 ] || link_built "$HOME_DIR/bin"
  remove_old
  say "all built, in $BUILT"
}

remove_old() {
  local dir used
  # No cluster, no match: `find` says so by its exit code, which is no failure here.
  used=$({ find "$HOME_DIR"/bin "$HOME_DIR"/clusters/*/bin -type l -printf '%l\n' 2>/dev/null || true; } | xargs -r dirname | sort -u)
  for dir in $(find "$BUILT" -mindepth 1 -maxdepth 1 -mmin +$((KEPT_DAYS * 1440))); do
    grep -qxF "$dir" <<<"$used" || rm -rf "$dir"
  done
}

need_built() {
  local part missing=()
  for part in $PARTS; do [ -d "$(part_dir "$part")" ] || missing+=("$part"); done
  if [ ${#missing[@]} != 0 ] && [ -n "${BUILD:-}" ]; then (build); missing=(); fi
  [ ${#missing[@]} = 0 ] || fail "not built yet, or changed since: ${missing[*]}." "Run 'local-kubernetes build' (about 10 minutes on 2 cores the first time), or 'up --build'."
}

# link_built FOLDER: file by file, each replaced at once.
link_built() {
  local part dir file
  mkdir -p "$1"
  for part in $PARTS; do
    dir=$(part_dir "$part")
    touch -c "$dir"
    for file in "$dir"/*; do ln -sfn "$file" "$1/.new"; mv -T "$1/.new" "$1/$(basename "$file")"; done
  done
}
