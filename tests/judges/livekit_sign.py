"""Signs bodies with LiveKit's official SDK.

In: JSON lines {"key", "secret", "body"}. Out: one token a line."""

import base64
import hashlib
import json
import sys

from livekit.api import AccessToken

for line in sys.stdin:
    post = json.loads(line)
    digest = hashlib.sha256(post["body"].encode()).digest()
    token = AccessToken(post["key"], post["secret"]).with_sha256(base64.b64encode(digest).decode())
    print(token.to_jwt())
