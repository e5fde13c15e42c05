"""Reads CSV as the standard library does, strictly; prints its rows as JSON."""

import csv
import io
import json
import sys

text = sys.stdin.buffer.read().decode()
assert text.endswith("\r\n") and "\n" not in text.replace("\r\n", "")
print(json.dumps(list(csv.DictReader(io.StringIO(text, newline=""), strict=True))))
