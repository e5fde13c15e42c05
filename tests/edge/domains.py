"""End to end with the router: what the edge writes, Switchhook reads as the domain its own table wants."""

import json
import pathlib
import re
import subprocess

from edge import Edge
from judge import expect, expect_one, values
from peers import Carrier, Node, call_id

TABLE = pathlib.Path(__file__).resolve().parents[1] / "data" / "sip_domains.tsv"
# The table refuses the whole URI for its user part; the edge writes the host alone.
MALFORMED_USER = {"sip:#1234@example.com": "example.com"}


def run(report, folder, program):
    node = Node()
    with Edge(folder, "edge", [node.name_of]) as edge:
        report.case(
            "router",
            "table-of-domains",
            "edge and router read a URI alike",
            lambda: table(edge, node, report, program, folder),
        )
    node.close()


def reads_all(report, program, folder):
    """Every X-To-IP that arrived in this run is a domain to the router, and the one that was dialled."""

    def check():
        for value in sorted(report.written):
            domain = read(program, folder, value)
            expect(domain == value.removesuffix("."), f"the router reads {value!r} as {domain!r}")
        return f"{len(report.written)} values, each read as the domain dialled"

    report.case("router", "reads-every-value", "what the edge writes, the router understands", check)


def read(program, folder, value):
    """The domain the router finds in an X-To-IP; None if none."""
    hooks = pathlib.Path(folder, "hooks.yaml")
    hooks.write_text("hooks: []\n")
    command = [program, "explain", "--json", "--hooks", hooks, "--x-to-ip", value]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20, check=False)
    expect(done.stdout, f"explain: {done.stderr.decode()[:200]}")
    return json.loads(done.stdout)["domain"]


def rows():
    """The table's rows that are a URI alone: what can stand in a request line."""
    for line in TABLE.read_text().splitlines():
        if line.startswith("# ") or not line:
            continue
        text, expected = line.split("\t")[:2]
        uri = re.sub(rb"\\(x[0-9A-Fa-f]{2}|.)", unescaped, text.encode())
        if re.fullmatch(rb"(?i)sips?:[^\s<>\"]+", uri):
            yield uri.decode("latin-1"), expected


def unescaped(match):
    code = match.group(1)
    if code[:1] == b"x":
        return bytes([int(code[1:], 16)])
    return {b"t": b"\t", b"r": b"\r", b"n": b"\n", b"\\": b"\\"}[code]


def table(edge, node, report, program, folder):
    read_alike, kept_out = 0, []
    for uri, expected in rows():
        with Carrier(edge.address) as carrier:
            sent = carrier.request(ruri=uri, to="<sip:+1@elsewhere.example>", From="<sip:+1@carrier.example>;tag=1")
            answered = carrier.ask(sent, seconds=10 if "\0" not in uri else 0.3)
        arrived = node.of_call(call_id(sent))
        if arrived:
            value = values(arrived[0])[0]
            expect_one(arrived[0], value)
            domain = read(program, folder, value)
            expected = MALFORMED_USER.get(uri, expected)
            expect(domain == expected, f"{uri}: X-To-IP {value}, the router reads {domain}, the table wants {expected}")
            read_alike += 1
        else:
            expect(answered in (400, 416, None), f"{uri}: answered {answered}")
            if expected != "invalid":
                kept_out.append(uri)
    return f"{read_alike} URIs read alike; refused though legal: {kept_out}"
