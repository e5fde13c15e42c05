"""What must be so wherever the router runs: not ready, ready, an event delivered, ended in order, not ready."""

import json
import re
import select

from box import PATIENCE, until

BINARY = "/usr/local/bin/switchhook"
EVENT = ["send", "--x-to-ip", "calls.acme.example"]
HOOKS = """hooks:
  - host: calls.acme.example
    tenant: acme
    url: http://127.0.0.1:9101/
"""
TENANT = [BINARY, "listen", "--tenant", "acme", "--json"]
# Settings for a tenant on this machine, and LiveKit's key.
SETTINGS = {
    "LIVEKIT_API_KEY": "APItrial",
    "LIVEKIT_API_SECRET": "a-secret-of-a-trial-on-loopback-0001",
    "SWITCHHOOK_ALLOW_NETWORK": "127.0.0.0/8",
    "SWITCHHOOK_ALLOW_HTTP": "true",
}


def same(what, found, expected):
    if found != expected:
        raise SystemExit(f"{what}: {found!r}, not {expected!r}")


def confined(box, user):
    """The command has this user, no privileges, and a root that it cannot write."""
    same("the user", box.about("uid_map").split()[0], str(user))
    status = dict(re.findall(r"^(\w+):\s+(.*)$", box.about("status"), re.M))
    same("no new privileges", status["NoNewPrivs"], "1")
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        same(kind, int(status[kind], 16), 0)
    roots = [line.split() for line in box.about("mountinfo").splitlines() if line.split()[4] == "/"]
    same("the root is mounted", roots[-1][5].split(",")[0], "ro")


def story(box, serve, health, user, tenant=TENANT, of_tenant=None):
    """Tells it; `serve` and `health` are the commands as they are written down, `tenant` and `of_tenant` what receives
    and its environment."""
    code, told = box.run(health)
    same(f"health before the start ({told.strip()})", code, 1)
    box.start(serve)
    until(f"the router is healthy; its log: {box.log}", lambda: ended(box) or box.beside(health)[0] == 0)
    same("the router has ended", ended(box), False)
    confined(box, user)

    tenant = box.enter(tenant, of_tenant)
    code, told = box.beside([BINARY, *EVENT])
    same(f"an event is acknowledged ({told.strip()})", code, 0)
    if not select.select([tenant.stdout], [], [], PATIENCE)[0]:
        raise SystemExit(f"the event does not arrive; the router's log: {box.log}")
    received = json.loads(tenant.stdout.readline())
    same("what arrives", (received["event"], received["signature"], received["answer"]),
         ("participant_joined", "verified", 200))
    tenant.terminate()
    tenant.wait(timeout=PATIENCE)

    same("exit code after SIGTERM", box.stop(), 0)
    same("its last words", json.loads(box.log.read_text().splitlines()[-1])["msg"], "stopped")
    code, told = box.run(health)
    same(f"health after the end ({told.strip()})", code, 1)


def ended(box):
    return box.process.poll() is not None
