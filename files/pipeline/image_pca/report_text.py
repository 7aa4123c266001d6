"""Text of the report: hostile names made visible, quantities made readable, pictures made data URIs."""

from __future__ import annotations

import base64
import math
import re
import unicodedata
from typing import Any

from markupsafe import Markup, escape

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINER = "\u200d"
_PICTURE_URI = re.compile(r"data:image/(?:png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+=*\Z")
_SIGNATURES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
_SECRET = re.compile(r"secret|password|passwd|token|credential|access_?key", re.IGNORECASE)
_FIRST_COMBINING = 0x300
_ESCAPED_BYTES = range(0xDC80, 0xDD00)
_MINUTE, _HOUR, _MILLI = 60.0, 3600.0, 0.001
_KILO = 1000


def visible(text: str) -> Markup:
    """Return `text` as HTML in which no character is invisible, isolated from the direction of its surroundings.

    Control and formatting characters (also those that reverse the reading direction), bytes that are no UTF-8
    and spaces that a browser would swallow become marked escapes. A joiner inside an emoji stays.
    """
    parts = []
    last = len(text) - 1
    for index, char in enumerate(text):
        before = text[index - 1] if index else ""
        category = unicodedata.category(char)
        if char == _JOINER and before and ord(before) >= _FIRST_COMBINING:
            parts.append(char)
        elif category in _HIDDEN or (category == "Zs" and char != " "):
            parts.append(f'<span class="ctl">{escape(_escape_of(char))}</span>')
        elif char == " " and (index in (0, last) or before == " "):
            parts.append('<span class="ctl">\u2423</span>')
        else:
            parts.append(str(escape(char)))
    return Markup("<bdi>" + "".join(parts) + "</bdi>")  # noqa: S704 — every part is escaped above


def _escape_of(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if ord(char) in _ESCAPED_BYTES:
        return f"\\x{ord(char) - 0xDC00:02x}"
    return f"U+{ord(char):04X}"


def duration(seconds: float) -> str:
    """Return `seconds` as a person says it: "0.4 s", "38 s", "2 min 05 s", "1 h 04 min"."""
    if seconds < _MILLI:
        return "0 s"
    if seconds < 10:  # noqa: PLR2004 — below ten seconds a tenth matters
        return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds:.3f} s"  # noqa: PLR2004
    if round(seconds) < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(round(seconds / _MINUTE), 60)
    return f"{hours} h {rest:02d} min"


def count(value: Any) -> str:
    """Return a whole number with thousands separated; anything else as it is."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def noun(number: int, one: str, many: str | None = None) -> str:
    """Return the number with its noun: noun(1, "row") is "1 row", noun(3, "row") "3 rows"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def byte_count(value: Any) -> str:
    """Return a number of bytes as digits; an empty string for what is no number."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return f"{value:.0f}" if known else ""


def size(value: Any) -> str:
    """Return a number of bytes with a unit of a thousand; an empty string for what is no number."""
    if not byte_count(value):
        return ""
    amount = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < _KILO:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= _KILO
    return f"{amount:.1f} TB"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share (0 to 1) in per cent, or a dash when there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f}\u00a0%"


def setting(name: str, value: Any) -> str:
    """Return the value of a setting for display; what is called a secret is never shown."""
    if _SECRET.search(name) and value not in (None, "", False):
        return "(not shown)"
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return str(value)


def picture_uri(picture: str | bytes) -> str:
    """Return a picture as a data URI; an empty string for what is no PNG, JPEG, WebP or GIF.

    `picture` is a data URI (text or ASCII bytes) or the bytes of the encoded image.
    """
    if isinstance(picture, bytes) and not picture.startswith(b"data:"):
        kinds = [kind for signature, kind in _SIGNATURES if picture.startswith(signature)]
        return f"data:image/{kinds[0]};base64,{base64.b64encode(picture).decode('ascii')}" if kinds else ""
    text = picture.decode("ascii", "replace") if isinstance(picture, bytes) else picture
    return text if _PICTURE_URI.match(text) else ""
