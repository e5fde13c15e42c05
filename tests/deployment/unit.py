"""The unit: checked by systemd's own verifiers, and its command is run with what it permits.

Here systemd is not process 1. So its mounts, user, limits and umask are set up by bubblewrap, and of its system call
filter, address families and memory rule it is shown that the router never asks for what they forbid.
"""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

from box import DEVICES, Box
from story import HOOKS, SETTINGS, same, story

# Who the user `switchhook` is in the box.
USER = 991
# systemd-analyze's figure for the unit, times ten. 0: nothing is exposed; 100: everything.
MOST_EXPOSED = 12
# What of /proc is asked for beside processes, and may be missing: glibc looks whether freed memory may be given back.
OPTIONAL = {"/proc/sys/vm/overcommit_memory"}
# What else of /etc the router reads.
ETC = ["ssl", "hosts", "resolv.conf", "nsswitch.conf", "ld.so.cache", "ca-certificates"]


def settings(text):
    """The settings of a unit: all values of each."""
    said = defaultdict(list)
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            said[name].append(value)
    return said


def verify(unit, binary, folder):
    """Has systemd read the unit, with a binary that is there."""
    text = Path(unit).read_text()
    copy = folder / Path(unit).name
    copy.write_text(text.replace("ExecStart=/usr/local/bin/switchhook", f"ExecStart={binary}"))
    read = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    same("systemd-analyze verify", (read.returncode, read.stdout + read.stderr), (0, ""))
    rate = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}", copy]
    rated = subprocess.run(rate, capture_output=True, text=True, check=False)
    same(f"systemd-analyze security\n{rated.stdout}", rated.returncode, 0)
    return rated.stdout.strip().splitlines()[-1].removeprefix("→ ")


def trial(unit, binary, folder):
    """Runs ExecStart= as an ordinary user, with the unit's environment, mounts and limits, and watches what it asks for."""
    said = settings(Path(unit).read_text())
    data, etc = folder / "data", folder / "etc"
    data.mkdir(parents=True, mode=int(said["StateDirectoryMode"][0], 8))
    etc.mkdir()
    (etc / "hooks.yaml").write_text(HOOKS)
    (etc / "keys.yaml").write_text(f"{SETTINGS['LIVEKIT_API_KEY']}: {SETTINGS['LIVEKIT_API_SECRET']}\n")
    (folder / "trace").mkdir()
    system = [word for name in ETC for word in ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")]
    view = ["--ro-bind", "/", "/", "--tmpfs", "/etc", *system, "--ro-bind", etc, "/etc/switchhook",
            "--tmpfs", "/usr/local", "--ro-bind", binary, "/usr/local/bin/switchhook",
            "--tmpfs", "/var", "--bind", data, "/var/lib/switchhook",
            "--tmpfs", "/home", "--tmpfs", "/root", "--tmpfs", "/run", "--tmpfs", "/tmp", "--proc", "/proc", *DEVICES,
            "--bind", folder / "trace", "/run/trace"]
    read_only = [word for place in ("/etc", "/usr/local", "/var", "/home", "/root", "/run") for word in ("--remount-ro", place)]
    environment = {"PATH": "/usr/bin:/bin"} | dict(pair.split("=", 1) for pair in said["Environment"]) | SETTINGS
    serve = said["ExecStart"][0].split()
    trace = ["/usr/bin/strace", "-f", "-qq", "-o", "/run/trace/calls"]
    files, umask = int(said["LimitNOFILE"][0]), int(said["UMask"][0], 8)
    with Box(map(str, view + read_only), USER, environment, folder, umask=umask, files=files) as box:
        story(box, [*trace, *serve], [serve[0], "health"], USER)
    permitted(said, (folder / "trace/calls").read_text())


def permitted(said, trace):
    """Whatever the router asked the kernel for, the unit permits."""
    calls = set(re.findall(r"^\d+ +(\w+)\(", trace, re.M))
    same("system calls that the filter forbids", sorted(calls - allowed(said["SystemCallFilter"])), [])
    families = set(re.findall(r" socket\((AF_\w+)", trace))
    same("address families", sorted(families - set(said["RestrictAddressFamilies"][0].split())), [])
    writable = [line for line in trace.splitlines() if "PROT_WRITE" in line and "PROT_EXEC" in line]
    same("memory that is written and executed", writable, [])
    # ProcSubset=pid: what is not about processes cannot be seen.
    outside = set(re.findall(r'openat\([^,]+, "(/proc/[^"]*)"', trace)) - OPTIONAL
    same("files of /proc", sorted(path for path in outside if not re.match(r"/proc/(self|\d+)/", path)), [])


def allowed(filters):
    """The system calls that SystemCallFilter= permits: groups are added, and with ~ taken away."""
    calls = set()
    for text in filters:
        named = set().union(*(expand(name) for name in text.removeprefix("~").split()))
        calls = calls - named if text.startswith("~") else calls | named
    return calls


def expand(name):
    """The system calls of a group, such as @system-service."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    names = [line.strip() for line in listed.stdout.splitlines() if line.startswith("    ")]
    return set().union(*(expand(name) for name in names if not name.startswith("#")))
