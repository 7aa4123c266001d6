"""Pictures decoded by processes that may die of them: a hostile file ends neither a task nor the driver.

A few processes are kept, and each has one picture at a time, so that it is known of which it died. A picture that
kills two of them is rejected by name; one that only was there when memory ran out is tried again another time.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .decoder import HEAD, READY, received, send
from .errors import JobError, Rejected
from .sizes import DECODERS

SECONDS = 60
"""Of processor time for one picture: a hundred million pixels take a few."""
LAST_RESORT_SECONDS = 1800.0
"""Of waiting, other pictures' turns included."""
PATIENCE_SECONDS = 5.0
TRIES = 2
MOST_ANSWER = 1 << 26
OF_ITS_OWN = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGSYS)
START = "import sys; from image_pca.decoder import serve; serve(int(sys.argv[1]))"
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONHOME", "VIRTUAL_ENV")

_IDLE: queue.LifoQueue[_Decoder] = queue.LifoQueue()
_TURNS = threading.BoundedSemaphore(DECODERS)


def decode(
    data: bytes, input_size: tuple[int, int], max_pixels: int, resize: str = "bilinear", reduced_jpegs: bool = False
) -> npt.NDArray[np.uint8]:
    """images.decode, elsewhere."""
    wanted = {"input_size": input_size, "max_pixels": max_pixels, "resize": resize, "reduced_jpegs": reduced_jpegs}
    pixels = _ask(data, what="decode", **wanted)
    return np.frombuffer(pixels, np.uint8).reshape(*input_size, 3)


def thumbnail(data: bytes, size: int, max_pixels: int) -> bytes:
    """images.thumbnail, elsewhere."""
    return bytes(_ask(data, what="thumbnail", size=size, max_pixels=max_pixels))


def begin() -> None:
    """Start a first process, so that it is ready when the first picture comes."""
    if _IDLE.empty():
        _IDLE.put(_Decoder())


class _Decoder:
    """One process, and the socket to it."""

    def __init__(self) -> None:
        self._link, theirs = socket.socketpair()
        self._ready = False
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment.update(PYTHONPATH=os.pathsep.join(path or str(Path.cwd()) for path in sys.path), OPENBLAS_NUM_THREADS="1")
        command = [sys.executable, "-c", START, str(theirs.fileno())]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
        except OSError as error:
            raise _cannot_start(f"{error.strerror or error}.") from error
        self._link.settimeout(LAST_RESORT_SECONDS)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def await_ready(self) -> None:
        """Return when it is; JobError if it never will be."""
        try:
            if not self._ready and received(self._link, len(READY)) != READY:
                raise EOFError
        except (OSError, EOFError) as error:
            raise _cannot_start(f"It ended at once ({_ended(self.end())}); the log says more.") from error
        self._ready = True

    def ask(self, data: bytes, request: dict[str, Any]) -> tuple[dict[str, Any], bytearray]:
        """Its answer; OSError or EOFError when it dies over it."""
        send(self._link, request, data)
        text, size = HEAD.unpack(received(self._link, HEAD.size))
        if max(text, size) > MOST_ANSWER:
            raise EOFError
        return json.loads(received(self._link, text)), received(self._link, size)

    def end(self) -> int:
        """Its exit status, as subprocess has it; ends what has not ended."""
        self._link.close()
        try:
            return self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return 0


def _ask(data: bytes, **request: Any) -> bytearray:
    with _TURNS:
        for tried in range(1, TRIES + 1):
            decoder = _one()
            try:
                answer, result = decoder.ask(data, {**request, "seconds": SECONDS})
            except (OSError, EOFError, ValueError) as error:
                status = decoder.end()
                if tried == TRIES or status == -signal.SIGXCPU:
                    raise _fatal(status) from error
                continue
            _IDLE.put(decoder)
            if answer:
                raise Rejected(**answer)
            return result
    raise AssertionError("unreachable")


def _one() -> _Decoder:
    """A process that is ready; those that ended since they were last asked are passed over."""
    decoder = None
    while decoder is None or not decoder.lives:
        try:
            decoder = _IDLE.get_nowait()
        except queue.Empty:
            decoder = _Decoder()
            break
    decoder.await_ready()
    return decoder


def _fatal(status: int) -> Rejected:
    if status == -signal.SIGXCPU:
        return Rejected("decode", f"Decoding it takes more than {SECONDS} s of processor time.")
    if status == -signal.SIGKILL:  # the kernel's, as a rule, whatever the picture
        return Rejected("decode", "There was not enough memory to decode the picture: its decoder was killed.", transient=True)
    if status > 0 or -status in OF_ITS_OWN:
        return Rejected("decode", f"The file is damaged so that its decoder dies of it ({_ended(status)}).")
    return Rejected("decode", f"Its decoder gave no answer ({_ended(status)}).", transient=True)


def _ended(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _cannot_start(why: str) -> JobError:
    return JobError(
        "No process for decoding can be started",
        sys.executable,
        why,
        "Look for what is short on the host (memory, processes), and run again; finished work is kept.",
    )
