"""A box: a command in namespaces of its own, as a container engine or systemd would run it (bubblewrap)."""

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

# Pseudo devices. Not bubblewrap's own --dev: for an ordinary user that nests namespaces, which nobody could enter then.
DEVICES = ["--tmpfs", "/dev", *(word for name in ("null", "zero", "full", "random", "urandom")
                                for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}"))]
PATIENCE = 30  # seconds in which whatever should happen happens


def until(what, done):
    """Waits until `done()` is true, and returns it."""
    began = time.monotonic()
    while not (result := done()):
        if time.monotonic() - began > PATIENCE:
            raise SystemExit(f"within {PATIENCE} s it is not so that {what}")
        time.sleep(0.02)
    return result


class Box:
    """What a command sees: `view` (mounts, as bubblewrap's arguments), user, environment, limits."""

    def __init__(self, view, user, environment, folder, *, pid_one=False, umask=0o022, files=None):
        self.environment, self.folder, self.umask, self.files = environment, folder, umask, files
        # Whatever happens here, nothing of a box outlives it: its processes end with the first one of theirs.
        apart = ["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
        as_first = ["--as-pid-1"] if pid_one else []
        ids = ["--uid", str(user), "--gid", str(user), "--cap-drop", "ALL"]
        self.bwrap = ["bwrap", *apart, *as_first, *ids, *view]
        self.process = self.pid = None
        self.entered = []

    def _prepare(self):
        os.umask(self.umask)
        if self.files:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            most = self.files if hard == resource.RLIM_INFINITY else min(self.files, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def run(self, command):
        """Runs a command in a box where nothing else runs."""
        done = subprocess.run([*self.bwrap, "--", *command], env=self.environment, preexec_fn=self._prepare,
                              capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout + done.stderr

    def start(self, command):
        """Starts the command that the box is for; its output goes to `log`."""
        told, telling = os.pipe()
        self.log = Path(self.folder, "log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen([*self.bwrap, "--info-fd", str(telling), "--", *command],
                                            env=self.environment, preexec_fn=self._prepare, pass_fds=[telling],
                                            stdout=log, stderr=log)
        os.close(telling)
        with os.fdopen(told) as info:
            self.pid = json.load(info)["child-pid"]

    def enter(self, command, environment=None):
        """Starts another command beside it, as `docker exec` does."""
        enter = ["nsenter", "--preserve-credentials", "-t", str(self.pid), "-U", "-m", "-n", "--"]
        entered = subprocess.Popen([*enter, *command], env=environment or self.environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        self.entered.append(entered)
        return entered

    def beside(self, command):
        """The same, to its end: exit code and output."""
        running = self.enter(command)
        output, _ = running.communicate(timeout=PATIENCE)
        return running.returncode, output

    def about(self, name):
        """A file of /proc about the command."""
        return Path(f"/proc/{self.served()}/{name}").read_text()

    def served(self):
        """The command itself, below bubblewrap and a tracer."""
        pid = self.pid
        while Path(f"/proc/{pid}/comm").read_text().strip() in ("bwrap", "strace"):
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return pid

    def stop(self):
        """Asks the command to end, as engines and systemd do; its exit code."""
        os.kill(self.served(), signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in [*self.entered, *filter(None, [self.process])]:
            if process.poll() is None:
                process.kill()
                process.wait()
