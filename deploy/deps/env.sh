# Sourced by the Makefile's recipes: location of the caches, and the RocksDB library to link.
# Caches live outside the tree, so that a clean clone builds quickly.
QUORATE_CACHE=${QUORATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/quorate}
export QUORATE_CACHE
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$QUORATE_CACHE/target}
export PATH=$QUORATE_CACHE/bin:$PATH
# bindgen loads libclang at build time; Debian installs it outside the loader's search path.
if [ -z "${LIBCLANG_PATH:-}" ] && [ -d /usr/lib/llvm-14/lib ]; then export LIBCLANG_PATH=/usr/lib/llvm-14/lib; fi
# Written by deploy/deps/rocksdb; compiling its C++ takes minutes, once.
if [ -r "$QUORATE_CACHE/rocksdb/current" ]; then
  ROCKSDB_LIB_DIR=$QUORATE_CACHE/rocksdb/$(cat "$QUORATE_CACHE/rocksdb/current")
  export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
fi
