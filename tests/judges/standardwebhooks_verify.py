"""Verifies deliveries with the official Standard Webhooks library for Python.

In: JSON lines {"secret", "headers", "body", "now"?}; now: the judge's clock, Unix seconds. Out: "ok" or the refusal, one a line."""

import datetime
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError, webhooks


def move_clock(now):
    class Moved(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(now, tz)

    webhooks.datetime = Moved


for line in sys.stdin:
    delivery = json.loads(line)
    if delivery.get("now"):
        move_clock(delivery["now"])
    try:
        Webhook(delivery["secret"]).verify(delivery["body"], delivery["headers"])
        print("ok")
    except WebhookVerificationError as error:
        print(f"refused: {error}")
