"""Packages of the Debian release that the image is based on, beside whatever Debian this machine runs.

Nothing is installed: apt's lists and the unpacked packages are in a folder of their own.
"""

import os
import shutil
import subprocess
from pathlib import Path

RELEASE = "trixie"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"

# What the image is based on, and the packages that it is made of, as its build files name them.
IMAGE = "gcr.io/distroless/cc-debian13:nonroot"
BASE = """base-files netbase tzdata tzdata-legacy media-types libc6 libssl3t64 libzstd1 zlib1g libgomp1 libstdc++6
libgcc-s1 gcc-14-base ca-certificates""".split()
COMPOSE = "usr/libexec/docker/cli-plugins/docker-compose"

PASSWD = """root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
"""


class Release:
    """Packages of `RELEASE`, kept in `folder`."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        (self.folder / "lists/partial").mkdir(parents=True, exist_ok=True)
        (self.folder / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
        sources = self.folder / "sources.list"
        sources.write_text(f"deb [signed-by={KEYS}] http://deb.debian.org/debian {RELEASE} main\n")
        places = {
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": self.folder / "lists",
            "Dir::Cache": self.folder / "cache",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "20",
            # The folder may be closed to apt's own user.
            "APT::Sandbox::User": "root",
        }
        self.settings = [word for name, value in places.items() for word in ("-o", f"{name}={value}")]
        subprocess.run(["apt-get", *self.settings, "-qq", "update"], check=True)

    def unpack(self, packages, where):
        """Downloads the packages and unpacks them over each other."""
        archives = self.folder / "cache/archives"
        shutil.rmtree(archives)
        archives.mkdir()
        subprocess.run(["apt-get", *self.settings, "-qq", "download", *packages], cwd=archives, check=True)
        for archive in sorted(archives.glob("*.deb")):
            # Not `dpkg -x`, which would follow no links of an earlier package: /lib is one to usr/lib.
            data = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE)
            unpack = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", where]
            subprocess.run(unpack, stdin=data.stdout, check=True)
            if data.wait() != 0:
                raise SystemExit(f"{archive} cannot be read")

    def base(self):
        """The root of the image's base, and the bytes it takes as a layer."""
        root = self.folder / "base"
        shutil.rmtree(root, ignore_errors=True)
        for folder in ("usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "etc/ssl/certs", "home/nonroot"):
            (root / folder).mkdir(parents=True)
        for merged in ("bin", "lib", "lib64", "sbin"):
            (root / merged).symlink_to(f"usr/{merged}")
        self.unpack(BASE, root)
        (root / "etc/passwd").write_text(PASSWD)
        roots = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
        (root / "etc/ssl/certs/ca-certificates.crt").write_text("".join(cert.read_text() for cert in roots))
        layer = subprocess.run(["tar", "-c", "-C", root, "."], capture_output=True, check=True).stdout
        return root, len(layer)

    def compose(self):
        """Docker Compose, the program: it reads and checks, and needs no engine for that."""
        where = self.folder / "compose"
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir()
        self.unpack(["docker-compose"], where)
        program = where / COMPOSE
        if not os.access(program, os.X_OK):
            raise SystemExit("docker-compose is not where Debian's package had it")
        return program
