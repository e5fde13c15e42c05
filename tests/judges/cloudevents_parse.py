"""Parses deliveries with the official CloudEvents SDK for Python.

In: JSON lines {"headers", "body"}. Out: a line of JSON with the attributes and the data, or {"fault"}."""

import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event

for line in sys.stdin:
    delivery = json.loads(line)
    try:
        event = from_http_event(HTTPMessage(delivery["headers"], delivery["body"].encode()))
        print(json.dumps(event.get_attributes() | {"data": event.get_data()}, default=lambda time: time.isoformat()))
    except Exception as fault:  # whatever it is, the test is to see it
        print(json.dumps({"fault": f"{type(fault).__name__}: {fault}"}))
