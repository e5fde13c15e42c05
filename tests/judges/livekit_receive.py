"""Receives as LiveKit's official SDK does.

In: JSON lines {"key", "secret", "authorization", "body"}. Out: the event's name a line, or the fault."""

import json
import sys

from livekit.api import TokenVerifier, WebhookReceiver

for line in sys.stdin:
    post = json.loads(line)
    receiver = WebhookReceiver(TokenVerifier(post["key"], post["secret"]))
    try:
        print(receiver.receive(post["body"], post["authorization"]).event)
    except Exception as fault:  # whatever it is, the test is to see it
        print(f"{type(fault).__name__}: {fault}")
