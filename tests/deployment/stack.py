"""The compose file: read by Docker Compose itself; what it refers to is there; router and tenant are run as it says."""

import json
import re
import subprocess
from pathlib import Path

import image
from story import BINARY, story

FILLED_IN = {
    "LIVEKIT_API_SECRET": "a-secret-of-a-trial-on-loopback-0001",
    "ACME_SECRET": "whsec_dHdlbnR5LWZvdXIgYnl0ZXMgYXQgbGVhc3Q=",
    "PUBLIC_ADDRESS": "127.0.0.1",
}


def check(compose, path, binary):
    """The stack, as Docker Compose reads it."""
    read = [compose, "-f", path, "--env-file", "/dev/null", "config", "--format", "json"]
    filled_in = subprocess.run(read, env=FILLED_IN, capture_output=True, text=True, check=False)
    if filled_in.returncode:
        raise SystemExit(f"{path}: {filled_in.stderr}")
    stack = json.loads(filled_in.stdout)
    hooks = [binary, "check", Path(path).parent / "compose/switchhook/hooks.yaml"]
    subprocess.run(hooks, env=stack["services"]["switchhook"]["environment"], check=True, stdout=subprocess.DEVNULL)
    faults = stack_faults(stack)
    # No secret has a default, and the example names each variable.
    example = Path(path).parent / "compose/env.example"
    same_names = set(re.findall(r"^(\w+)=", example.read_text(), re.M)) == set(FILLED_IN)
    faults += [] if same_names else [f"{example} has other names than {sorted(FILLED_IN)}"]
    for name in FILLED_IN:
        without = {key: value for key, value in FILLED_IN.items() if key != name}
        if subprocess.run(read, env=without, capture_output=True, check=False).returncode == 0:
            faults.append(f"it starts without {name}")
    if faults:
        raise SystemExit(f"{path}:\n  " + "\n  ".join(faults))
    return stack["services"]


def stack_faults(stack):
    faults = []
    for name, service in stack["services"].items():
        image = service.get("image", "")
        if image and not re.search(r":v?\d+\.\d+\.\d+", image):
            faults.append(f"{name}: {image} is no pinned version")
        for mount in service.get("volumes", []):
            if mount["type"] == "bind" and not Path(mount["source"]).exists():
                faults.append(f"{name}: there is no {mount['source']}")
        confined = service.get("read_only") and service.get("cap_drop") == ["ALL"]
        if not confined or "no-new-privileges:true" not in service.get("security_opt", []):
            faults.append(f"{name}: it is not confined")
        if "healthcheck" not in service and name != "switchhook":
            faults.append(f"{name}: no health check")
    return faults


def trial(services, of_image, root, binary, folder):
    """Runs the router and the tenant's receiver with the environment, the folder and the hooks that the stack gives them."""
    folder.mkdir()
    router, tenant = services["switchhook"], services["acme"]
    mounted = next(mount["source"] for mount in router["volumes"] if mount["target"] == of_image.folder)
    # The box has no network but loopback: there the tenant is.
    settings = dict(router["environment"])
    settings["SWITCHHOOK_ALLOW_NETWORK"] += ",127.0.0.0/8"
    receive = [BINARY, *tenant["command"], "--json"]
    with image.box(of_image, root, binary, folder, mounted, settings, "127.0.0.2 acme\n") as box:
        story(box, of_image.serve, of_image.health, of_image.user, receive, tenant["environment"])
