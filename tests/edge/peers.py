"""A carrier and a LiveKit node that speak SIP byte by byte, for what SIPp cannot send or do."""

import itertools
import re
import socket
import threading
import time
import uuid

from edge import CARRIER, LIVEKIT
from judge import Failed, expect, header, method, status, until

PATIENCE = 10  # seconds a test waits for what must come
numbers = itertools.count(1)


def request(
    verb="INVITE", ruri="sip:+15551234@customer-a.com", to=None, first="", more="", body="", via="127.0.0.11", **headers
):
    """A request as bytes. `first` stands before Via, `more` after the other headers; a header given by name (with
    `_` for `-`) replaces the usual one, and None leaves it out."""
    unique = uuid.uuid4().hex[:12]
    usual = {
        "Via": f"SIP/2.0/UDP {via}:5060;rport;branch=z9hG4bK{unique}",
        "From": "<sip:+15550100@carrier.example>;tag=f1",
        "To": to or f"<{ruri}>",
        "Call-ID": f"{unique}@test",
        "CSeq": f"1 {verb}",
        "Contact": f"<sip:carrier@{via}:5060>",
        "Max-Forwards": "70",
        "Content-Length": str(len(body.encode("latin-1"))),
    }
    usual.update({key.replace("_", "-"): value for key, value in headers.items()})
    lines = "".join(f"{key}: {value}\r\n" for key, value in usual.items() if value is not None)
    return f"{verb} {ruri} SIP/2.0\r\n{first}{lines}{more}\r\n{body}".encode("latin-1")


def call_id(message):
    return header(message, "Call-ID") or header(message, "i")


class Carrier:
    """One socket of a carrier, towards one edge."""

    def __init__(self, edge, address=CARRIER, tcp=False):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.settimeout(PATIENCE)
        self.socket.connect(edge)
        self.tcp, self.buffer = tcp, b""
        self.here = f"{address}:{self.socket.getsockname()[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def request(self, verb="INVITE", **parts):
        """A request whose Via and Contact name this socket."""
        transport = "TCP" if self.tcp else "UDP"
        parts.setdefault("Via", f"SIP/2.0/{transport} {self.here};rport;branch=z9hG4bK{uuid.uuid4().hex[:12]}")
        parts.setdefault("Contact", f"<sip:carrier@{self.here};transport={transport.lower()}>")
        return request(verb, **parts)

    def send(self, message):
        self.socket.sendall(message)

    def next(self, seconds=PATIENCE):
        """The next message, or None after so many seconds."""
        self.socket.settimeout(seconds)
        try:
            if not self.tcp:
                return self.socket.recv(65535)
            while True:
                whole, self.buffer = one_message(self.buffer)
                if whole:
                    return whole
                more = self.socket.recv(65535)
                if not more:
                    return None
                self.buffer += more
        except socket.timeout:
            return None

    def answer(self, sent, seconds=PATIENCE):
        """The final answer to what was sent, acknowledged if need be. None if there is none in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            message = self.next(left)
            if message and (status(message) or 0) >= 200 and header(message, "CSeq") == header(sent, "CSeq"):
                if call_id(message) == call_id(sent) or call_id(sent) is None:
                    return message
        return None

    def insist(self, message):
        """Sends until there is a final answer, repeating as carriers do over UDP (RFC 3261 §17.1.1.2)."""
        for seconds in (0.5, 1, 2, 4, 8):
            self.send(message)
            answer = self.answer(message, seconds)
            if answer is not None:
                return answer
        raise Failed(f"no answer to {method(message)}, five times sent")

    def ask(self, message, seconds=PATIENCE):
        """Sends, and gives the status of the final answer; None without one."""
        self.send(message)
        answer = self.answer(message, seconds)
        if answer is not None and method(message) == "INVITE" and status(answer) >= 300:
            self.send(acknowledge(message, answer))
        return status(answer) if answer else None

    def expect_request(self, name):
        """The next request of that method."""
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            message = self.next(left)
            if message and method(message) == name:
                return message
        raise Failed(f"no {name} reached the carrier")


def one_message(buffer):
    head, end, rest = buffer.partition(b"\r\n\r\n")
    if not end:
        return None, buffer
    length = int(header(head + end, "Content-Length") or header(head + end, "l") or 0)
    if len(rest) < length:
        return None, buffer
    return head + end + rest[:length], rest[length:]


def acknowledge(invite, answer):
    """The ACK to an answer other than 2xx: of the same transaction (RFC 3261 §17.1.1.3)."""
    return request(
        "ACK",
        ruri=invite.split(b" ", 2)[1].decode("latin-1"),
        Via=header(invite, "Via") or header(invite, "v"),
        From=header(answer, "From"),
        To=header(answer, "To"),
        Call_ID=header(answer, "Call-ID"),
        CSeq=header(answer, "CSeq").split()[0] + " ACK",
        Contact=None,
    )


def reply(message, line, more="", tag=None):
    """An answer to a request, as bytes."""
    lines = message.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    kept = [at for at in lines if re.match(r"(via|v|from|f|call-id|i|cseq|record-route)[ \t]*:", at, re.I)]
    to = header(message, "To") or header(message, "t") or "missing"
    if tag and ";tag=" not in to.rpartition(">")[2]:
        to += f";tag={tag}"
    head = "\r\n".join([f"SIP/2.0 {line}", *kept, f"To: {to}"])
    return f"{head}\r\n{more}Content-Length: 0\r\n\r\n".encode("latin-1")


def routes(message):
    """The Record-Route values of a message, in order, as one Route."""
    head = message.split(b"\r\n\r\n")[0].decode("latin-1")
    return ", ".join(re.findall(r"(?im)^record-route:[ \t]*(.*?)\r?$", head))


class Node(threading.Thread):
    """A LiveKit node over UDP. It answers pings, and INVITEs as `mode` says:

    busy         486, which ends a call in one step
    answer       200
    ring         180 only
    unavailable  503
    hung         nothing, though it answers pings
    dead         nothing to anything
    """

    def __init__(self, mode="busy", address=LIVEKIT, port=0):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.name_of = f"{address}:{self.socket.getsockname()[1]}"
        self.mode, self.lock, self.received = mode, threading.Lock(), []
        self.start()

    def run(self):
        while True:
            try:
                message, source = self.socket.recvfrom(65535)
            except OSError:
                return
            if source is None:  # shut
                return
            self.take(message, source)

    def take(self, message, source):
        name = method(message)
        if (header(message, "From") or "").find("edge.invalid") < 0:  # no ping
            with self.lock:
                self.received.append((message, source))
        for answer in self.answers(name, message):
            self.socket.sendto(answer, source)

    def answers(self, name, message):
        contact = f"Contact: <sip:livekit@{self.name_of}>\r\n"
        if self.mode == "dead" or name in ("ACK", "SIP/2.0"):
            return []
        if name == "CANCEL":
            cancelled = next(sent for sent in self.requests("INVITE") if call_id(sent) == call_id(message))
            return [reply(message, "200 OK"), reply(cancelled, "487 Request Terminated", tag="lk")]
        if name != "INVITE":
            return [reply(message, "200 OK", tag="lk")]
        return {
            "busy": [reply(message, "486 Busy Here", tag="lk")],
            "answer": [reply(message, "200 OK", contact, tag="lk")],
            "ring": [reply(message, "180 Ringing", contact, tag="lk")],
            "unavailable": [reply(message, "503 Draining", tag="lk")],
            "hung": [],
        }[self.mode]

    def ask(self, invite, verb, cseq, more="X-To-IP: livekit.evil.example\r\n"):
        """Sends a request inside the call, the way the INVITE came, with an X-To-IP of its own."""
        route = routes(invite)
        first = re.search(r"<sip:([0-9.]+):?(\d*)", route)
        message = request(
            verb,
            ruri=re.search(r"<(.*)>", header(invite, "Contact")).group(1),
            Via=f"SIP/2.0/UDP {self.name_of};rport;branch=z9hG4bK{uuid.uuid4().hex[:12]}",
            From=header(invite, "To") + ";tag=lk",
            To=header(invite, "From"),
            Route=route,
            Call_ID=call_id(invite),
            CSeq=f"{cseq} {verb}",
            Contact=f"<sip:livekit@{self.name_of}>",
            more=more,
        )
        self.send(message, (first.group(1), int(first.group(2) or 5060)))

    def send(self, message, to):
        self.socket.sendto(message, to)

    def requests(self, name):
        with self.lock:
            return [message for message, _ in self.received if method(message) == name]

    def of_call(self, wanted, name="INVITE"):
        return [message for message in self.requests(name) if call_id(message) == wanted]

    def wait_for(self, wanted, name="INVITE"):
        """The first request of that call and method."""
        return until(lambda: self.of_call(wanted, name), PATIENCE, f"an {name} at LiveKit")[0]

    def answer_to(self, wanted, cseq):
        """The final answer to a request that the node itself sent."""

        def found():
            with self.lock:
                finals = [at for at, _ in self.received if (status(at) or 0) >= 200 and call_id(at) == wanted]
            return [at for at in finals if header(at, "CSeq") == cseq]

        return until(found, PATIENCE, f"an answer to {cseq} at LiveKit")[0]

    def close(self):
        """Closes the port: from now on it refuses (ICMP)."""
        # A shut socket wakes the reader; a closed one would not.
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def expect_status(got, wanted):
    expect(got == wanted, f"answered {got}, wanted {wanted}")
