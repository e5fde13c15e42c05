"""What a case is, how its outcome is printed, and the few checks all groups share."""

import re
import threading
import time

# A name at the beginning of a line, for the most generous parser: any line end, any white space around the name.
OURS = re.compile(rb"^[\s\0]*x-to-ip[\s\0]*:[ \t]*(.*?)[ \t]*$", re.I | re.S)
LINE_ENDS = re.compile(rb"\r\n|\r|\n|\0|\v|\f")


# What the edge writes into an INVITE inside a call: a name that no tenant can have (RFC 6761 §6.4).
IN_CALL = "in-call.invalid"


class Failed(Exception):
    """A case did not go as its table says."""


def expect(condition, reason):
    if not condition:
        raise Failed(reason)


def until(condition, seconds, what):
    """Waits for the condition, and gives what it returned. Fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        expect(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.02)


def values(message):
    """The values of every X-To-IP in the head or body, as the most generous parser would find them."""
    found = (OURS.match(line) for line in LINE_ENDS.split(message))
    return [match.group(1).decode("latin-1") for match in found if match]


def header(message, name):
    """The first header of that name, byte for byte, without the spaces around it."""
    for line in message.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name.lower().encode():
            return value.strip().decode("latin-1")
    return None


def method(message):
    """As LiveKit reads it: without case, by Unicode's rules."""
    return message.split(b" ", 1)[0].decode("utf-8", "replace").upper()


def status(message):
    return int(message.split(b" ", 2)[1]) if message.startswith(b"SIP/2.0 ") else None


def expect_one(invite, value):
    """Exactly one X-To-IP, this one, and no header that only resembles it."""
    expect(values(invite) == [value], f"X-To-IP arrived as {values(invite)}, wanted [{value!r}]")
    names = [line.partition(b":")[0] for line in invite.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    alike = [name for name in names if b"x-to-ip" in name.lower()]
    expect(alike == [b"X-To-IP"], f"headers {alike}")


class Report:
    """Prints a line per case, and counts. Used by several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.passed, self.failed = 0, []
        self.written = set()  # every X-To-IP value that arrived

    def case(self, group, name, why, run):
        since = time.monotonic()
        try:
            said = run() or ""
            problem = None
        except Failed as failed:
            said, problem = str(failed), failed
        except Exception as error:  # a broken harness must not pass for a passed case
            said, problem = f"{type(error).__name__}: {error}", error
        with self.lock:
            verdict = "FAIL" if problem else "ok"
            seconds = time.monotonic() - since
            print(
                f"{verdict:4} {group:9} {name:26} {seconds:5.1f} s  {(said or why) if problem else (said or why)[:90]}",
                flush=True,
            )
            if problem:
                print(f"                      why it matters: {why}", flush=True)
                self.failed.append(f"{group} {name}")
            else:
                self.passed += 1
        return problem is None

    def arrived(self, value):
        with self.lock:
            self.written.add(value)
        return f"X-To-IP: {value}"
