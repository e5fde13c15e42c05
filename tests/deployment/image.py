"""The image: its Dockerfile is linted, and its last stage is run as it is written, on what its base is made of."""

import json
import re
import shlex
import subprocess
from pathlib import Path

from box import DEVICES, Box
from story import HOOKS, SETTINGS, same, story

INCLUDED = r'include_(?:str|bytes)!\("([^"]+)"\)'
# What the base's own configuration sets.
OF_BASE = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
}


def instructions(text):
    """The instructions of the last stage: name and the rest."""
    text = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    last = max(at for at, line in enumerate(lines) if line[0] == "FROM")
    return [(name, rest.strip()) for name, rest in lines[last:]]


class Image:
    """What the last stage says about how the image runs."""

    def __init__(self, path):
        self.environment = dict(OF_BASE)
        said = {}
        for name, rest in instructions(Path(path).read_text()):
            if name == "ENV":
                self.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            said[name] = rest
        self.base = said["FROM"]
        self.user = int(said["USER"].split(":")[0])
        self.folder, self.volume = said["WORKDIR"], said["VOLUME"]
        self.serve = json.loads(said["ENTRYPOINT"]) + json.loads(said["CMD"])
        self.health = json.loads(said["HEALTHCHECK"].split("CMD", 1)[1])


def lint(hadolint, dockerfile):
    trusted = [word for registry in ("docker.io", "gcr.io") for word in ("--trusted-registry", registry)]
    subprocess.run([hadolint, *trusted, "-"], input=dockerfile, text=True, check=True)


def context(folder):
    """What the build is given is enough: cargo finds each target's file, rustc each file that the source includes."""
    sent = [line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")]
    folder.mkdir(parents=True)
    subprocess.run(["cp", "-r", "--parents", *sent, folder], check=True)
    # How SQLite is compiled stands beside the sources: without it, erasures would not end.
    same("settings of cargo are missing", (folder / ".cargo/config.toml").exists(), True)
    # Of what compiles nothing, this alone misses the file of a target.
    subprocess.run(["cargo", "fetch", "--locked", "--offline"], cwd=folder, check=True)
    sources = [(path, path.read_text()) for path in (folder / "src").rglob("*.rs")]
    included = [path.parent / name for path, text in sources for name in re.findall(INCLUDED, text)]
    same("files that the source includes are missing", [str(path) for path in included if not path.exists()], [])


def trial(image, root, binary, folder):
    """Runs the image's commands as its user, on a read-only root, with its volume, a mounted folder and a /tmp."""
    mounted = folder / "mounted"
    mounted.mkdir(parents=True)
    (mounted / "hooks.yaml").write_text(HOOKS)
    with box(image, root, binary, folder, mounted, SETTINGS) as running:
        story(running, image.serve, image.health, image.user)
    written = (folder / "data").iterdir()
    same("files that others may read", [file.name for file in written if file.stat().st_mode & 0o077], [])


def box(image, root, binary, folder, mounted, settings, hosts=""):
    """A box as an engine makes one of the image: `mounted` is its folder of settings, `hosts` what names mean."""
    data = folder / "data"
    data.mkdir(parents=True, mode=0o700)
    for place in (image.volume, image.folder, "/tmp", "/proc", "/dev", "/usr/local/bin"):
        (root / place[1:]).mkdir(parents=True, exist_ok=True)
    # The binary is mounted here; the other two are what an engine mounts.
    for place in ("usr/local/bin/switchhook", "etc/hosts", "etc/resolv.conf"):
        (root / place).touch()
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
    view = ["--ro-bind", root, "/", "--ro-bind", binary, "/usr/local/bin/switchhook",
            "--bind", data, image.volume, "--ro-bind", mounted, image.folder, "--ro-bind", folder / "hosts", "/etc/hosts",
            "--tmpfs", "/tmp", "--proc", "/proc", *DEVICES, "--chdir", image.folder]
    return Box(map(str, view), image.user, image.environment | settings, folder, pid_one=True)
