"""From the bytes of a file to the pixels that a model takes. What a file is says its content, not its name."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from .errors import Rejected
from .sizes import LARGE_PIXELS

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
WHITE = 255
EXIF_ORIENTATION = 0x0112
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_WHITE_IS_ZERO = 258, 262, 0
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N", "I")
OUT_OF_MEMORY = ("out of memory", "decoder error -9")
MAX_16_BIT = 65535
BAND_ROWS = 64
THUMBNAIL_QUALITY = 80
# What the smoothing filter of the resizing needs to do its work: with 1, edges differ twice as much.
REDUCED_TO = 2
_LARGE = threading.Lock()

# The limit on pixels is enforced here from the header, with a reason; Pillow's own would only warn.
Image.MAX_IMAGE_PIXELS = None
# What Pillow warns of either makes decoding fail, with a reason, or does no harm.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(
    data: bytes, input_size: tuple[int, int], max_pixels: int, resize: str = "bilinear", reduced_jpegs: bool = False
) -> npt.NDArray[np.uint8]:
    """The first frame as RGB pixels of the model's size.

    input_size: (height, width). reduced_jpegs: large JPEGs are decoded at a half, a quarter or an eighth of their size, still
    at least REDUCED_TO times the model's, which takes less time and gives slightly other pixels.
    Returns uint8 [height, width, 3]. Raises Rejected with stage "decode".
    """
    height, width = input_size
    try:
        picture = _opened(data, max_pixels)
        if reduced_jpegs:  # of other formats this does nothing; which side is the height, EXIF says later
            picture.draft(None, (REDUCED_TO * max(input_size),) * 2)
        with _turn(picture):
            return np.asarray(_resized(_rgb(picture), width, height, FILTERS[resize]), dtype=np.uint8)
    except MemoryError as error:
        raise no_memory() from error


def _resized(picture: Image.Image, width: int, height: int, how: Image.Resampling) -> Image.Image:
    """Across first, then down. Left to itself Pillow 10 always does so and Pillow 13 only where it costs less, and what is
    rounded to 8 bits in between differs by up to 17 of 255 levels: features would depend on the version. But for strips that
    across first would make large."""
    if width * picture.height > LARGE_PIXELS:
        return picture.resize((picture.width, height), how).resize((width, height), how)
    return picture.resize((width, picture.height), how).resize((width, height), how)


def thumbnail(data: bytes, size: int, max_pixels: int = 100_000_000) -> bytes:
    """A JPEG of at most size x size pixels with the picture's own proportions; raises Rejected."""
    output = io.BytesIO()
    try:
        picture = _opened(data, max_pixels)
        picture.draft("RGB", (2 * size, 2 * size))
        with _turn(picture):
            picture = _rgb(picture)
            picture.thumbnail((size, size), Image.Resampling.LANCZOS)
        picture.save(output, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    except MemoryError as error:
        raise no_memory() from error
    return output.getvalue()


@contextlib.contextmanager
def _turn(picture: Image.Image) -> Iterator[None]:
    """To be held while the picture's pixels are in memory: large ones wait for each other, in all processes of this user."""
    if picture.width * picture.height <= LARGE_PIXELS:
        yield
        return
    with _LARGE:
        path = Path(tempfile.gettempdir()) / f"orchard-large-picture-{os.getuid()}"
        handle = -1
        try:
            with contextlib.suppress(OSError):  # where no such file can be, this process alone takes turns
                handle = os.open(str(path), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                if os.fstat(handle).st_uid == os.getuid():
                    fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            if handle >= 0:
                os.close(handle)


def _opened(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise Rejected("decode", "The file is empty.")
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise Rejected("decode", _what_else(data)) from None
    except MemoryError:
        raise
    except Exception as error:  # hostile files make the parsers raise anything
        raise Rejected("decode", f"The file's header is damaged: {_sentence(error)}") from error
    width, height = picture.size
    if width * height > max_pixels:
        raise Rejected(
            "decode",
            f"The picture has {width} x {height} = {width * height:,} pixels, more than the {max_pixels:,} allowed.",
            limit=f"max_pixels={max_pixels}",
        )
    if not width or not height:
        raise Rejected("decode", f"The picture has no pixels: {width} x {height}.")
    return picture


def _rgb(picture: Image.Image) -> Image.Image:
    try:
        picture.load()
        return _upright(picture, _flat(picture))
    except (Rejected, MemoryError):
        raise
    except Exception as error:
        reason = _sentence(error)
        if any(told in reason.lower() for told in OUT_OF_MEMORY):  # some of Pillow's decoders say it in this way
            raise no_memory() from error
        if "truncated" in reason or isinstance(error, EOFError):
            raise Rejected("decode", f"The file breaks off before the picture is complete: {reason}") from error
        raise Rejected("decode", f"The {picture.format} file is damaged: {reason}") from error


def _flat(picture: Image.Image) -> Image.Image:
    """RGB, with white behind whatever is transparent and 16-bit greys scaled down."""
    if picture.mode in DEEP_GREY:
        return _from_16_bit(picture)
    if picture.mode == "F":
        raise Rejected("decode", "Its pixels are floating-point numbers without a fixed white; save it with 8 or 16 bits.")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        paper = Image.new("RGB", picture.size, (WHITE, WHITE, WHITE))
        paper.paste(layer, mask=layer.getchannel("A"))
        return paper
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _from_16_bit(picture: Image.Image) -> Image.Image:
    white, inverted = _white_of(picture)
    levels: npt.NDArray[Any] = np.asarray(picture)
    eight = np.empty(levels.shape, np.uint8)
    clear = picture.info.get("transparency")
    for start in range(0, len(levels), BAND_ROWS):  # eight bytes a pixel are for some rows at a time
        band = levels[start : start + BAND_ROWS].astype(np.int64)
        if band.min() < 0 or band.max() > white:
            raise no_white()
        eight[start : start + BAND_ROWS] = ((white - band if inverted else band) * WHITE + white // 2) // white
        if isinstance(clear, int):
            eight[start : start + BAND_ROWS][band == clear] = WHITE
    return Image.fromarray(eight).convert("RGB")


def _white_of(picture: Image.Image) -> tuple[int, bool]:
    """The level of white, or of black and True. Pillow gives a TIFF's levels as they are in the file."""
    tags = getattr(picture, "tag_v2", None)
    if tags is None:
        return MAX_16_BIT, False
    if picture.mode == "I":
        raise no_white()
    return (1 << int(tags.get(TIFF_BITS, (16,))[0])) - 1, tags.get(TIFF_PHOTOMETRIC) == TIFF_WHITE_IS_ZERO


def no_white() -> Rejected:
    return Rejected("decode", "Its pixels are signed or 32-bit numbers without a fixed white; save it with 8 or 16 bits.")


def _upright(picture: Image.Image, pixels: Image.Image) -> Image.Image:
    """Turned as the camera says; a damaged EXIF block is no reason to refuse good pixels."""
    try:
        turn = TURNS.get(picture.getexif().get(EXIF_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:
        turn = None
    return pixels if turn is None else pixels.transpose(turn)


def _what_else(data: bytes) -> str:
    head = data[:512]
    kinds = (
        (head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"), "a HEIC picture"),
        (head[4:12] in (b"ftypavif", b"ftypavis"), "an AVIF picture"),
        (head.startswith(b"%PDF"), "a PDF document"),
        (b"<svg" in head, "an SVG drawing"),
        (head.lstrip()[:5].lower() in (b"<!doc", b"<html", b"<?xml"), "a web page or XML"),
        (head.startswith(b"PK\x03\x04"), "a ZIP archive or an office document"),
        (head.startswith(b"\x1f\x8b"), "a gzip archive"),
        (_is_text(head), "text"),
    )
    found = next((kind for matches, kind in kinds if matches), "")
    wanted = "JPEG, PNG, WebP, GIF, BMP or TIFF"
    return f"The file holds {found}, not a {wanted} picture." if found else f"The file is not a {wanted} picture."


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character cut in two at the end is still text
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n" for character in text)


def no_memory() -> Rejected:
    """Says nothing about the picture: with more memory, or fewer neighbours, it may well be a good one."""
    return Rejected("decode", "There was not enough memory to decode the picture.", transient=True)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[0].upper() + text[1:].rstrip(".") + "."
