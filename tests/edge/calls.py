"""Whole calls by SIPp: INVITE, 180, 200, ACK, re-INVITE, BYE. Each request and each answer inside a call carries an
X-To-IP as well, and none of those may pass: the re-INVITE arrives with the edge's own, the others without."""

import pathlib
import re
import subprocess
from dataclasses import dataclass

from edge import ADDRESS, CARRIER, LIVEKIT, Edge, free_port, started
from judge import IN_CALL, Failed, expect, expect_one, header, method, status, until, values

SIPP = "/usr/bin/sipp"
SCENARIOS = pathlib.Path(__file__).parent / "sipp"


@dataclass(frozen=True)
class Call:
    name: str
    why: str
    ruri: str = "sip:+15551234@customer-a.com"
    arrives: str = "customer-a.com"
    to: str = ""  # as the R-URI
    first: str = ""  # headers before Via
    more: str = ""  # headers after the others
    sdp: str = "-"  # the session's name
    over: str = "udp"  # udp, tcp, udp6


def spoof(name, why, more="", **parts):
    return Call(name, why, more=more, **parts)


USER = "sip:+15551234@"
CALLS = [
    Call("plain", "the everyday call"),
    Call("host-port", "a port belongs to the route, not to the tenant", f"{USER}customer-a.com:5080"),
    Call("upper-case", "hosts compare without case", f"{USER}CUSTOMER-A.Com"),
    Call("ipv4", "a carrier that was given an address", f"{USER}203.0.113.7", "203.0.113.7"),
    Call("ipv4-port", "", f"{USER}203.0.113.7:5070", "203.0.113.7"),
    Call("ipv6", "brackets stay", f"{USER}[2001:DB8::7]", "[2001:db8::7]"),
    Call("ipv6-port", "", f"{USER}[2001:DB8::7]:5066", "[2001:db8::7]"),
    Call("user-phone", "parameters are no host", f"{USER}customer-a.com;user=phone"),
    Call("uri-params", "", f"{USER}customer-a.com;transport=tcp;user=phone;lr"),
    Call("maddr", "the address to send to is not the name dialled", f"{USER}customer-a.com;maddr=198.51.100.66"),
    Call("no-user", "", "sip:customer-a.com"),
    Call("trailing-dot", "the router drops the dot", f"{USER}customer-a.com.", "customer-a.com."),
    Call("punycode", "", f"{USER}xn--bcher-kva.example", "xn--bcher-kva.example"),
    Call("escaped-user", "an escaped @ does not end the user part", "sip:alice%40evil.com@customer-a.com"),
    Call("user-password", "", "sip:alice:s3cret@customer-a.com"),
    Call("user-params", "", "sip:+1;phone-context=evil.com@customer-a.com"),
    Call("sips", "", "sips:+15551234@customer-a.com"),
    Call("edge-own-address", "what a carrier sends that knows no name", f"{USER}{ADDRESS}", ADDRESS),
    Call("to-other-domain", "the domain is the R-URI's, and To arrives as sent", to="<sip:+15551234@customer-b.com>"),
    Call("to-tel", "", to="<tel:+15551234>"),
    Call("to-display", "", to='"Sales, \\"A\\" <x>" <sip:+15551234@customer-b.com;user=phone>'),
    Call("preloaded-route", "", more=f"Route: <sip:{ADDRESS};lr>\n"),
    Call(
        "preloaded-route-evil",
        "a caller's Route must not steer the call",
        more=f"Route: <sip:{ADDRESS};lr>\nRoute: <sip:127.0.0.99:5999;lr>\n",
    ),
    Call("sdp-names-it", "a body is no header", sdp="X-To-IP: evil.com"),
    spoof("spoof-one", "forged by the caller", "X-To-IP: evil.com\n"),
    spoof("spoof-two", "", "X-To-IP: evil.com\nX-To-IP: evil2.com\n"),
    spoof("spoof-case", "", "X-TO-IP: evil.com\nx-to-ip: evil2.com\nX-tO-iP: evil3.com\n"),
    spoof("spoof-space-colon", "", "X-To-IP : evil.com\n"),
    spoof("spoof-tab-colon", "", "X-To-IP\t: evil.com\n"),
    spoof("spoof-list", "", "X-To-IP: evil.com, evil2.com\n"),
    spoof("spoof-empty", "", "X-To-IP:\n"),
    spoof("spoof-uri-header", "", ruri=f"{USER}customer-a.com?X-To-IP=evil.com"),
    spoof("spoof-before-via", "", first="X-To-IP: evil.com\n"),
    spoof("spoof-forty", "", "X-To-IP: evil.com\n" * 40),
    spoof("spoof-3000-bytes", "", f"X-To-IP: {'e' * 3000}.com\n"),
    spoof("tcp", "", "X-To-IP: evil.com\n", over="tcp"),
    spoof("udp-ipv6", "a carrier over IPv6, LiveKit over IPv4", "X-To-IP: evil.com\n", over="udp6"),
]


def to_of(call):
    return call.to or f"<{call.ruri}>"


class LiveKit:
    """LiveKit's side: one SIPp for all calls."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.port = free_port(LIVEKIT)

    def __enter__(self):
        command = [SIPP, "-sf", SCENARIOS / "livekit.xml", "-i", LIVEKIT, "-p", str(self.port), "-t", "u1"]
        command += ["-nostdin", "-trace_msg", "-message_file", "messages", "-trace_err", "-error_file", "errors"]
        with open(self.folder / "screen", "wb") as screen:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=screen, stderr=screen)
        started.append(self.process)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def of_call(self, name):
        return [
            message for message in messages(self.folder) if (header(message, "Call-ID") or "").startswith(name + "/")
        ]


def messages(folder):
    """What that SIPp received, from its trace."""
    trace = pathlib.Path(folder, "messages")
    data = trace.read_bytes() if trace.exists() else b""
    found = []
    for match in re.finditer(rb"\n\w+ message received \[(\d+)\] bytes ?:\n\n", data):
        found.append(data[match.end() : match.end() + int(match.group(1))])
    return found


def scenario(call, folder):
    text = (SCENARIOS / "call.xml").read_text().replace("{first}", call.first).replace("{more}", call.more)
    path = folder / "call.xml"
    path.write_text(text)
    return path


def place(call, edge, folder):
    """Runs SIPp for one call; gives what the carrier received."""
    folder.mkdir()
    here, there = (
        (CARRIER, "%s:%d" % edge.address) if call.over != "udp6" else ("::1", edge.environment["EDGE_LISTEN6"])
    )
    port = free_port(here)
    command = [SIPP, "-sf", scenario(call, folder), "-i", here, "-p", str(port), "-m", "1", "-nostdin"]
    command += ["-t", "t1" if call.over == "tcp" else "u1", "-cid_str", f"{call.name}/%u-%p@%s", there]
    command += ["-key", "ruri", call.ruri, "-key", "to", to_of(call), "-key", "sdp", call.sdp]
    command += ["-trace_msg", "-message_file", "messages", "-trace_err", "-error_file", "errors"]
    command += ["-timeout", "20", "-timeout_error"]
    with open(folder / "screen", "wb") as screen:
        done = subprocess.run(command, cwd=folder, stdout=screen, stderr=screen, timeout=30, check=False)
    errors = folder / "errors"
    expect(
        done.returncode == 0,
        f"SIPp ended with {done.returncode}: {errors.read_text()[:400] if errors.exists() else ''}",
    )
    return messages(folder)


def judge(call, received, livekit):
    """Both sides of a call that went through."""
    arrived = until(lambda: ended(livekit.of_call(call.name)), 5, "the call's BYE at LiveKit")
    invites = [message for message in arrived if method(message) == "INVITE"]
    expect_one(invites[0], call.arrives)
    expect(header(invites[0], "To") == to_of(call), f"To arrived as {header(invites[0], 'To')}")
    expect(header(invites[0], "Route") is None, "the caller's Route arrived")
    for message in arrived:
        if message is not invites[0] and same_transaction(message, invites[0]):
            continue  # a retransmission
        if method(message) == "INVITE":
            if message is not invites[0]:
                expect_one(message, IN_CALL)
        else:
            expect(not values(message), f"{method(message)} inside the call carries X-To-IP {values(message)}")
    expect(any(status(message) == 200 for message in received), "the carrier saw no 200")
    for message in received:
        expect(not values(message), f"an answer took X-To-IP {values(message)} to the carrier")


def ended(arrived):
    return arrived if any(method(message) == "BYE" for message in arrived) else None


def same_transaction(one, other):
    return header(one, "CSeq") == header(other, "CSeq")


def run(report, folder, _program):
    six = f"[::1]:{free_port('::1')}"
    with LiveKit(folder / "livekit") as livekit:
        node = f"{LIVEKIT}:{livekit.port}"
        with Edge(folder, "edge", [node], carriers=(CARRIER, "::1"), EDGE_LISTEN6=six) as edge:
            for call in CALLS:

                def whole(call=call):
                    received = place(call, edge, folder / call.name)
                    judge(call, received, livekit)
                    return report.arrived(call.arrives)

                report.case("call", call.name, call.why, whole)
            report.case("call", "log", "who called whom, found with grep", lambda: logged(edge, node))


def logged(edge, node):
    for call in CALLS:
        line = f"call x_to_ip={call.arrives} node=sip:{node} source="
        expect(line in edge.log(), f"no such line in the log: {line}")
    faults = [line for line in edge.log().splitlines() if re.search(r"ERROR|CRITICAL|BUG", line)]
    if faults:
        raise Failed(f"Kamailio complains: {faults[0]}")
