"""LiveKit nodes that are silent, busy ending, away and back. Ports of Node: what each mode answers."""

import threading
import time

from edge import Edge
from judge import expect, expect_one, until
from peers import Carrier, Node, call_id, expect_status

BUDGET = 8  # seconds until pings have found a node dead or alive: every 2 s, given up after 3 s


def run(report, folder, _program):
    one, two = Node("answer"), Node("answer")
    with Edge(folder, "edge", [one.name_of, two.name_of]) as edge:
        for name, why, flow in FLOWS:
            report.case("node", name, why, lambda: flow(edge, one, two))
    one.close()
    two.close()


def call(edge):
    """One call: its id, how it was answered, after how many seconds."""
    since = time.monotonic()
    with Carrier(edge.address) as carrier:
        invite = carrier.request(more="X-To-IP: evil.com\r\n")
        answered = carrier.ask(invite, seconds=15)
        return call_id(invite), answered, time.monotonic() - since


def several(edge, *nodes, count=4):
    """Calls at the same time, each begun when the one before it has reached a node: nodes take turns, so each is
    asked first by every second call."""
    results, threads = [], []
    for _ in range(count):
        before = tried(nodes)
        threads.append(threading.Thread(target=lambda: results.append(call(edge))))
        threads[-1].start()
        until(lambda: tried(nodes) > before, 10, "an INVITE at some node")
    for thread in threads:
        thread.join()
    expect(len(results) == count, "a call was not placed")
    return results


def tried(nodes):
    return sum(len(node.requests("INVITE")) for node in nodes)


def all_arrive(calls, node):
    for wanted, answered, _ in calls:
        expect_status(answered, 200)
        expect_one(node.wait_for(wanted), "customer-a.com")


def logged(edge, line):
    expect(line in edge.log(), f"not in the log: {line}")


def turns(edge, one, two):
    all_calls = several(edge, one, two)
    for _, answered, _ in all_calls:
        expect_status(answered, 200)
    shares = [len([wanted for wanted, _, _ in all_calls if node.of_call(wanted)]) for node in (one, two)]
    expect(shares == [2, 2], f"shares {shares}")
    return "2 calls each"


def silent(edge, one, two):
    """It answers pings, but no INVITE."""
    one.mode = "hung"
    calls = several(edge, one, two)
    all_arrive(calls, two)
    slowest = max(seconds for _, _, seconds in calls)
    expect(any(one.of_call(wanted) for wanted, _, _ in calls), "no call tried the silent node")
    expect(2 < slowest < 8, f"after {slowest:.1f} s")
    expect(edge.used(one.name_of), "calls alone took the node out of use")
    logged(edge, f"failed node=sip:{one.name_of} status=408")
    logged(edge, f"retried node=sip:{two.name_of}")
    one.mode = "answer"
    return f"next node, same X-To-IP, after {slowest:.1f} s; the node stays in use"


def draining(edge, one, two):
    one.mode = "unavailable"
    calls = several(edge, one, two)
    all_arrive(calls, two)
    logged(edge, f"failed node=sip:{one.name_of} status=503")
    one.mode = "answer"
    return f"next node at once ({max(seconds for _, _, seconds in calls):.1f} s)"


def all_silent(edge, one, two):
    one.mode = two.mode = "hung"
    _, answered, seconds = call(edge)
    one.mode = two.mode = "answer"
    expect_status(answered, 503)
    expect(seconds < 9, f"after {seconds:.1f} s")
    return f"503 after {seconds:.1f} s"


def declined(edge, one, two):
    """An answer of LiveKit is the answer: no second node is asked."""
    one.mode = two.mode = "busy"
    wanted, answered, _ = call(edge)
    one.mode = two.mode = "answer"
    expect_status(answered, 486)
    expect(len(one.of_call(wanted)) + len(two.of_call(wanted)) == 1, "both nodes were asked")
    return "486 is passed on, one node asked"


def found_dead(edge, one, two):
    one.mode, since = "dead", time.monotonic()
    until(lambda: not edge.used(one.name_of), BUDGET, "the dead node is out of use")
    found = time.monotonic() - since
    calls = several(edge, one, two)
    all_arrive(calls, two)
    expect(not any(one.of_call(wanted) for wanted, _, _ in calls), "a call tried the dead node")
    return f"after {found:.1f} s; the next calls skip it ({max(seconds for _, _, seconds in calls):.1f} s)"


def all_dead(edge, one, two):
    two.close()  # refuses: nobody listens
    until(lambda: not edge.used(two.name_of), BUDGET, "the second node is out of use")
    _, answered, seconds = call(edge)
    expect_status(answered, 503)
    expect(seconds < 2, f"after {seconds:.1f} s")
    with Carrier(edge.address) as carrier:
        expect_status(carrier.ask(carrier.request("OPTIONS")), 503)
    return f"503 to calls at once ({seconds:.1f} s), and to OPTIONS"


def back(edge, one, two):
    one.mode, since = "answer", time.monotonic()
    until(lambda: edge.used(one.name_of), BUDGET, "the node is in use again")
    found = time.monotonic() - since
    calls = several(edge, one, two)
    all_arrive(calls, one)
    return f"it takes calls again after {found:.1f} s, without a restart"


FLOWS = [
    ("turns", "every node takes its share", turns),
    ("silent", "a hung node costs seconds, not calls", silent),
    ("draining", "503: another node has room", draining),
    ("declined", "a busy callee is no dead node", declined),
    ("all-silent", "the carrier learns it in time to try elsewhere", all_silent),
    ("found-dead", "pings find it, so calls need not", found_dead),
    ("all-dead", "", all_dead),
    ("back", "", back),
]
