"""Fuzzes the API of a running router by its own OpenAPI document, as operator and as tenant.

Usage: api.py SWITCHHOOK SCHEMATHESIS SECONDS

Starts a router of its own on loopback, with a hooks file, a hook registered over the API and a few events, runs
schemathesis for SECONDS as each of the two, and fails if it found a server error or an answer that the document does
not describe.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HOOKS = """hooks:
  - {host: calls.acme.example, tenant: acme, url: 'http://127.0.0.1:9/hook'}
  - {host: calls.globex.example, tenant: globex, url: 'http://127.0.0.1:9/hook'}
"""

CHECKS = ",".join(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "unsupported_method",
        "ignored_auth",
    ]
)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(method, url, token=None, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


def until_ready(url, router):
    for _ in range(200):
        if router.poll() is not None:
            sys.exit("the router has ended")
        try:
            return ask("GET", f"{url}/readyz")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    sys.exit("the router is not ready after 20 s")


def token(program, folder, *args):
    made = subprocess.run([program, "token", "--data", "data", *args], cwd=folder, check=True, stdout=subprocess.PIPE)
    return made.stdout.decode().strip().splitlines()[-1]


def fuzz(schemathesis, folder, url, name, bearer, seconds):
    print(f"== as {name}", flush=True)
    command = [schemathesis, "run", f"{url}/openapi.json", "--url", url, "--checks", CHECKS]
    command += ["--header", f"Authorization: Bearer {bearer}", "--max-time", str(seconds), "--workers", "1"]
    command += ["--request-timeout", "20", "--rate-limit", "40/s", "--suppress-health-check", "all"]
    # An answer that never ends has a specification of its own: each case of it would take the request's whole time.
    command += ["--exclude-path", "/v1/stream"]
    command += ["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--warnings", "off"]
    return subprocess.run(command, cwd=folder, check=False, env={**os.environ, "NO_COLOR": "1"}).returncode


def main():
    program, schemathesis = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    seconds = int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "hooks.yaml").write_text(HOOKS)
        listen, api = free_port(), free_port()
        url = f"http://127.0.0.1:{api}"
        command = [program, "serve", "--dev", "--listen", f"127.0.0.1:{listen}", "--api-listen", f"127.0.0.1:{api}"]
        with open(os.path.join(folder, "log"), "wb") as log:
            router = subprocess.Popen(command + ["--log", "json"], cwd=folder, stdout=log, stderr=log)
        try:
            until_ready(url, router)
            operator = token(program, folder, "--admin")
            tenant = token(program, folder, "--tenant", "acme", "--host", "*.acme.example", "--private")
            hook = {"url": "http://127.0.0.1:9/hook"}
            ask("PUT", f"{url}/v1/hooks/voice.acme.example", tenant, hook)
            sent = ["send", "--x-to-ip", "calls.acme.example", "--url", f"http://127.0.0.1:{listen}/webhook"]
            subprocess.run([program, *sent], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            ends = [
                fuzz(schemathesis, folder, url, name, bearer, seconds)
                for name, bearer in [("operator", operator), ("tenant", tenant)]
            ]
            if router.poll() is not None:
                sys.exit("the router has ended")
            sys.exit(max(ends))
        finally:
            router.terminate()
            router.wait(timeout=20)


main()
