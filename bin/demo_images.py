"""The demo's input: Debian's Tux Paint stamps in labelled folders, and beside them a handful of images that hurt.

796 RGBA PNG pictures come from the package `tuxpaint-stamps-default` (GPL-2), fetched with apt and unpacked without
being installed. The folder `odd` gets what people find in real buckets: broken files that a job must refuse by name,
and unusual ones that it must accept.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PACKAGE = "tuxpaint-stamps-default"
ODD = "odd"
HUGE_SIDE = 20_000


def unpack_stamps(folder: Path, work: Path) -> None:
    """Put the package's pictures into `folder`, sorted by the package's own folders."""
    # The sandbox user of apt cannot write into a folder of root's; the download is verified by apt either way.
    subprocess.run(
        ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", PACKAGE],
        cwd=work,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    package = next(work.glob(f"{PACKAGE}_*.deb"))
    subprocess.run(["dpkg-deb", "--extract", package.name, "unpacked"], cwd=work, check=True)
    stamps = work / "unpacked" / "usr" / "share" / "tuxpaint" / "stamps"
    for picture in sorted(stamps.rglob("*.png")):
        target = folder / picture.relative_to(stamps)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(picture, target)


def gradient(mode: str) -> Image.Image:
    """A 256×256 picture with something to see: a ramp in each channel of `mode`, each turned differently."""
    ramp = Image.linear_gradient("L")
    channels = len(Image.new(mode, (1, 1)).getbands())
    return Image.merge(mode, [ramp.rotate(90 * turn) for turn in range(channels)])


def encoded(image: Image.Image, kind: str) -> bytes:
    """The bytes of `image` as a file of `kind`, a name that Pillow knows."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def odd_files() -> dict[str, bytes]:
    """File name → content: what must be refused by name, and what looks odd and is good."""
    grey, rgb = gradient("L"), gradient("RGB")
    # Each 8-bit sample twice is the same picture in 16 bits.
    sixteen_bit = Image.frombytes("I;16", grey.size, bytes(sample for sample in grey.tobytes() for _ in range(2)))
    jpeg = encoded(rgb, "JPEG")
    return {
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "empty.jpg": b"",
        "text.jpg": b"This is a shopping list: apples, pears, plums.\n",
        "huge.png": encoded(Image.new("1", (HUGE_SIDE, HUGE_SIDE)), "PNG"),
        "cmyk.jpg": encoded(gradient("CMYK"), "JPEG"),
        "grey.jpg": encoded(grey, "JPEG"),
        "sixteen-bit.png": encoded(sixteen_bit, "PNG"),
        "a name with spaces.png": encoded(rgb, "PNG"),
        "100% + more.png": encoded(rgb.rotate(90), "PNG"),
        "crab-\N{CRAB}.png": encoded(rgb.rotate(180), "PNG"),
        "two\nlines.png": encoded(rgb.rotate(270), "PNG"),
    }


def make(folder: Path) -> None:
    """Fill `folder` in one step: it appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        work = Path(name)
        images = work / "images"
        unpack_stamps(images, work)
        (images / ODD).mkdir(parents=True)
        for file_name, content in odd_files().items():
            (images / ODD / file_name).write_bytes(content)
        images.rename(folder)


def main() -> None:
    """Command line: --output DIR."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the folder to make; one that is there is kept as it is")
    folder: Path = parser.parse_args().output
    if not folder.exists():
        print(f"Fetching the demo's pictures (Debian's {PACKAGE}, 161 MB) into {folder} …", file=sys.stderr)
        make(folder)


if __name__ == "__main__":
    main()
