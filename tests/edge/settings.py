"""The settings: every combination, what is missing, and the addresses that the two sides see."""

import ipaddress
import itertools
import re
import socket

from edge import ADDRESS, CARRIER, CONFIG, Edge, check, free_port
from flows import begin
from judge import expect, expect_one, header
from peers import Carrier, Node, call_id, reply, routes

EXAMPLES = CONFIG.parent


def run(report, folder, _program):
    for name, why, setting in SETTINGS:
        report.case("setting", name, why, lambda: setting(folder))


def sides(folder):
    """EDGE_PUBLIC towards carriers, EDGE_INSIDE towards LiveKit."""
    node, inside = Node("answer"), f"{ADDRESS}:{free_port(ADDRESS)}"
    with Edge(folder, "sides", [node.name_of], EDGE_PUBLIC="198.51.100.10:5070", EDGE_INSIDE=inside) as edge:
        with Carrier(edge.address) as carrier:
            _, arrived, answer = begin(carrier, node)
            expect(inside in header(arrived, "Via"), f"LiveKit sees {header(arrived, 'Via')}")
            inner, outer = routes(arrived).split(", ")
            expect(inside in inner and "198.51.100.10:5070" in outer, f"Record-Route {routes(arrived)}")
            expect("198.51.100.10:5070" in routes(answer), "carriers do not see the public address")
            node.ask(arrived, "BYE", 2)
            bye = carrier.expect_request("BYE")
            expect("198.51.100.10:5070" in header(bye, "Via"), f"carriers see {header(bye, 'Via')}")
            carrier.send(reply(bye, "200 OK"))
            node.answer_to(call_id(arrived), "2 BYE")
    node.close()
    return "LiveKit sees EDGE_INSIDE, carriers EDGE_PUBLIC; BYE passes"


def one_machine(folder):
    """LiveKit's address is a carrier's, too: LiveKit on the machine that the operator makes a first call from."""
    node = Node("answer", CARRIER)
    with Edge(folder, "one-machine", [node.name_of]) as edge, Carrier(edge.address) as carrier:
        _, arrived, _ = begin(carrier, node)
        expect_one(arrived, "customer-a.com")
        node.ask(arrived, "BYE", 2)
        carrier.send(reply(carrier.expect_request("BYE"), "200 OK"))
        node.answer_to(call_id(arrived), "2 BYE")
    node.close()
    return "calls pass, and LiveKit hangs up"


def listed_with_tcp(folder):
    """Nobody answers its pings over TCP here, but the edge needs 5 s to find that out."""
    node = Node("answer")
    address, port = node.name_of.split(":")
    with socket.create_server((address, int(port))):
        with Edge(folder, "tcp", [f"{node.name_of};transport=tcp"]) as edge, Carrier(edge.address) as carrier:
            _, arrived, _ = begin(carrier, node)
            expect_one(arrived, "customer-a.com")
    node.close()
    return "its calls go over UDP"


def every_option(folder):
    (folder / "carriers.list").write_text("1 127.0.0.11 32 0 a\n")
    (folder / "livekit.list").write_text("1 sip:127.0.0.20:5060 0 0\n")
    usual = {
        "EDGE_LISTEN": "127.0.0.10:5060",
        "EDGE_CARRIERS": f"{folder}/carriers.list",
        "EDGE_LIVEKIT": f"{folder}/livekit.list",
    }
    options = [
        ("EDGE_LISTEN6", "[::1]:5060"),
        ("EDGE_PUBLIC", "198.51.100.10:5070"),
        ("EDGE_INSIDE", "127.0.0.10:5062"),
    ]
    tried = 0
    for size in range(len(options) + 1):
        for chosen in itertools.combinations(options, size):
            code, said = check({**usual, **dict(chosen)})
            expect(code == 0, f"kamailio -c with {dict(chosen)} ends with {code}: {said}")
            expect(not any(word in said for word in ("ERROR", "WARNING", "CRITICAL")), f"with {dict(chosen)}: {said}")
            tried += 1
    return f"`kamailio -c` is clean with all {tried} combinations"


def shipped(folder):
    """The files as they are: edge.env with every option on, and lists of the form Kamailio reads."""
    named = re.findall(r"(?m)^(?:# )?(EDGE_\w+)=(\S+)$", (EXAMPLES / "edge.env").read_text())
    known = re.findall(r"(?m)^#!(?:try)?defenvs? (EDGE_\w+)$", CONFIG.read_text())
    expect(
        sorted(dict(named)) == sorted(known),
        f"edge.env names {sorted(dict(named))}, kamailio.cfg reads {sorted(known)}",
    )
    lists = {"EDGE_CARRIERS": str(EXAMPLES / "carriers.list"), "EDGE_LIVEKIT": str(EXAMPLES / "livekit.list")}
    code, said = check({**dict(named), **lists})
    expect(code == 0 and "ERROR" not in said, said)
    for line in rows("carriers.list"):
        group, address, bits, port, _name = line.split()
        ipaddress.ip_network(f"{address}/{bits}")
        expect(group in ("1", "2") and port == "0", line)
    for line in rows("livekit.list"):
        expect(re.fullmatch(r"1 sip:[\d.]+:\d+ 0 0", line), line)
    return "edge.env names what kamailio.cfg reads; the lists are well-formed"


def rows(name):
    """The lines of an example list, those commented out included."""
    lines = (EXAMPLES / name).read_text().splitlines()
    return [line.removeprefix("# ") for line in lines if re.match(r"(# )?\d ", line)]


def missing_setting(folder):
    code, said = check({})
    expect(code != 0, "Kamailio started without EDGE_LISTEN")
    expect("env variable not defined [EDGE_LISTEN]" in said, said)
    return "env variable not defined [EDGE_LISTEN]"


def missing_list(folder):
    edge = Edge(folder, "missing", [])
    edge.carriers.unlink()
    try:
        with edge:
            pass
    except Exception as error:
        expect("carriers.list" in str(error), f"the reason names no file: {error}")
        return "it does not start, and names the file"
    expect(False, "Kamailio runs without a list of carriers")


SETTINGS = [
    ("public-and-inside", "behind NAT carriers and LiveKit see different addresses", sides),
    ("one-machine", "an address may be a carrier's and LiveKit's", one_machine),
    ("listed-with-tcp", "over TCP one bad INVITE would end the calls of all", listed_with_tcp),
    ("every-option", "", every_option),
    ("shipped", "an example that does not work is worse than none", shipped),
    ("missing-setting", "", missing_setting),
    ("missing-list", "", missing_list),
]
