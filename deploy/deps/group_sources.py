"""usage: group_sources.py METADATA CRATE

Copies the crate librocksdb-sys, as METADATA (the output of cargo metadata) names it, to the directory CRATE, and puts
RocksDB's sources there together into fewer files.
"""

import json
import shutil
import sys
from pathlib import Path

# Bytes of sources in a group, its headers not counted: every group parses these once more, and with still fewer groups one core
# would have nothing to do at the end.
GROUP_BYTES = 500_000
# The crate has a file of its own in its place.
LEFT_OUT = {"util/build_version.cc"}


def copy_crate(metadata, to):
    packages = json.loads(metadata.read_text())["packages"]
    [manifest] = [package["manifest_path"] for package in packages if package["name"] == "librocksdb-sys"]
    shutil.copytree(Path(manifest).parent, to)


def group_sources(crate):
    listed = crate / "rocksdb_lib_sources.txt"
    names = [name for line in listed.read_text().splitlines() if (name := line.strip()) and name not in LEFT_OUT]
    groups, size = [], GROUP_BYTES
    for name in names:
        if size >= GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += (crate / "rocksdb" / name).stat().st_size
    grouped = []
    for number, members in enumerate(groups):
        grouped.append(f"group-{number}.cc")
        (crate / "rocksdb" / grouped[-1]).write_text("".join(f'#include "{name}"\n' for name in members))
    listed.write_text("\n".join(grouped) + "\n")
    print(f"{len(names)} source files in {len(groups)} groups")


def main():
    match sys.argv[1:]:
        case [metadata, crate]:
            copy_crate(Path(metadata), Path(crate))
            group_sources(Path(crate))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
