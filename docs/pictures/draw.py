#!/usr/bin/env python3
"""Draws the pictures of the README: flow.svg, and demo.svg from demo.ansi.

    docs/pictures/draw.py                      draws both
    docs/pictures/draw.py --check              exits 1 if a committed picture is not what this script draws
    docs/pictures/draw.py --capture PROGRAM    first runs `PROGRAM demo` on a terminal of 100 columns into demo.ansi

Python's standard library is enough. The same input gives the same bytes, so a test can compare them.
"""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from xml.dom import minidom
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
SANS = "-apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"

# Colours in light and in dark mode; GitHub shows the picture in the reader's mode.
LIGHT = {"paper": "#ffffff", "ink": "#1f2328", "dim": "#59636e", "line": "#818b98", "box": "#f6f8fa",
         "accent": "#0969da", "green": "#116329", "yellow": "#7d4e00"}
DARK = {"paper": "#0d1117", "ink": "#e6edf3", "dim": "#9198a1", "line": "#656c76", "box": "#161b22",
        "accent": "#4493f8", "green": "#56d364", "yellow": "#e3b341"}


def style(font, size):
    """The style sheet: one class per colour, for text and for shapes."""
    def rules(colours):
        text = "".join(f".{name}{{fill:{value}}}" for name, value in colours.items())
        shapes = (f".shape{{fill:{colours['box']};stroke:{colours['line']}}}"
                  f".main{{fill:{colours['paper']};stroke:{colours['accent']};stroke-width:2}}"
                  f".arrow{{fill:none;stroke:{colours['line']};stroke-width:1.5}}"
                  f".frame{{fill:{colours['paper']};stroke:{colours['line']}}}")
        return text + shapes
    return (f"<style>text{{font-family:{font};font-size:{size}px;white-space:pre}}.bold{{font-weight:600}}"
            f"{rules(LIGHT)}@media (prefers-color-scheme:dark){{{rules(DARK)}}}</style>")


def picture(width, height, title, font, size, parts):
    """A whole SVG file."""
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-labelledby="title">')
    marker = ('<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
              'orient="auto"><path class="line" d="M0 0 8 4 0 8z"/></marker></defs>')
    return "\n".join([head, f'<title id="title">{escape(title)}</title>', style(font, size), marker,
                      *parts, "</svg>", ""])


# --- flow.svg ---

def text(x, y, words, kind="ink", anchor="middle"):
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x, y, width, height, title, *lines, kind="shape"):
    """A box with its name and what happens in it, centred."""
    middle, top = x + width / 2, y + 24
    parts = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" class="{kind}"/>',
             text(middle, top, title, "ink bold")]
    parts += [text(middle, top + 19 * number, line, "dim") for number, line in enumerate(lines, 1)]
    return "\n".join(parts)


def arrow(path):
    return f'<path class="arrow" marker-end="url(#tip)" d="{path}"/>'


def flow():
    parts = [
        box(16, 16, 140, 76, "Carrier", "a caller dials", "a tenant's number"),
        arrow("M156 54H228"), text(192, 46, "SIP", "dim"),
        box(230, 16, 218, 76, "Edge (Kamailio)", "writes the dialled domain", "into the header X-To-IP"),
        arrow("M448 54H520"), text(484, 46, "SIP", "dim"),
        box(522, 16, 362, 76, "LiveKit + SIP", "shows the header as an attribute of the caller:",
            "sip.h.x-to-ip = calls.acme.example"),
        '<rect x="16" y="172" width="868" height="142" rx="10" class="main"/>',
        text(32, 196, "Switchhook", "accent bold", "start"),
        # The event comes in, the answer goes out.
        arrow("M546 92V140H172V214"), text(358, 132, "POST /webhook: every event of every room, one URL", "dim"),
        arrow("M610 214V96"), text(622, 158, "200, after the commit", "dim", "start"),
        box(32, 216, 176, 82, "verify", "LiveKit's token and", "the hash of the body"),
        arrow("M208 257H242"),
        box(244, 216, 190, 82, "decide", "domain → hook → tenant;", "the call follows its caller"),
        arrow("M434 257H468"),
        box(470, 216, 190, 82, "store", "one SQLite transaction,", "written to disk"),
        arrow("M660 257H694"),
        box(696, 216, 172, 82, "deliver", "in order per call,", "retried for 24 h"),
        arrow("M782 298V340H424V366"), arrow("M612 340V366"), arrow("M782 340V366"),
        text(408, 336, "POST, signed with the tenant's own secret:", "dim", "end"),
        text(408, 355, "HMAC-SHA256 (Standard Webhooks)", "dim", "end"),
        box(340, 368, 168, 56, "acme", "api.acme.example"),
        box(528, 368, 168, 56, "globex", "hooks.globex.example"),
        box(716, 368, 168, 56, "initech", "initech.example"),
    ]
    title = "A call passes carrier, edge and LiveKit; Switchhook verifies, decides, stores and delivers its events"
    return picture(900, 440, title, SANS, 14, parts)


# --- demo.svg ---

COLUMNS, ADVANCE, LEADING = 100, 7.7, 18
# What the picture shows of the screen: from the first line that matches, so many lines.
SHOTS = [(r"^LiveKit", 13), (r"RM_tGeX.*held", 5), (r"failed, again in 1", 1), (r"unrouted: no_hook", 2),
         (r"initech +3 +200", 4), (r"router killed", 5), (r"events in", 9)]
COLOURS = {"0": "ink", "1": "ink bold", "2": "dim", "32": "green", "33": "yellow"}


def excerpt(screen):
    """The lines of the picture; an ellipsis where lines are left out."""
    lines, shown, last = screen.splitlines(), [], 0
    for pattern, count in SHOTS:
        first = next(number for number, line in enumerate(lines) if number >= last and re.search(pattern, line))
        if first > last:
            shown.append("\x1b[2m   …\x1b[0m")
        last = min(first + count, len(lines))
        shown += lines[first:last]
    return shown


def demo():
    parts, height, columns = [], 0, COLUMNS
    for number, line in enumerate(excerpt((HERE / "demo.ansi").read_text(encoding="utf-8"))):
        colour = re.match(r"\x1b\[(\d+)m", line)
        words = re.sub(r"\x1b\[\d*m", "", line).rstrip()
        columns = max(columns, len(words))
        height = 28 + LEADING * (number + 1)
        if words:
            parts.append(f'<text x="16" y="{height - 6}" class="{COLOURS[colour[1] if colour else "0"]}" '
                         f'textLength="{len(words) * ADVANCE:.1f}" xml:space="preserve">{escape(words)}</text>')
    width, height = round(columns * ADVANCE) + 32, height + 12
    frame = f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" class="frame"/>'
    return picture(width, height, "The screen of `switchhook demo`, shortened", MONO, 12.8, [frame, *parts])


def capture(program):
    """Runs the demonstration on a terminal, so that it shows colours."""
    reader, terminal = pty.openpty()
    command = f"stty cols {COLUMNS} && exec '{program}' demo"
    child = subprocess.Popen(["sh", "-c", command], stdin=terminal, stdout=terminal)
    os.close(terminal)
    printed = b""
    try:
        while piece := os.read(reader, 65536):
            printed += piece
    except OSError:
        pass  # Linux answers EIO once the other end is closed.
    if child.wait() != 0:
        sys.exit(f"{program} demo failed")
    (HERE / "demo.ansi").write_bytes(printed.replace(b"\r\n", b"\n"))


def main(arguments):
    if arguments[:1] == ["--capture"]:
        capture(arguments[1])
    wrong = []
    for name, draw in (("flow.svg", flow), ("demo.svg", demo)):
        drawn = draw()
        minidom.parseString(drawn)  # Ends here if it is not well-formed.
        if arguments != ["--check"]:
            (HERE / name).write_text(drawn, encoding="utf-8")
        elif (HERE / name).read_text(encoding="utf-8") != drawn:
            wrong.append(name)
    if wrong:
        sys.exit(f"{', '.join(wrong)}: not what docs/pictures/draw.py draws; run it")


main(sys.argv[1:])
