"""The process that decodes pictures for another one, and that may die of them; isolated.py starts it and asks.

It gets bytes and gives bytes: a message is a head with two lengths, then JSON, then the bytes. It knows no secret.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import resource
import signal
import socket
import struct
from pathlib import Path
from typing import Any

from . import images
from .errors import Rejected

HEAD = struct.Struct("!QQ")
READY = b"ready"
# Of address space, beside the file: some formats take 14 bytes a pixel where they are flattened and turned.
MOST_BYTES_A_PIXEL = 16
SPARE_BYTES = 1 << 26
COPIES_OF_A_FILE = 2
FROM_OUTSIDE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
UNLIMITED = resource.RLIM_INFINITY


def received(link: socket.socket, length: int) -> bytearray:
    """So many bytes; EOFError when the other side has gone."""
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = link.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


def send(link: socket.socket, told: dict[str, Any], data: Any = b"") -> None:
    text = json.dumps(told).encode()
    link.sendall(HEAD.pack(len(text), len(data)) + text)
    link.sendall(data)


def serve(descriptor: int) -> None:
    """Answer on that socket until the other side closes it."""
    link = socket.socket(fileno=descriptor)
    for number in FROM_OUTSIDE:  # it ends with the process that it serves
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # where memory is out, the kernel is to end this process and no other
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    here = _address_space()
    link.sendall(READY)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            text, size = HEAD.unpack(received(link, HEAD.size))
            request = json.loads(received(link, text))
            allowed = SPARE_BYTES + COPIES_OF_A_FILE * size + MOST_BYTES_A_PIXEL * request["max_pixels"]
            _limit(request.pop("seconds"), here + allowed if here else UNLIMITED)
            answer, result = _answer(request, received(link, size), allowed)
            send(link, answer, result)


def _answer(request: dict[str, Any], data: bytearray, allowed: int) -> tuple[dict[str, Any], Any]:
    try:
        return {}, _done(bytes(data), **request)
    except MemoryError:
        refused = images.no_memory()
    except Rejected as error:
        refused = error
    if refused.transient and _is_there(allowed):  # not the host lacked memory: the picture wanted too much
        reason = (
            f"Decoding it takes more than the {allowed >> 20:,} MB allowed for a picture of {request['max_pixels']:,} pixels."
        )
        refused = Rejected("decode", reason, limit=f"max_pixels={request['max_pixels']}")
    return {name: getattr(refused, name) for name in ("stage", "reason", "transient", "limit")}, b""


def _done(data: bytes, *, what: str, max_pixels: int, **more: Any) -> Any:
    if what == "thumbnail":
        return images.thumbnail(data, more["size"], max_pixels)
    height, width = more["input_size"]
    return images.decode(data, (height, width), max_pixels, more["resize"], more["reduced_jpegs"]).data.cast("B")


def _limit(seconds: int, address_space: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)
    with contextlib.suppress(OSError, ValueError):  # not every system has this one
        _lower(resource.RLIMIT_AS, address_space)


def _lower(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == UNLIMITED else min(value, hard), hard))


def _is_there(count: int) -> bool:
    """Whether the host would give so much memory, were it not for the limit."""
    with contextlib.suppress(OSError, ValueError):
        _lower(resource.RLIMIT_AS, UNLIMITED)
    try:
        mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, ValueError):
        return False
    return True


def _address_space() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return 0
