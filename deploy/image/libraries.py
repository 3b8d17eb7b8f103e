"""Which shared libraries a program needs, and where its image must have them."""
import re
import subprocess
import sys


def libraries(program):
    """Absolute paths as the dynamic loader looks them up; none for a static program.

    `ldd` runs the program's own loader, so what it names is what would be loaded here: build the image on the
    distribution the program was linked on.
    """
    done = subprocess.run(["ldd", program], capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
    text = done.stdout + done.stderr
    if "not a dynamic executable" in text or "statically linked" in text:
        return []
    if done.returncode:
        sys.exit(f"ldd cannot read {program}: {text.strip()}")
    missing = re.findall(r"(\S+) => not found", text)
    if missing:
        sys.exit(f"{program} needs libraries that are not on this machine: {', '.join(missing)}")
    # "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)" and "/lib64/ld-linux-x86-64.so.2 (0x…)"; linux-vdso has no path.
    return sorted(set(re.findall(r"(?:=> |^\s*)(/\S+) \(0x", text, re.MULTILINE)))
