"""Files that kill their decoder for real: the run goes on, and names them."""

from __future__ import annotations

import os
import queue
import signal
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_support import Place, encoded, noise, pictures
from image_pca import images, isolated
from image_pca.errors import JobError, Rejected
from PIL import Image

pytest_plugins = ["core_fixtures"]

# What a faulty decoder of Pillow's would be: it opens files that begin with this, and does what stands behind it.
MAGIC = b"FAULTY"
PLUGIN = f"""
import ctypes, os, time
from PIL import Image, ImageFile

class Faulty(ImageFile.ImageFile):
    format = "BMP"
    def _open(self):
        self._size, self._mode = (8, 8), "RGB"
        self.what = self.fp.read().decode().split()[1]
    def load(self):
        if self.what == "segv": ctypes.string_at(0)
        if self.what == "abort": os.abort()
        if self.what == "exit": os._exit(3)
        if self.what == "kill": os.kill(os.getpid(), 9)
        if self.what == "once" and not os.path.exists(os.environ["TMPDIR"] + "/once"):
            open(os.environ["TMPDIR"] + "/once", "w").close()
            os.abort()
        while self.what == "loop": pass
        if self.what == "memory": self.held = b"x" * (1 << 31)
        self.im = Image.new("RGB", (8, 8)).im

Image.init()
Image.register_open("BMP", Faulty, lambda prefix: prefix.startswith({MAGIC!r}))
"""


def faulty(what: str) -> bytes:
    return MAGIC + b" " + what.encode() + b" " + bytes(64)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The decoders' Python, not this one, has the faulty plugin."""
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin/sitecustomize.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "plugin"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(isolated, "_IDLE", queue.LifoQueue())


def refusal(data: bytes, max_pixels: int = 10_000) -> Rejected:
    with pytest.raises(Rejected) as refused:
        isolated.decode(data, (32, 32), max_pixels)
    assert refused.value.stage == "decode"
    return refused.value


@pytest.mark.parametrize(("what", "reason"), [("segv", "SIGSEGV"), ("abort", "SIGABRT"), ("exit", "exit status 3")])
def test_a_picture_that_kills_its_decoder_is_rejected_and_remembered(plugin: None, place: Place, what: str, reason: str) -> None:
    place.add({**pictures(12), "hostile/a.bmp": faulty(what), "hostile/z.bmp": faulty(what)})
    summary = place.run()
    assert (summary["rows"], summary["rejected"]) == (12, 2)
    told = {row["key"]: (row["stage"], row["reason"]) for row in place.table("rejected.csv")}
    assert set(told) == {"hostile/a.bmp", "hostile/z.bmp"}
    assert all(stage == "decode" and "dies of it" in why and reason in why for stage, why in told.values())
    assert place.run("two")["computed"] == 0


def test_a_decoder_that_the_kernel_killed_says_nothing_about_the_picture(plugin: None, place: Place) -> None:
    place.add({**pictures(6), "hostile.bmp": faulty("kill")})
    assert place.run()["rejected"] == 1
    assert "not enough memory" in place.table("rejected.csv")[0]["reason"]
    (place.images / "hostile.bmp").unlink()
    place.add({"hostile.bmp": encoded(noise(1))})
    assert place.run("two")["rows"] == 7
    assert refusal(faulty("kill")).transient


def test_one_death_is_no_proof(plugin: None) -> None:
    assert isolated.decode(faulty("once"), (32, 32), 100).shape == (32, 32, 3)


def test_decoding_without_end_ends(plugin: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "SECONDS", 1)
    refused = refusal(faulty("loop"))
    assert "more than 1 s of processor time" in refused.reason
    assert not refused.transient


def test_memory_without_end_ends(plugin: None) -> None:
    refused = refusal(faulty("memory"))
    assert "MB allowed for a picture of 10,000 pixels" in refused.reason
    assert refused.limit == "max_pixels=10000"
    assert isolated.decode(encoded(noise(1, 80, 80)), (32, 32), 10_000).shape == (32, 32, 3)


def test_a_small_jpeg_of_endless_scans_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known attack: each of many scans of few bytes goes over the whole picture."""
    monkeypatch.setattr(isolated, "SECONDS", 1)
    whole = encoded(Image.new("L", (3000, 3000)), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    hostile = whole[:last] + whole[last:-2] * 2000 + whole[-2:]
    assert len(hostile) < 10_000_000
    assert "processor time" in refusal(hostile, 9_000_000).reason


def test_a_small_tiff_of_a_giant_tile_is_refused_in_its_memory() -> None:
    """100 x 100 pixels by the header, in one tile of 16,384 x 16,384: 805 MB for a file of 1 MB."""
    side = 16_384
    body = zlib.compress(bytes(3 * side * side // 256))
    tags = [
        (256, 4, 1, 100), (257, 4, 1, 100), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 2), (277, 3, 1, 3),
        (322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 8), (325, 4, 1, len(body)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    hostile = struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + directory
    assert "MB allowed" in refusal(hostile).reason


def test_deep_pictures_of_the_largest_size_fit_into_what_is_allowed() -> None:
    deep = encoded(Image.fromarray(np.full((3000, 4000), 40_000, np.uint16)))
    assert (isolated.decode(deep, (8, 8), 12_000_000) == 156).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "CMYK", "P"])
def test_every_kind_of_picture_of_the_largest_size_fits(mode: str) -> None:
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = 6
    kind = "TIFF" if mode == "CMYK" else "PNG"
    data = encoded(Image.new(mode, (5000, 5000)), kind, exif=exif, **({"transparency": 0} if mode == "P" else {}))
    assert isolated.decode(data, (8, 8), 25_000_000).shape == (8, 8, 3)


def test_the_same_pixels_and_reasons_as_without_a_process() -> None:
    for data in (encoded(noise(3)), encoded(noise(4), "JPEG")):
        assert (isolated.decode(data, (24, 32), 10_000) == images.decode(data, (24, 32), 10_000)).all()
        assert isolated.thumbnail(data, 16, 10_000) == images.thumbnail(data, 16, 10_000)
    for data in (b"", b"%PDF-1.7 ...", encoded(noise(5, 200, 200))):
        with pytest.raises(Rejected) as there:
            images.decode(data, (24, 32), 10_000)
        here = refusal(data)
        assert (here.reason, here.limit, here.transient) == (there.value.reason, there.value.limit, there.value.transient)


def test_a_decoder_is_kept_is_told_no_secret_and_is_replaced_when_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_IDLE", idle := queue.LifoQueue[Any]())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-long-secret-of-the-tests-only-0123456789")
    data = encoded(noise(6))
    seen = set()
    for _ in range(5):
        isolated.decode(data, (8, 8), 10_000)
        seen.add(idle.queue[0]._process.pid)
    (pid,) = seen
    assert b"SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()
    os.kill(pid, signal.SIGTERM)  # as systemd stops a whole unit: it goes with the one that it serves
    isolated.decode(data, (8, 8), 10_000)
    assert idle.queue[0]._process.pid == pid
    os.kill(pid, signal.SIGKILL)
    assert isolated.decode(data, (8, 8), 10_000).shape == (8, 8, 3)
    assert idle.queue[0]._process.pid != pid


def test_a_decoder_that_cannot_start_is_no_fault_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_IDLE", queue.LifoQueue())
    monkeypatch.setattr(isolated, "START", "raise SystemExit(7)")
    with pytest.raises(JobError, match="No process for decoding") as error:
        isolated.decode(encoded(noise(7)), (8, 8), 10_000)
    assert "exit status 7" in error.value.why
