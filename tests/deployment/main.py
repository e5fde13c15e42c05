"""The deployment: image, compose file and unit are checked by their own verifiers, and run as far as no engine is needed.

    main.py BINARY FOLDER HADOLINT      BINARY: switchhook; FOLDER: for what is downloaded and made
"""

import shutil
import sys
from pathlib import Path

import image
import stack
import unit
from debian import IMAGE, Release
from story import same

UNIT = "examples/systemd/switchhook.service"
LARGEST = 60_000_000  # bytes of the image, with the binary that ships


def main(binary, folder, hadolint):
    binary, folder = Path(binary).resolve(), Path(folder).resolve()
    tried = folder / "tried"
    shutil.rmtree(tried, ignore_errors=True)
    tried.mkdir(parents=True)

    image.lint(hadolint, Path("Dockerfile").read_text())
    image.context(tried / "context")
    print("Dockerfile: no findings of hadolint; the context is enough for cargo", flush=True)
    print(f"{UNIT}: {unit.verify(UNIT, binary, tried)}", flush=True)

    release = Release(folder / "debian")
    services = stack.check(release.compose(), "examples/compose.yaml", binary)
    image.lint(hadolint, services["edge"]["build"]["dockerfile_inline"])
    print("examples/compose.yaml: Docker Compose reads it, what it refers to is there", flush=True)

    root, base = release.base()
    size = base + binary.stat().st_size
    print(f"image: base {base / 1e6:.1f} MB + binary {binary.stat().st_size / 1e6:.1f} MB = {size / 1e6:.1f} MB", flush=True)
    if binary.parent.name == "dist" and size > LARGEST:
        raise SystemExit("the image is too large")
    written = image.Image("Dockerfile")
    same("the base whose packages are known", written.base, IMAGE)
    image.trial(written, root, binary, tried / "image")
    print("image: ready, an event delivered, ended in order", flush=True)
    stack.trial(services, written, root, binary, tried / "stack")
    print("compose: the same with the router's and the tenant's part of it", flush=True)
    unit.trial(UNIT, binary, tried / "unit")
    print("unit: ready, an event delivered, ended in order, nothing asked for that it forbids", flush=True)


main(*sys.argv[1:])
