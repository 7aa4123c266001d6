"""What a notebook shows of a run: progress, explained variance and a map, without any further library."""

from __future__ import annotations

import html
import sys
from typing import Any, Sequence

import numpy as np

from .errors import printable
from .report_figures import by_label, plane

WIDTH, HEIGHT, MARGIN = 640, 360, 56
LINE = 100
BARS = 30
DOTS = 4000
COLOURS = ("#0d5575", "#e96200", "#23a761", "#d54dbc", "#714300", "#6176f7", "#4f248d", "#871034")
REST = "#7f867b"


class Screen:
    """Takes the moving line of a Progress into the output of a cell, which knows no other control than the carriage return."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        line = text.replace("\r\x1b[K", "").rstrip("\n")
        sys.stdout.write("\r" + line.ljust(LINE) + ("\n" if text.endswith("\n") else ""))

    def flush(self) -> None:
        sys.stdout.flush()


class Figure:
    """An SVG that a notebook shows; its text has the colour of the page, light or dark."""

    def __init__(self, title: str, marks: Sequence[str], height: int = HEIGHT) -> None:
        self._svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" style="font: 12px sans-serif; fill: currentColor; max-width: 100%">'
            f"<title>{_text(title)}</title>{''.join(marks)}</svg>"
        )

    def _repr_html_(self) -> str:
        return self._svg


class Page:
    """A whole HTML page, as large as a window, in the output of a cell."""

    def __init__(self, page: bytes) -> None:
        self._page = page.decode("utf-8")

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{html.escape(self._page)}" style="width: 100%; height: 80vh; border: 0"></iframe>'


def variance(ratio: Any) -> Figure:
    """Bars of the share of the total variance that each component explains, and a line of their sum; ratio [k]."""
    shares = np.asarray(ratio, dtype=np.float64)[:BARS]
    low, high = HEIGHT - MARGIN, MARGIN / 2
    step = (WIDTH - 2 * MARGIN) / max(1, len(shares))
    marks = _axes("component", "share of the variance")
    points = []
    for number, (share, total) in enumerate(zip(shares.tolist(), np.cumsum(shares).tolist())):
        left, top, sum_at = MARGIN + number * step, low - share * (low - high), low - total * (low - high)
        told = f"component {number + 1}: {share:.1%}; together {total:.1%}"
        marks.append(
            f'<rect x="{left + step * 0.1:.1f}" y="{top:.1f}" width="{step * 0.8:.1f}" height="{low - top:.1f}" '
            f'fill="{COLOURS[0]}"><title>{told}</title></rect>'
        )
        points.append(f"{left + step / 2:.1f},{sum_at:.1f}")
    marks.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{COLOURS[1]}" stroke-width="2"/>')
    for share in (0.0, 0.5, 1.0):
        marks.append(f'<text x="{MARGIN - 6}" y="{low - share * (low - high) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    return Figure("Explained variance", marks)


def scatter(rows: Sequence[tuple[str, str]], scores: Any, ratio: Any) -> Figure:
    """A map of the images by their first two components; rows are the (key, label) of scores [n, k]."""
    flat = plane(np.asarray(scores, dtype=np.float64))
    groups = by_label(rows)
    colour = {label: COLOURS[rank] if rank < len(COLOURS) else REST for rank, label in enumerate(groups)}
    shares = [f"component {axis + 1} ({share:.1%})" for axis, share in enumerate(np.asarray(ratio)[:2].tolist())]
    marks = _axes(*[*shares, "", ""][:2])
    for row in range(0, len(rows), -(-len(rows) // DOTS) or 1):
        key, label = rows[row]
        x, y = MARGIN + flat[row, 0] * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - flat[row, 1] * (HEIGHT - 1.5 * MARGIN)
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour[label]}" fill-opacity="0.75">')
        marks.append(f"<title>{_text(key)} ({_text(label or 'no label')})</title></circle>")
    for rank, (label, members) in enumerate(list(groups.items())[: len(COLOURS)]):
        x, y = MARGIN + rank % 4 * WIDTH / 4.5, HEIGHT + 8 + rank // 4 * 20
        marks.append(f'<circle cx="{x:.0f}" cy="{y}" r="5" fill="{colour[label]}"/>')
        marks.append(f'<text x="{x + 10:.0f}" y="{y + 4}">{_text(label[:16] or "no label")} ({len(members):,})</text>')
    more = len(groups) - len(COLOURS)
    if more > 0:
        marks.append(f'<text x="{MARGIN}" y="{HEIGHT + 52}">and {more:,} more labels, in grey</text>')
    return Figure("The images by their first two components", marks, HEIGHT + 60)


def _axes(below: str, beside: str) -> list[str]:
    low, middle = HEIGHT - MARGIN, (HEIGHT - MARGIN) / 2
    return [
        f'<path d="M{MARGIN} {MARGIN / 2}V{low}H{WIDTH - MARGIN}" fill="none" stroke="currentColor" opacity="0.5"/>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">{_text(below)}</text>',
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{_text(beside)}</text>',
    ]


def _text(value: str) -> str:
    """Text for SVG: markup is escaped, and what no document may hold is written out."""
    return html.escape(printable(value))
