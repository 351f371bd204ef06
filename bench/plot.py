"""The picture for the front page: bars on a logarithmic scale, as SVG written by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from bench.figures import Runs, median
from bench.report import LINES, target_names
from bench.targets import GATEWAY

__all__ = ["draw"]

# Of the lines of the report, those that tell most, and what is good.
_PANELS: Mapping[str, str] = {
    "CPU us/event": "CPU per streamed event, µs (less is better)",
    "CPU us/call": "CPU per unary call, µs (less is better)",
    "first event ms": "Time to first event, one stream, ms (less is better)",
    "requests/s": "Requests per second on one core (more is better)",
}
_WIDTH = 760
_LABELS = 190
_BARS = 440
_ROW = 22
_TITLE = 30
_MARGIN = 16


def draw(runs: Runs) -> str:
    """The picture of a run."""
    parts: list[str] = []
    top = float(_MARGIN)
    for name, title in _PANELS.items():
        load, value = LINES[name]
        found = [(target, median(runs, load, target, value)) for target in target_names(runs)]
        bars = [(target, height) for target, height in found if height]
        if not bars:
            continue
        parts.append(f'<text x="{_MARGIN}" y="{top + 16}" class="title">{escape(title)}</text>')
        top += _TITLE
        least, most = min(height for _, height in bars), max(height for _, height in bars)
        for target, height in bars:
            parts.append(_bar(target, height, least, most, top))
            top += _ROW
        top += _MARGIN
    style = (
        "text{font:13px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}"
        ".ours{fill:#c15f3c}.others{fill:#8b949e}"
    )
    size = f'width="{_WIDTH}" height="{top:.0f}" viewBox="0 0 {_WIDTH} {top:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>\n' + "\n".join(parts) + "\n</svg>\n"


def _bar(target: str, height: float, least: float, most: float, top: float) -> str:
    # A decade below the least is where the scale begins, so that every bar can be seen.
    width = _BARS * math.log10(height / least * 10) / math.log10(most / least * 10)
    kind = "ours" if target.startswith(GATEWAY) else "others"
    number = f"{height:,.0f}" if height >= 10 else f"{height:.2g}"  # noqa: PLR2004 # two digits tell enough
    return (
        f'<text x="{_LABELS}" y="{top + 14}" text-anchor="end">{escape(target)}</text>'
        f'<rect x="{_LABELS + 8}" y="{top + 2}" width="{width:.0f}" height="{_ROW - 6}" rx="2" class="{kind}"/>'
        f'<text x="{_LABELS + 14 + width:.0f}" y="{top + 14}">{number}</text>'
    )
