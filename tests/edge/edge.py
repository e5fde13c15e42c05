"""A Kamailio with the example configuration, on free ports of loopback, with lists and a folder of its own."""

import pathlib
import re
import socket
import subprocess

from judge import Failed, until

CONFIG = pathlib.Path(__file__).resolve().parents[2] / "examples" / "kamailio" / "kamailio.cfg"
KAMAILIO = "/usr/sbin/kamailio"
KAMCMD = "/usr/sbin/kamcmd"

ADDRESS = "127.0.0.10"
CARRIER = "127.0.0.11"
STRANGER = "127.0.0.66"
LIVEKIT = "127.0.0.20"

started = []  # every process of this run


def free_port(address):
    """A port that is free for UDP and TCP."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(50):
        with socket.socket(family, socket.SOCK_STREAM) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
            tcp.bind((address, 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind((address, port))
            except OSError:
                continue
            return port
    raise Failed(f"no port of {address} is free for UDP and TCP")


def check(environment):
    """`kamailio -c`: the exit status, and what was printed."""
    done = subprocess.run(
        [KAMAILIO, "-c", "-E", "-f", CONFIG],
        env={"PATH": "/usr/sbin:/usr/bin", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout.decode()


class Edge:
    def __init__(self, folder, name, nodes, carriers=(CARRIER,), **environment):
        self.folder = pathlib.Path(folder, name)
        self.folder.mkdir()
        self.address = (ADDRESS, free_port(ADDRESS))
        self.carriers, self.livekit = self.folder / "carriers.list", self.folder / "livekit.list"
        self.list_carriers(carriers)
        self.livekit.write_text("".join(f"1 sip:{node} 0 0\n" for node in nodes))
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin",
            "EDGE_LISTEN": f"{ADDRESS}:{self.address[1]}",
            "EDGE_CARRIERS": str(self.carriers),
            "EDGE_LIVEKIT": str(self.livekit),
            **environment,
        }

    def __enter__(self):
        command = [KAMAILIO, "-DD", "-E", "-f", CONFIG, "-Y", self.folder, "-P", self.folder / "pid", "-m", "64"]
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        started.append(self.process)
        try:
            until(self.answers, 20, f"Kamailio is up; its log: {self.log()[-800:]}")
        except Failed:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"Kamailio has ended: {self.log()[-800:]}")
        return self.command("core.uptime")

    def command(self, *words):
        """What kamcmd printed; empty if it failed."""
        command = [KAMCMD, "-s", f"unix:{self.folder}/kamailio_ctl", *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=False)
        return done.stdout.decode() if done.returncode == 0 else ""

    def list_carriers(self, lines):
        """Each an address, or a line of the list as it stands."""
        whole = (line if " " in line else f"1 {line} {128 if ':' in line else 32} 0 carrier" for line in lines)
        self.carriers.write_text("# group address bits port name\n" + "\n".join(whole) + "\n")

    def reload_carriers(self, addresses):
        """Kamailio reads the list at most every 5 s."""
        self.list_carriers(addresses)
        until(lambda: "Reload OK" in self.command("permissions.addressReload"), 10, "the list is read again")

    def used(self, node):
        """Whether new calls go to the node."""
        match = re.search(rf"URI: sip:{re.escape(node)}\s+FLAGS: (\w)", self.command("dispatcher.list"))
        return bool(match) and match.group(1) == "A"

    def log(self):
        return (self.folder / "log").read_text(errors="replace")
