"""Calls in both directions, in-dialog tricks, lists read again, and floods, byte by byte."""

import time
import uuid

from edge import ADDRESS, CARRIER, STRANGER, Edge
from judge import IN_CALL, expect, expect_one, header, method, status, until, values
from peers import Carrier, Node, call_id, expect_status, reply, request, routes

ANOTHER = "127.0.0.12"  # a carrier that is listed later
RANGE = "1 127.0.3.0 24 0 carrier-range"
ELSEWHERE = "127.0.0.21"  # LiveKit sends from here, too
LISTED = [CARRIER, RANGE, f"2 {ELSEWHERE} 32 0 livekit"]


def run(report, folder, _program):
    node = Node("answer")
    with Edge(folder, "edge", [node.name_of], LISTED) as edge:
        for name, why, flow in FLOWS:
            report.case("flow", name, why, lambda: flow(edge, node))
    node.close()


# --- Calls ---


def begin(carrier, node, **parts):
    """A call that LiveKit has answered: the INVITE as sent, as it arrived, and the 200."""
    node.mode = "answer"
    invite = carrier.request(**parts)
    carrier.send(invite)
    answer = carrier.answer(invite)
    expect(answer is not None and status(answer) == 200, f"the call was answered {answer and status(answer)}")
    carrier.send(within(carrier, invite, answer, "ACK", 1))
    node.wait_for(call_id(invite), "ACK")
    return invite, node.wait_for(call_id(invite)), answer


def within(carrier, invite, answer, verb, cseq, **parts):
    """A request of the carrier inside the call."""
    contact = header(answer, "Contact").strip("<>")
    route = ", ".join(reversed(routes(answer).split(", ")))
    usual = {"ruri": contact, "From": header(invite, "From"), "To": header(answer, "To"), "Call_ID": call_id(invite)}
    return carrier.request(verb, **{**usual, "CSeq": f"{cseq} {verb}", "Route": route, **parts})


def livekit_hangs_up(edge, node, tcp=False):
    with Carrier(edge.address, tcp=tcp) as carrier:
        _, arrived, _ = begin(carrier, node)
        node.ask(arrived, "BYE", 2)
        bye = carrier.expect_request("BYE")
        expect(not values(bye), f"the BYE carries X-To-IP {values(bye)}")
        carrier.send(reply(bye, "200 OK", "X-To-IP: carrier.evil.example\r\n"))
        final = node.answer_to(call_id(arrived), "2 BYE")
        expect(not values(final), f"its answer carries X-To-IP {values(final)}")
    return "BYE and its 200 pass, X-To-IP does not"


def livekit_hangs_up_on_tcp(edge, node):
    return livekit_hangs_up(edge, node, tcp=True)


def livekit_reinvites(edge, node):
    with Carrier(edge.address) as carrier:
        _, arrived, _ = begin(carrier, node)
        node.ask(arrived, "INVITE", 2)
        again = carrier.expect_request("INVITE")
        expect(not values(again), f"the re-INVITE carries X-To-IP {values(again)}")
        # Answers that could be read two ways are not passed on; the one after them is.
        carrier.send(reply(again, "200 OK", "Subject: a\r\n X-To-\xc4\xb0P: carrier.evil.example\r\n"))
        carrier.send(reply(again, "200 OK", "Subject: a\r\n\nX-To-IP: carrier.evil.example\r\n"))
        carrier.send(reply(again, "200 OK", "X-To-IP: carrier.evil.example\r\n"))
        final = node.answer_to(call_id(arrived), "2 INVITE")
        expect(not values(final), f"its answer carries X-To-IP {values(final)}")
        expect(header(final, "Subject") is None, "an ambiguous answer was passed on")
    return "re-INVITE and its 200 pass, X-To-IP does not"


def carrier_in_dialog(edge, node):
    with Carrier(edge.address) as carrier:
        invite, _, answer = begin(carrier, node)
        for cseq, verb in enumerate(["INVITE", "UPDATE", "INFO", "REFER", "OPTIONS", "MESSAGE", "BYE"], 2):
            sent = within(carrier, invite, answer, verb, cseq, more="X-To-IP: evil.com\r\nx-to-ip: evil.com\r\n")
            expect_status(carrier.ask(sent), 200)
            arrived = [at for at in node.of_call(call_id(invite), verb) if header(at, "CSeq") == f"{cseq} {verb}"]
            expect(arrived, f"no {verb} arrived")
            wanted = [IN_CALL] if verb == "INVITE" else []
            expect(values(arrived[0]) == wanted, f"{verb} inside the call carries X-To-IP {values(arrived[0])}")
    return "INVITE arrives with the edge's; UPDATE, INFO, REFER, OPTIONS, MESSAGE and BYE without"


def cancel(edge, node):
    with Carrier(edge.address) as carrier:
        node.mode = "ring"
        invite = carrier.request()
        carrier.send(invite)
        node.wait_for(call_id(invite))
        until(lambda: status(carrier.next()) == 180, 10, "180 at the carrier")
        same = {"Via": header(invite, "Via"), "Call_ID": call_id(invite), "CSeq": "1 CANCEL", "Contact": None}
        carrier.send(carrier.request("CANCEL", **same, more="X-To-IP: evil.com\r\n"))
        seen = {status(carrier.next()), status(carrier.next())}
        expect(seen == {200, 487}, f"answered {seen}, wanted 200 and 487")
        arrived = node.wait_for(call_id(invite), "CANCEL")
        expect(not values(arrived), f"the CANCEL carries X-To-IP {values(arrived)}")
    return "200 to CANCEL, 487 to INVITE"


def retransmitted(edge, node):
    node.mode = "ring"
    with Carrier(edge.address) as carrier:
        invite = carrier.request(more="X-To-IP: evil.com\r\n")
        for _ in range(3):
            carrier.send(invite)
            until(lambda: status(carrier.next()) == 180, 10, "180 at the carrier")
        expect(len(node.of_call(call_id(invite))) == 1, "LiveKit got the same INVITE again")
        expect_one(node.of_call(call_id(invite))[0], "customer-a.com")
    return "LiveKit sees it once"


def segments(edge, node):
    """TCP gives bytes, not messages: one in pieces, two in one piece."""
    node.mode = "busy"
    with Carrier(edge.address, tcp=True) as carrier:
        one, two = (carrier.request(more="X-To-IP: evil.com\r\n") for _ in range(2))
        for at in range(0, len(one), 40):
            carrier.send(one[at : at + 40])
        expect_one(node.wait_for(call_id(one)), "customer-a.com")
        three = carrier.request(more="X-To-IP: evil.com\r\n")
        carrier.send(two + three)
        for sent in (two, three):
            expect_one(node.wait_for(call_id(sent)), "customer-a.com")
    return "each with exactly one X-To-IP"


# --- Dialogs that are none ---


def invented_tag(edge, node):
    """LiveKit takes an INVITE for a new call if it does not know the tag."""
    with Carrier(edge.address) as carrier:
        # The R-URI as in a real re-INVITE, LiveKit's own address; and another domain, with LiveKit in the Route.
        for ruri, hop in [(f"sip:livekit@{node.name_of}", ""), ("sip:+1@customer-b.com", f", <sip:{node.name_of};lr>")]:
            only_ours(edge, node, carrier, ruri=ruri, Route=ours(edge) + hop)
    return f"each with X-To-IP: {IN_CALL}"


def only_ours(edge, node, carrier, **parts):
    """Sends an INVITE as if inside a call; it arrives with the edge's X-To-IP for such, which is no tenant's."""
    node.mode = "busy"
    usual = {"to": "<sip:+1@customer-a.com>;tag=invented", "Route": f"{ours(edge)}, <sip:{node.name_of};lr>"}
    sent = carrier.request(**{"more": "X-To-IP: evil.com\r\n", **usual, **parts})
    carrier.send(sent)
    via = header(sent, "Via").partition("branch=")[2]

    def arrived():
        return [at for at in node.of_call(call_id(sent)) if via in at.decode("latin-1")]

    expect_one(until(arrived, 10, "the INVITE at LiveKit")[0], IN_CALL)


def ours(edge):
    return f"<sip:{ADDRESS}:{edge.address[1]};lr>"


def real_call(edge, node):
    """A call that goes on, with what makes LiveKit take an INVITE for a new one; and the same call after its end."""
    with Carrier(edge.address) as carrier:
        invite, _, answer = begin(carrier, node)
        same = {"ruri": header(answer, "Contact").strip("<>"), "Call_ID": call_id(invite), "to": header(answer, "To")}
        only_ours(edge, node, carrier, **same, CSeq="1 INVITE")
        only_ours(edge, node, carrier, **{**same, "to": "<sip:+1@customer-a.com>;tag=another"}, CSeq="7 INVITE")
        expect_status(carrier.ask(within(carrier, invite, answer, "BYE", 8)), 200)
        only_ours(edge, node, carrier, **same, CSeq="9 INVITE")
    return "an old CSeq, another tag, after BYE: the edge's X-To-IP"


def ringing(edge, node):
    with Carrier(edge.address) as carrier:
        node.mode = "ring"
        invite = carrier.request()
        carrier.send(invite)
        until(lambda: status(carrier.next()) == 180, 10, "180 at the carrier")
        only_ours(edge, node, carrier, Call_ID=call_id(invite), CSeq="2 INVITE")
    return "an invented tag while the call rings: the edge's X-To-IP"


def spelled_otherwise(edge, node):
    with Carrier(edge.address) as carrier:
        only_ours(edge, node, carrier, verb="iNvItE")
        parts = {"to": "<sip:+1@customer-a.com>;tag=invented", "Route": f"{ours(edge)}, <sip:{node.name_of};lr>"}
        sent = carrier.request("\xc4\xb1NVITE", **parts)
        expect_status(carrier.ask(sent), 400)
        expect(not node.of_call(call_id(sent)), "it was relayed")
    return "iNvItE has the edge's X-To-IP, a dotless i is refused"


def elsewhere(edge, node):
    """Where a Route, or the R-URI behind it, leads to: another machine, another port of LiveKit, names."""
    number = node.name_of.split(":")[1]
    other, port = Node("answer", STRANGER, int(number)), Node("answer")
    hops = [other.name_of, port.name_of, "livekit.example", f"localhost:{number}"]
    with Carrier(edge.address) as carrier:
        for hop in hops:
            for verb in ("INFO", "INVITE"):
                tag = {"to": "<sip:+1@customer-a.com>;tag=t", "Call_ID": f"{uuid.uuid4().hex[:12]}-{verb}@elsewhere"}
                by_route = carrier.request(verb, **tag, Route=f"{ours(edge)}, <sip:{hop};lr>")
                by_uri = carrier.request(verb, **tag, ruri=f"sip:x@{hop}", Route=ours(edge))
                expect_status(carrier.ask(by_route), 403)
                expect_status(carrier.ask(by_uri), 403)
        # Where maddr leads to is not asked: the node that the URI names gets it, or nobody.
        maddr, tag = f"{node.name_of};maddr={STRANGER}", {"to": "<sip:+1@customer-a.com>;tag=t"}
        carrier.ask(carrier.request("INFO", **tag, Route=f"{ours(edge)}, <sip:{maddr};lr>"))
        carrier.ask(carrier.request("INFO", **tag, ruri=f"sip:x@{maddr}", Route=ours(edge)))
        begin(carrier, node)
    passed = [method(at) for at, _ in other.received + port.received]
    expect(not passed, f"relayed: {passed}")
    other.close()
    port.close()
    return f"{len(hops)} hops, by Route and by Request-URI: 403"


def only_udp(edge, node):
    """To a listed node, but over another transport: it arrives there over UDP, all that Node speaks."""
    node.mode = "answer"
    with Carrier(edge.address) as carrier:
        for parameter in ("transport=tcp", "transport=TCP", "transport=tls", "transport=sctp", "transport=ws"):
            parts = {"to": "<sip:+1@customer-a.com>;tag=t", "Route": f"{ours(edge)}, <sip:{node.name_of};{parameter};lr>"}
            expect_status(carrier.ask(carrier.request("INFO", **parts)), 200)
            parts = {**parts, "Route": ours(edge), "ruri": f"sip:livekit@{node.name_of};{parameter}"}
            expect_status(carrier.ask(carrier.request("INFO", **parts)), 200)
        sent = carrier.request("INFO", ruri=f"sips:livekit@{node.name_of}", to=parts["to"], Route=ours(edge))
        expect_status(carrier.ask(sent), 200)
    return "transport= and sips: change nothing"


def after_a_restart(edge, node):
    """A call that an edge has forgotten goes on."""
    with Carrier(edge.address) as carrier:
        invite, _, answer = begin(carrier, node)
        forgotten = {"Route": ours(edge), "Call_ID": f"forgotten-{call_id(invite)}"}
        again = within(carrier, invite, answer, "INVITE", 2, **forgotten)
        expect_status(carrier.ask(again), 200)
        expect_one(node.wait_for(call_id(again)), IN_CALL)
        bye = within(carrier, invite, answer, "BYE", 3, **forgotten)
        expect_status(carrier.ask(bye), 200)
    return "re-INVITE and BYE of a forgotten call pass"


# --- Sources ---


def reload(edge, node):
    node.mode = "busy"

    def ask():
        with Carrier(edge.address, ANOTHER) as carrier:
            return carrier.ask(carrier.request())

    expect_status(ask(), 403)
    edge.reload_carriers([*LISTED, ANOTHER])
    expect_status(ask(), 486)
    edge.reload_carriers(LISTED)
    expect_status(ask(), 403)
    return "403, listed: relayed, removed: 403"


def ranges(edge, node):
    node.mode = "busy"
    for address, wanted in [("127.0.3.0", 486), ("127.0.3.255", 486), ("127.0.4.0", 403), ("127.0.2.255", 403)]:
        with Carrier(edge.address, address) as carrier:
            expect_status(carrier.ask(carrier.request()), wanted)
    return "127.0.3.0 and 127.0.3.255 may call, their neighbours not"


def livekit_elsewhere(edge, node):
    """LiveKit sends its BYE from, and has in Contact, an address that only the carriers' list names, as group 2."""
    other = Node("answer", ELSEWHERE)
    with Carrier(edge.address) as carrier:
        invite, arrived, answer = begin(carrier, node)
        again = within(carrier, invite, answer, "INVITE", 2, ruri=f"sip:livekit@{other.name_of}")
        expect_status(carrier.ask(again), 200)
        expect_one(other.wait_for(call_id(invite)), IN_CALL)
        other.ask(arrived, "BYE", 2)
        carrier.send(reply(carrier.expect_request("BYE"), "200 OK"))
        other.answer_to(call_id(arrived), "2 BYE")
        # It is LiveKit, not a carrier.
        other.send(request(Via=f"SIP/2.0/UDP {other.name_of};branch=z9hG4bKother", Call_ID="other@lk"), edge.address)
        expect_status(status(other.answer_to("other@lk", "1 INVITE")), 403)
    other.close()
    return "re-INVITE to it and BYE from it pass; a new INVITE is answered 403"


def stray_answers(edge, node):
    """An answer to nothing, from a stranger or a carrier: Kamailio by itself would send it on to the second Via."""
    with Carrier(edge.address, STRANGER) as stranger, Carrier(edge.address) as carrier:
        vias = [
            f"SIP/2.0/UDP {ADDRESS}:{edge.address[1]};branch=z9hG4bKstray.0",
            f"SIP/2.0/UDP {node.name_of};branch=z9hG4bKs",
        ]
        invite = request(Via=", ".join(vias), Call_ID="stray@test")
        for sender in (stranger, carrier):
            sender.send(reply(invite, "200 OK", "X-To-IP: evil.com\r\n", tag="x"))
        begin(carrier, node)
        expect(not any(call_id(at) == "stray@test" for at, _ in node.received), "it was passed on to LiveKit")
    return "not passed on"


def late_answer(edge, node):
    """LiveKit repeats a 200 until the ACK comes; the edge may have forgotten the call by then."""
    with Carrier(edge.address) as carrier:
        ours_and_theirs = f"SIP/2.0/UDP {ADDRESS}:{edge.address[1]};branch=z9hG4bKlate.0, SIP/2.0/UDP {carrier.here}"
        late = request(Via=f"{ours_and_theirs};branch=z9hG4bKl")
        node.send(reply(late, "200 OK", "X-To-IP: livekit.evil.example\r\n", tag="lk"), edge.address)
        answer = carrier.answer(late)
        expect(answer is not None, "it did not arrive")
        expect(not values(answer), f"it carries X-To-IP {values(answer)}")
    return "passed on, without X-To-IP"


def flood(edge, node):
    before = len(node.requests("INVITE"))
    with Carrier(edge.address, STRANGER) as stranger:
        stranger.socket.settimeout(None)
        for _ in range(3000):
            stranger.send(stranger.request(Call_ID="flood@stranger"))
        node.mode = "busy"
        with Carrier(edge.address) as carrier:
            # The kernel's buffer may be full: what is lost in it, carriers repeat.
            expect_status(status(carrier.insist(carrier.request())), 486)
        answers = 0
        while stranger.next(seconds=0.3):
            answers += 1
    expect(not node.of_call("flood@stranger"), "a stranger's INVITE was relayed")
    lines = edge.log().count("call_id=flood@stranger")
    expect(0 < lines <= 100 and answers <= 100, f"{answers} answers and {lines} lines for 3000 requests")
    expect(len(node.requests("INVITE")) == before + 1, "something else was relayed")
    return f"3000 requests: {answers} answers, {lines} lines; a carrier's call passes"


def flood_of_answers(edge, node):
    bad = reply(request(Via=f"SIP/2.0/UDP {ADDRESS}:{edge.address[1]};branch=z9hG4bKx"), "200 OK", "Subject: a\n\n")
    before, since = lines_of(edge, STRANGER), time.monotonic()
    with Carrier(edge.address, STRANGER) as stranger, Carrier(edge.address) as carrier:
        stranger.socket.settimeout(None)
        for _ in range(3000):
            stranger.send(bad)
        node.mode = "busy"
        expect_status(status(carrier.insist(carrier.request())), 486)
    lines, most = lines_of(edge, STRANGER) - before, 20 + 10 * (time.monotonic() - since)
    expect(lines <= most, f"{lines} lines for 3000 answers")
    return f"3000 answers with bad line ends: {lines} lines"


def lines_of(edge, address):
    return edge.log().count(f"source=udp:{address}:")


def garbage(edge, node):
    before = edge.log()
    with Carrier(edge.address, STRANGER) as stranger, Carrier(edge.address) as carrier:
        for line in [
            b"\r\n",
            b"garbage",
            b"INVITE",
            b"\0" * 40,
            b"INVITE sip:a@b.c SIP/2.0\r\nFrom\nedge: call x_to_ip=forged\r\n\r\n",
        ]:
            stranger.send(line)
        begin(carrier, node)
    expect("forged" not in edge.log()[len(before) :], "a stranger's text is in the log")
    return "nothing of it in the log"


FLOWS = [
    ("carrier-in-dialog", "what may be a new call to LiveKit has one, and ours", carrier_in_dialog),
    ("livekit-hangs-up", "we stay in the dialog", livekit_hangs_up),
    ("livekit-hangs-up-tcp", "a UDP LiveKit reaches a carrier on its connection", livekit_hangs_up_on_tcp),
    ("livekit-reinvites", "", livekit_reinvites),
    ("cancel", "", cancel),
    ("retransmitted", "UDP carriers repeat an INVITE", retransmitted),
    ("tcp-segments", "", segments),
    ("invented-tag-and-route", "LiveKit takes an unknown tag for a new call", invented_tag),
    ("real-call", "LiveKit takes an old CSeq for a new call", real_call),
    ("ringing", "", ringing),
    ("spelled-otherwise", "LiveKit reads methods without case", spelled_otherwise),
    ("route-elsewhere", "a carrier reaches LiveKit through the edge, and nothing else", elsewhere),
    ("route-over-tcp", "over TCP LiveKit would read a body as a request", only_udp),
    ("after-a-restart", "", after_a_restart),
    ("carriers-reload", "", reload),
    ("carriers-by-range", "carriers publish ranges", ranges),
    ("livekit-elsewhere", "behind NAT LiveKit sends from another address", livekit_elsewhere),
    ("stray-answers", "", stray_answers),
    ("late-answer", "", late_answer),
    ("flood-of-a-stranger", "", flood),
    ("flood-of-answers", "", flood_of_answers),
    ("garbage-of-a-stranger", "the core quotes what it cannot parse", garbage),
]
