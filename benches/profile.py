#!/usr/bin/env python3
"""What an event costs, counted: CPU by thread and function, system calls, context switches, allocations, pages.

    python3 benches/profile.py [--systems switchhook,floor] [--rates 200,2000,7500] [--seconds 10] [--top 12]

Each figure comes from a run of its own (`cargo bench --bench path -- --only SYSTEM`), so that no tool disturbs another's.
It needs Linux, perf, strace and cc. What the tools write stays in target/profile.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import struct
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "target/profile"

# Events that the benchmark offers before those that it is asked for.
WARM_UP = 400


def program():
    """The benchmark, built."""
    command = ["cargo", "bench", "--bench", "path", "--no-run", "--locked", "--message-format=json"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = (json.loads(line) for line in output.splitlines())
    built = (message.get("executable") for message in messages if message.get("target", {}).get("name") == "path")
    return next(path for path in built if path)


class Load:
    """One run of a system; its process is `pid`."""

    def __init__(self, bench, system, rate, seconds, more_environment=()):
        command = [bench, "--bench", "--only", system, "--rates", str(rate), "--seconds", str(seconds)]
        environment = {**os.environ, **dict(more_environment)}
        self.bench = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        self.pid = int(self.bench.stdout.readline().split()[-1])
        self.events = WARM_UP + rate * seconds

    def end(self):
        """Waits for the end; the line with rate and CPU."""
        line = self.bench.stdout.read().strip()
        self.bench.wait()
        return line

    def under(self, *tool):
        """The same while a tool is attached; what became of the load."""
        with subprocess.Popen([*tool, "-p", str(self.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            return self.end()


def switches(load):
    """Context switches while the load runs: of threads that wait for something, and of those that must make room."""
    counts = {}
    while load.bench.poll() is None:
        for status in pathlib.Path(f"/proc/{load.pid}/task").glob("*/status"):
            try:
                text = status.read_text()
            except OSError:
                continue
            counts[status.parent.name] = [int(n) for n in re.findall(r"voluntary_ctxt_switches:\s+(\d+)", text)]
        time.sleep(0.05)
    line = load.end()
    return [sum(of_thread[kind] for of_thread in counts.values()) for kind in (0, 1)], line


def allocations(bench, system, rate, seconds):
    """Allocations, bytes asked for, frees, copies, bytes copied."""
    library, stem = FOLDER / "allocations.so", FOLDER / "allocations"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, ROOT / "benches/allocations.c"], check=True)
    load = Load(bench, system, rate, seconds, {"LD_PRELOAD": str(library), "ALLOCATIONS": str(stem)}.items())
    counts = pathlib.Path(f"{stem}.{load.pid}")
    before = struct.unpack("5Q", counts.read_bytes())
    load.end()
    after = struct.unpack("5Q", counts.read_bytes())
    return [(one - other) / load.events for one, other in zip(after, before)]


def system_calls(load):
    """How often each system call is made, and what became of the load."""
    output = FOLDER / "calls"
    line = load.under("strace", "-f", "-c", "-U", "calls,name", "-o", output)
    rows = (row.split() for row in output.read_text().splitlines())
    calls = {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit()}
    calls.pop("total", None)
    return calls, line


def writes(load):
    """Pages and bytes written to each kind of file, and syncs."""
    output = FOLDER / "writes"
    traced = "trace=pwrite64,write,writev,fsync,fdatasync"
    load.under("strace", "-f", "-y", "-s", "0", "-e", traced, "-o", output)
    counts = collections.Counter()
    for row in output.read_text().splitlines():
        name, path = (re.findall(r"(\w+)\(\d+<([^>]*)>", row) or [(None, "")])[0]
        if name in ("fsync", "fdatasync"):
            counts["syncs"] += 1
        elif name == "pwrite64" and path.endswith(("-wal", ".db")):
            place = "log" if path.endswith("-wal") else "database"
            size = int(re.findall(r", (\d+), \d+", row)[0])
            counts[f"pages to the {place}"] += size == 4096
            counts[f"bytes to the {place}"] += size
    return counts


def profile(load, top):
    """CPU by thread, by what the function belongs to, and by function, in percent."""
    data = FOLDER / "perf.data"
    load.under("perf", "record", "-e", "cpu-clock", "-F", "1999", "-o", data)
    threads, groups, functions = collections.Counter(), collections.Counter(), collections.Counter()
    command = ["perf", "report", "-i", data, "--stdio", "--no-children", "-F", "overhead,comm,dso,sym", "-t", ";"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    for row in output.splitlines():
        cells = [cell.strip() for cell in row.split(";", 3)]
        if len(cells) < 4 or not cells[0].endswith("%"):
            continue
        share, function = float(cells[0][:-1]), cells[3]
        threads[cells[1]] += share
        groups[group(cells[2], function)] += share
        functions[re.sub(r"::h[0-9a-f]{16}$", "", function.split("] ", 1)[-1])] += share
    return threads.most_common(6), groups.most_common(), functions.most_common(top)


def group(library, function):
    """What a function belongs to; a function that was merged into its caller counts as that."""
    if function.startswith("[k]"):
        return "kernel"
    if "libc" in library or "vdso" in library:
        return "libc"
    name = function.split("] ", 1)[-1]
    if "aws_lc" in name:
        return "aws_lc"
    if "::" not in name:
        return "SQLite"
    return re.findall(r"[a-z_0-9]+(?=::)", name)[0]


def table(head, rows):
    """A Markdown table."""
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
    print(flush=True)


def measure(bench, system, rate, seconds, top):
    print(f"## {system}, {rate}/s\n", flush=True)
    load = Load(bench, system, rate, seconds)
    (waits, preempted), line = switches(load)
    rows = [["waits that ended (wake-ups)", f"{waits / load.events:.2f}"]]
    rows += [["other context switches", f"{preempted / load.events:.2f}"]]
    names = ["allocations", "bytes asked for", "frees", "copies (`memcpy`, `memmove`)", "bytes copied"]
    rows += [[name, f"{count:.0f}"] for name, count in zip(names, allocations(bench, system, rate, seconds))]
    load = Load(bench, system, rate, seconds)
    rows += [[name, f"{count / load.events:.2f}"] for name, count in sorted(writes(load).items())]
    load = Load(bench, system, rate, seconds)
    calls, under = system_calls(load)
    rows += [["system calls", f"{sum(calls.values()) / load.events:.2f}"]]
    often = sorted(calls.items(), key=lambda call: -call[1])
    rows += [[f"… `{name}`", f"{count / load.events:.2f}"] for name, count in often[:top]]
    print(f"{line}; under strace {under}\n")
    table(["per event", ""], rows)
    threads, groups, functions = profile(Load(bench, system, rate, seconds), top)
    for head, shares in [("thread", threads), ("part", groups), ("function", functions)]:
        table([head, "% of CPU"], [[f"`{name}`", f"{share:.1f}"] for name, share in shares if share >= 0.5])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="switchhook,floor")
    parser.add_argument("--rates", default="200,2000,7500")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--top", type=int, default=12)
    parser.add_argument("--bench", help="the benchmark's program, if it is built")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    bench = arguments.bench or program()
    for system in arguments.systems.split(","):
        for rate in arguments.rates.split(","):
            measure(bench, system, int(rate), arguments.seconds, arguments.top)


if __name__ == "__main__":
    main()
