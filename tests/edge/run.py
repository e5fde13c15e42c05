"""Proves examples/kamailio on the wire: whole calls by SIPp, bytes SIPp cannot send, and nodes that fail.

Usage: run.py SWITCHHOOK [GROUP...]

Everything is on loopback, on free ports. Each X-To-IP that arrived is read by SWITCHHOOK as well.
"""

import os
import pathlib
import signal
import sys
import tempfile
import threading
import time

import calls
import domains
import edge
import judge
import flows
import nodes
import raw
import settings

SECONDS = 90
GROUPS = {
    "call": calls.run,
    "bytes": raw.run,
    "flow": flows.run,
    "setting": settings.run,
    "node": nodes.run,
    "router": domains.run,
}


def main():
    program, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:] or list(GROUPS)
    # Whatever hangs: the run ends, and says so.
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"not done after {SECONDS} s"))
    signal.alarm(SECONDS)
    since, report = time.monotonic(), judge.Report()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            together(wanted, report, folder, program)
            domains.reads_all(report, program, folder)
        finally:
            for process in edge.started:
                process.terminate()
    print(f"\n{report.passed} cases passed, {len(report.failed)} failed, {time.monotonic() - since:.1f} s", flush=True)
    if report.failed:
        sys.exit("failed: " + ", ".join(report.failed))


def together(wanted, report, folder, program):
    """Runs the groups at the same time: most of each is waiting."""
    threads = []
    for name in wanted:
        room = pathlib.Path(folder, name)
        room.mkdir()
        threads.append(threading.Thread(target=group, args=(name, report, room, program), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def group(name, report, room, program):
    try:
        GROUPS[name](report, room, program)
    except Exception as error:
        problem = repr(error)
        report.case(name, "setting-up", "nothing of this group is proved", lambda: judge.expect(False, problem))


main()
