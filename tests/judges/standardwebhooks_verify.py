"""Verifies deliveries with the official Standard Webhooks library for Python.

In: JSON lines {"secret", "headers", "body"}. Out: "ok" or the refusal, one a line."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    delivery = json.loads(line)
    try:
        Webhook(delivery["secret"]).verify(delivery["body"], delivery["headers"])
        print("ok")
    except WebhookVerificationError as error:
        print(f"refused: {error}")
