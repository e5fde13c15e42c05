"""Single requests byte by byte: what SIPp would not send. LiveKit's side answers 486, so a call is one step."""

from dataclasses import dataclass, field

from edge import CARRIER, STRANGER, Edge
from judge import expect, expect_one, header, values
from peers import Carrier, Node, call_id, expect_status

USER = "sip:+15551234@"
SILENCE = None


@dataclass(frozen=True)
class Bytes:
    name: str
    why: str
    wanted: object  # the X-To-IP that arrives, the status of a refusal, or SILENCE
    parts: dict = field(default_factory=dict)  # of peers.request
    source: str = CARRIER
    tcp: bool = False


def relayed(name, why, value="customer-a.com", **parts):
    return Bytes(name, why, value, parts)


def refused(name, why, status, source=CARRIER, tcp=False, **parts):
    return Bytes(name, why, status, parts, source, tcp)


def host(name, why, host_of_uri):
    return refused(name, why, 400, ruri=f"{USER}{host_of_uri}", to=f"<{USER}customer-a.com>")


LINES = "one parser reads a value, another one a header"
UNREADABLE = "Kamailio can build no answer to a header it cannot parse: nothing passes, the caller times out"
NOT_A_DOMAIN = "the router would not read it, and look at To"

CASES = [
    # Line ends
    refused("folded-x-to-ip", LINES, 400, more="Subject: hi\r\n X-To-IP: evil.com\r\n"),
    refused("folded-tab", LINES, 400, more="Subject: hi\r\n\tx-to-ip: evil.com\r\n"),
    refused("folded-unicode", "in lower case it is X-To-IP", 400, more="Subject: hi\r\n X-To-\xc4\xb0P: evil.com\r\n"),
    refused("folded-first", UNREADABLE, SILENCE, first=" Subject: hi\r\n"),
    relayed("folded-value", "the value goes with its header", more="X-To-IP:\r\n evil.com\r\n"),
    relayed("folded-other", "legal, and harmless", more="Subject: a\r\n b\r\n"),
    refused("bare-lf", LINES, 400, more="Subject: a\nX-To-IP: evil.com\r\n"),
    refused("bare-cr", LINES, 400, more="Subject: a\rX-To-IP: evil.com\r\n"),
    # Without Content-Length, so that nothing but the line end gives it away.
    refused(
        "blank-lf",
        "the end of the headers for one parser only",
        400,
        more="Subject: a\r\n\nX-To-IP: evil.com\r\n",
        Content_Length=None,
    ),
    refused("cr-cr-lf", LINES, 400, more="Subject: a\r\r\nX-To-IP: evil.com\r\n"),
    refused(
        "nul-hides-blank-lf",
        "a check that stops at NUL would not see what follows",
        400,
        more="Subject: a\0\r\nSubject: b\r\n\nX-To-IP: evil.com\r\n",
        Content_Length=None,
    ),
    refused("nul-in-value", LINES, 400, more="Subject: a\0X-To-IP: evil.com\r\n"),
    relayed(
        "body-with-bare-lf", "line ends of a body are its own affair", body="v=0\ns=-\n", Content_Type="text/plain"
    ),
    # Names
    refused("nul-in-name", UNREADABLE, SILENCE, more="X-To-IP\0: evil.com\r\n"),
    refused("vt-in-name", UNREADABLE, SILENCE, more="X-To-IP\v: evil.com\r\n"),
    refused("ff-in-name", UNREADABLE, SILENCE, more="X-To-IP\f: evil.com\r\n"),
    refused("nbsp-in-name", UNREADABLE, SILENCE, more="X-To-IP\xa0: evil.com\r\n"),
    refused("nel-in-name", UNREADABLE, SILENCE, more="X-To-IP\x85: evil.com\r\n"),
    refused("no-colon", UNREADABLE, SILENCE, more="X-To-IP evil.com\r\n"),
    relayed("longer-name", "nothing that could be taken for it", more="X-X-To-IP: evil.com\r\nX-To-IP-2: evil.com\r\n"),
    relayed(
        "compact-names",
        "",
        to="<sip:+15551234@customer-b.com>",
        more="X-To-IP: evil.com\r\nl: 0\r\ns: x\r\nk: x\r\n",
        Content_Length=None,
    ),
    # One message read as two
    refused("two-to", "LiveKit's rule for duplicates is its own", SILENCE, more="To: <sip:+1@customer-b.com>\r\n"),
    refused("two-to-compact", "", SILENCE, more="t: <sip:+1@customer-b.com>\r\n"),
    refused("two-from", "", SILENCE, more="From: <sip:+1@customer-b.com>;tag=2\r\n"),
    refused("two-call-id", "", SILENCE, more="Call-ID: another\r\n"),
    refused("two-lengths", "the rest would be a message of its own", SILENCE, more="Content-Length: 400\r\n"),
    refused("two-lengths-compact", "", SILENCE, more="l: 400\r\n"),
    refused("short-length", "", 400, body="INVITE sip:a@b.c SIP/2.0\r\nX-To-IP: evil.com\r\n\r\n", Content_Length="0"),
    refused("long-length", "", 400, Content_Length="100"),
    # The R-URI
    refused("tel", "no host, no tenant", 416, ruri="tel:+15551234", to="<sip:+1@customer-a.com>"),
    refused("urn", "Kamailio would read sos as the host", 416, ruri="urn:service:sos", to="<sip:+1@customer-a.com>"),
    refused("http", "", 416, ruri="http://customer-a.com/", to="<sip:+1@customer-a.com>"),
    host("empty-host", "", ""),
    host("empty-port", "LiveKit would not answer", "customer-a.com:"),
    host("empty-port-params", "", "customer-a.com:;user=phone"),
    host("empty-port-ipv6", "", "[2001:db8::7]:"),
    host("port-99999", "", "customer-a.com:99999"),
    host("escaped-host", "", "customer%2da.com"),
    host("two-at", "", "customer-a.com@customer-b.com"),
    host("at-in-parameter", "", "customer-a.com;x=@evil.com"),
    host("comma", "", "customer-a.com,evil.com"),
    host("underscore", "Kamailio 5.6 takes no underscore", "cust_a.example.com"),
    host("utf-8", "domains are ASCII (punycode)", "caf\xc3\xa9.example"),
    host("ipv6-47-characters", "LiveKit would not answer", "[0000:0000:0000:0000:0000:ffff:255.255.255.255]"),
    relayed(
        "ipv6-41-characters",
        "the longest that LiveKit reads",
        "[2001:1db8:1111:2222:3333:4444:5555:6666]",
        ruri=f"{USER}[2001:1db8:1111:2222:3333:4444:5555:6666]",
    ),
    host("ipv6-zone", "", "[fe80::1%25eth0]"),
    host("ipv6-bare", "", "2001:db8::7"),
    host("ipv6-malformed", NOT_A_DOMAIN, "[::1::2]"),
    host("ipv4-malformed", NOT_A_DOMAIN, "203.0.113.256"),
    host("ipv4-three", NOT_A_DOMAIN, "203.0.113"),
    host("ipv4-dot", NOT_A_DOMAIN, "203.0.113.7."),
    host("ipv4-zeros", NOT_A_DOMAIN, "203.0.113.007"),
    host("single-label", NOT_A_DOMAIN, "localhost"),
    host("two-dots", NOT_A_DOMAIN, "customer..com"),
    host("leading-dot", NOT_A_DOMAIN, ".customer-a.com"),
    host("leading-dash", NOT_A_DOMAIN, "-customer.com"),
    host("trailing-dash", NOT_A_DOMAIN, "customer-.com"),
    host("label-64", NOT_A_DOMAIN, f"{'a' * 64}.com"),
    host("name-254", NOT_A_DOMAIN, f"{'a.' * 126}aa"),
    relayed("name-253", "the longest", f"{'a.' * 126}a", ruri=f"{USER}{'a.' * 126}a"),
    host("slashes", "", "//customer-a.com"),
    # Requests
    relayed("empty-to-tag", "no tag, no call it belongs to", to=f"<{USER}customer-a.com>;tag="),
    refused("max-forwards-0", "loops end", 483, Max_Forwards="0"),
    relayed("method-lower-case", "an INVITE to LiveKit as well", verb="invite"),
    refused("method-dotless-i", "in upper case it is INVITE", 400, verb="\xc4\xb1NVITE"),
    refused("cseq-of-another", "", 400, CSeq="1 OPTIONS"),
    refused("register", "calls only", 405, verb="REGISTER"),
    refused("message", "", 405, verb="MESSAGE"),
    refused("subscribe", "", 405, verb="SUBSCRIBE"),
    refused("options", "carriers ask whether we are up", 200, verb="OPTIONS"),
    refused("cancel-of-nothing", "", 481, verb="CANCEL"),
    refused("bye-of-nothing", "", 481, verb="BYE", to=f"<{USER}customer-a.com>;tag=invented"),
    refused("invented-tag", "no Route of ours: not a call of ours", 481, to=f"<{USER}customer-a.com>;tag=invented"),
    # Sources
    refused("unlisted-invite", "refused so that an operator sees it", 403, source=STRANGER),
    refused("unlisted-options", "", 403, source=STRANGER, verb="OPTIONS"),
    refused("unlisted-tcp", "", 403, source=STRANGER, tcp=True),
]


def run(report, folder, _program):
    node = Node()
    with Edge(folder, "edge", [node.name_of]) as edge:
        unwanted = set()
        for case in CASES:
            report.case("bytes", case.name, case.why, lambda: one(case, edge, node, report, unwanted))
        report.case("bytes", "livekit-begins", "outbound calls do not pass the edge", lambda: from_livekit(edge, node))
        report.case("bytes", "log", "text from outside cannot look like our log", lambda: injected(edge, node))
        report.case("bytes", "nothing-passed", "no refused request ever arrived", lambda: none_of(unwanted, node))
    node.close()


def one(case, edge, node, report, unwanted):
    with Carrier(edge.address, case.source, case.tcp) as carrier:
        message = carrier.request(**case.parts)
        if isinstance(case.wanted, str):
            got = carrier.ask(message)
            arrived = node.wait_for(call_id(message))
            expect_one(arrived, case.wanted)
            expect(header(arrived, "To") == (header(message, "To") or header(message, "t")), "To was changed")
            expect_status(got, 486)
            return report.arrived(case.wanted)
        unwanted.add(call_id(message))
        if case.wanted is SILENCE:
            carrier.send(message)
            # A call after it has gone through; the answer to the first one would be here by now.
            marker = carrier.request()
            carrier.send(marker)
            expect(carrier.answer(marker) is not None, "the next call had no answer")
            got = carrier.answer(message, seconds=0.2)
            expect(got is None, f"answered {got and got.splitlines()[0]}")
            return "not relayed, no answer"
        expect_status(carrier.ask(message), case.wanted)
        expect(not node.of_call(call_id(message)), "it was relayed")
        return f"answered {case.wanted}"


def from_livekit(edge, node):
    from peers import request

    invite = request(
        via=node.name_of.split(":")[0], Via=f"SIP/2.0/UDP {node.name_of};branch=z9hG4bKout", Call_ID="out@lk"
    )
    node.send(invite, edge.address)
    expect_status(int(node.answer_to("out@lk", "1 INVITE").split(b" ")[1]), 403)
    return "answered 403"


def injected(edge, node):
    with Carrier(edge.address) as carrier:
        forged = 'x" source=udp:1.2.3.4\x1b[31m\tedge:@test'
        message = carrier.request(Call_ID=forged)
        expect_status(carrier.ask(message), 486)
    line = next(line for line in edge.log().splitlines() if "1.2.3.4" in line)
    expect("call_id=x??source?udp?1.2.3.4??31m?edge?@test" in line, f"logged as {line!r}")
    return "Call-ID in the log: x??source?udp?1.2.3.4??31m?edge?@test"


def none_of(unwanted, node):
    arrived = [call_id(message) for message in node.requests("INVITE")]
    expect(not unwanted.intersection(arrived), f"relayed: {unwanted.intersection(arrived)}")
    for invite in node.requests("INVITE"):
        expect(len(values(invite)) == 1, f"an INVITE with X-To-IP {values(invite)}")
    return f"{len(unwanted)} requests kept out, {len(arrived)} relayed with exactly one X-To-IP"
