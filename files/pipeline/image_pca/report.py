"""The report of a run: one HTML file that a person opens, without a network and without anything beside it.

`pick_thumbnails` says which pictures the report needs, `render` makes the page. The page carries its styles, its
script and its data; a content security policy inside it forbids every request and every other script, so that
keys, labels and reasons cannot become more than text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

import jinja2
import numpy as np
from markupsafe import Markup

from . import report_figures as figures
from . import report_more as more
from . import report_text as text

TEMPLATES = Path(__file__).resolve().parent / "templates"
SCRIPTS = ("base.js", "scatter.js", "controls.js", "variance.js", "tables.js")
DRAWN_POINTS = 2500
"""Points that the scatter draws at most; above that it shows a sample and says so."""
AXES = 10
"""Components to choose from for the scatter's axes."""
SHARES = (0.80, 0.90, 0.95)
REJECTED_ROWS = 1000
PICTURE_BYTES = 4_000_000
"""Size of all pictures together, as data URIs; later ones are left out."""
_LARGE_END = 3
RATE_DIGITS = 10


@dataclass(frozen=True)
class ReportData:
    """What a run tells the report.

    `rows` are (key, label) of the n rows of `scores` [n, k]; `explained_variance_ratio` [k] are shares of the total
    variance. `rejected` holds dicts with key, label, stage, reason, bytes. `thumbnails` maps a key to an encoded
    picture or its data URI, the most wanted first. `accounting` has listed, rows and rejected; `seconds` the time of each stage.
    `errors` [n] are distances of the rows from their reconstructions, `changes` what comparison.changes_since found,
    `computed` counts the images whose features are new.
    """

    run_id: str
    title: str
    rows: Sequence[tuple[str, str]]
    scores: np.ndarray
    explained_variance_ratio: np.ndarray
    rejected: Sequence[Mapping[str, Any]] = ()
    thumbnails: Mapping[str, str | bytes] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    accounting: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    errors: np.ndarray | None = None
    changes: Mapping[str, Any] | None = None
    computed: int | None = None


def pick_thumbnails(
    rows: Sequence[tuple[str, str]], scores: np.ndarray, limit: int, errors: np.ndarray | None = None
) -> list[str]:
    """Return the keys of at most `limit` rows whose pictures the report wants, the most wanted first.

    First those at the ends of the first components (what the strips show), then outliers and neighbours, then one of each
    label, then an even spread over the plane of the first two. `scores` is [n, k], in the order of `rows` (key, label).
    """
    scores = np.asarray(scores, dtype=np.float64)
    shown = list(dict.fromkeys([*_end_rows(scores), *more.find(rows, scores, errors).rows]))
    chosen = figures.spread(rows, scores, shown, max(0, limit)) if len(rows) else []
    return [rows[index][0] for index in chosen]


def render(data: ReportData) -> str:
    """Return the whole page as text. Raises ValueError when the rows and the scores are not of one length."""
    scores = np.asarray(data.scores, dtype=np.float64)
    if scores.ndim != 2 or len(scores) != len(data.rows):  # noqa: PLR2004 — a matrix
        raise ValueError(f"scores of shape {scores.shape} do not fit {len(data.rows)} rows")
    groups = figures.by_label(data.rows)
    pictures = _pictures(data.thumbnails)
    where = {key: index for index, (key, _) in enumerate(data.rows)}
    beyond = more.find(data.rows, scores, data.errors)
    must = [
        *_end_rows(scores),
        *beyond.rows,
        *(where[key] for key in pictures if key in where),
    ]
    drawn = figures.drawn(data.rows, list(dict.fromkeys(must)), DRAWN_POINTS)
    payload, thumbs = _payload(data, scores, groups, pictures, drawn)
    script = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";(function () {{\n{script}\n}})();'
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            script=Markup(script),  # noqa: S704 — our own file
            style=Markup(style),  # noqa: S704 — our own file
            script_hash=_hash(script),
            style_hash=_hash(style),
            payload=Markup(_json(payload)),  # noqa: S704 — _json leaves no markup
            strips=_strips(data, scores, groups, drawn, thumbs),
            labels=_labels(data, groups),
            labelled=len(groups),
            variance=_variance(data),
            more=beyond.sections(_tiles(data, drawn, thumbs)),
            changes=more.shown_changes(data.changes, figures.finite_or_none(np.asarray(data.explained_variance_ratio))),
            rates=more.rates(data.seconds, data.accounting, data.computed),
            stages=more.stages(data.seconds),
            accounting=_accounting(data),
            drawn=len(drawn),
            rejected=list(data.rejected)[:REJECTED_ROWS],
            reasons=_reasons(data.rejected),
        )
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def _end_rows(scores: np.ndarray) -> list[int]:
    """Return the rows that the strips show, the outermost of all components first."""
    both = [figures.ends(scores, component) for component in range(min(figures.STRIPS, scores.shape[1]))]
    order = []
    for place in range(figures.STRIP_PICTURES):
        for low, high in both:
            order += [*low[place : place + 1], *high[::-1][place : place + 1]]
    return list(dict.fromkeys(order))


def _pictures(thumbnails: Mapping[str, str | bytes]) -> dict[str, str]:
    kept: dict[str, str] = {}
    total = 0
    for key, picture in thumbnails.items():
        uri = text.picture_uri(picture)
        total += len(uri)
        if total > PICTURE_BYTES:
            break
        if uri:
            kept[key] = uri
    return kept


def _payload(
    data: ReportData, scores: np.ndarray, groups: dict[str, list[int]], pictures: dict[str, str], drawn: list[int]
) -> tuple[dict[str, Any], dict[int, int]]:
    """Return what the script reads, and the place of each drawn row's picture among the pictures."""
    rank = {label: index for index, label in enumerate(groups)}
    keys = [data.rows[index][0] for index in drawn]
    place = {key: index for index, key in enumerate(pictures)}
    thumbs = [place.get(key, -1) for key in keys]
    ratio = np.asarray(data.explained_variance_ratio, dtype=np.float64)
    payload = {
        "labels": [{"name": label, "rows": len(members)} for label, members in groups.items()],
        "keys": keys,
        "label": [rank[data.rows[index][1]] for index in drawn],
        "thumb": thumbs,
        "scores": [figures.finite_or_none(scores[drawn, axis]) for axis in range(min(AXES, scores.shape[1]))],
        "ratio": figures.finite_or_none(ratio),
        "cumulative": figures.finite_or_none(np.cumsum(ratio)),
        "shares": SHARES,
        "rows": len(data.rows),
        "pictures": list(pictures.values()),
    }
    return payload, dict(zip(drawn, thumbs))


def _strips(
    data: ReportData, scores: np.ndarray, groups: dict[str, list[int]], drawn: list[int], thumbs: dict[int, int]
) -> list[dict[str, Any]]:
    tile = _tiles(data, drawn, thumbs)
    ratio = figures.finite_or_none(np.asarray(data.explained_variance_ratio, dtype=np.float64))

    strips = []
    for component in range(min(figures.STRIPS, scores.shape[1])):
        low, high = figures.ends(scores, component)
        bars, zero = figures.histogram(scores[:, component])
        low_labels, high_labels = figures.extreme_labels(groups, scores[:, component], _LARGE_END)
        strips.append(
            {
                "name": f"PC{component + 1}",
                "share": ratio[component] if component < len(ratio) else None,
                "low": [tile(row, float(scores[row, component])) for row in low],
                "high": [tile(row, float(scores[row, component])) for row in high],
                "bars": bars,
                "zero": zero,
                "low_labels": low_labels,
                "high_labels": high_labels,
            }
        )
    return strips


def _tiles(data: ReportData, drawn: list[int], thumbs: dict[int, int]) -> more.Tile:
    """Makes what the page shows of a row with a number below it."""
    point = {row: index for index, row in enumerate(drawn)}

    def tile(row: int, score: float) -> dict[str, Any]:
        key, label = data.rows[row]
        return {"key": key, "label": label, "score": score, "point": point.get(row, -1), "thumb": thumbs.get(row, -1)}

    return tile


def _labels(data: ReportData, groups: dict[str, list[int]]) -> list[dict[str, Any]]:
    lost: dict[str, int] = {}
    for item in data.rejected:
        label = str(item.get("label") or "")
        lost[label] = lost.get(label, 0) + 1
    names = [*groups, *(label for label in sorted(lost) if label not in groups)]
    counted: list[dict[str, Any]] = [{"name": n, "rows": len(groups.get(n, ())), "rejected": lost.get(n, 0)} for n in names]
    largest = max([item["rows"] + item["rejected"] for item in counted] or [1])
    for rank, item in enumerate(counted):
        item["rank"] = rank if item["name"] in groups else -1
        item["width"] = round(100 * item["rows"] / largest, 2)
        item["lost_width"] = round(100 * item["rejected"] / largest, 2)
    return counted


def _variance(data: ReportData) -> dict[str, Any]:
    ratio = np.asarray(data.explained_variance_ratio, dtype=np.float64)
    cumulative = figures.finite_or_none(np.cumsum(ratio))
    return {
        "kept": len(cumulative),
        "total": cumulative[-1] if cumulative else None,
        "needed": [(share, figures.needed(cumulative, share)) for share in SHARES],
        "table": list(zip(figures.finite_or_none(ratio), cumulative)),
    }


def _accounting(data: ReportData) -> dict[str, Any]:
    rows = int(data.accounting.get("rows", len(data.rows)))
    rejected = int(data.accounting.get("rejected", len(data.rejected)))
    listed = int(data.accounting.get("listed", rows + rejected))
    sound = listed == rows + rejected and rows == len(data.rows) and rejected == len(data.rejected)
    return {"listed": listed, "rows": rows, "rejected": rejected, "sound": sound}


def _reasons(rejected: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    stages: dict[str, int] = {}
    for item in rejected:
        stage = str(item.get("stage") or "unknown")
        stages[stage] = stages.get(stage, 0) + 1
    return sorted(stages.items(), key=lambda item: (-item[1], item[0]))


def _json(value: Any) -> str:
    """Return JSON that can stand inside a script element: ASCII, without NaN and without markup."""
    dumped = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda found: f"\\u{ord(found.group()):04x}", dumped)


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(TEMPLATES)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        text.visible,
        text.duration,
        text.count,
        text.noun,
        text.size,
        text.byte_count,
        text.percent,
        text.setting,
    ):
        environment.filters[function.__name__] = function
    environment.filters["score"] = _score
    environment.filters["rate"] = lambda value: f"{value:,.0f} images/s" if value >= RATE_DIGITS else f"{value:.2g} images/s"
    return environment


def _score(value: float | None) -> str:
    """Return a score with three digits and a true minus sign."""
    if value is None or not np.isfinite(value):
        return "–"
    words = f"{value:#.3g}".rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004
    return words.replace("-", "\u2212")
