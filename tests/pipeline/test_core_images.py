"""What comes out of the files of real life."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from core_support import broken_files, encoded, noise
from image_pca.errors import Rejected
from image_pca.images import decode, thumbnail
from PIL import Image, ImageFile, ImageOps

SIZE = (24, 32)
LIMIT = 100_000_000


def pixels(data: bytes) -> npt.NDArray[Any]:
    return decode(data, SIZE, LIMIT)


def expected(picture: Image.Image) -> npt.NDArray[Any]:
    across = picture.resize((SIZE[1], picture.height), Image.Resampling.BILINEAR)
    return np.asarray(across.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR))


def differ(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_give_the_same_pixels(kind: str) -> None:
    picture = noise(1).convert("P", palette=Image.Palette.ADAPTIVE) if kind == "GIF" else noise(1)
    found = pixels(encoded(picture, kind))
    assert found.shape == (24, 32, 3)
    assert found.dtype == np.uint8
    assert differ(found, expected(picture.convert("RGB"))) == 0


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("WEBP", {"lossless": True})]
)
def test_lossy_formats_give_nearly_the_same_pixels(kind: str, options: dict[str, Any]) -> None:
    assert differ(pixels(encoded(noise(1, 80, 60), kind, **options)), expected(noise(1, 80, 60))) < 12


@pytest.mark.parametrize("name", sorted(broken_files()))
def test_broken_files(name: str) -> None:
    file = broken_files()[name]
    if not file.reason:
        assert pixels(file.data).shape == (24, 32, 3)
        return
    with pytest.raises(Rejected) as refused:
        pixels(file.data)
    assert file.reason in refused.value.reason
    assert (refused.value.stage, refused.value.transient) == ("decode", False)
    assert refused.value.reason[0].isupper()
    assert refused.value.reason.endswith(".")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_a_file_that_breaks_off_anywhere_is_refused_by_reason(kind: str, share: float) -> None:
    whole = encoded(noise(3, 120, 90), kind)
    with pytest.raises(Rejected) as refused:
        pixels(whole[: int(len(whole) * share)])
    assert len(refused.value.reason) > 10


def test_flipped_bytes_are_refused_or_decoded_but_never_crash() -> None:
    random = np.random.default_rng(5)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        whole = np.frombuffer(encoded(noise(4, 60, 60), kind), np.uint8)
        for _ in range(60):
            damaged = whole.copy()
            places = random.integers(0, len(whole), 8)
            damaged[places] = random.integers(0, 256, 8)
            try:
                assert pixels(damaged.tobytes()).shape == (24, 32, 3)
            except Rejected as refused:
                assert refused.reason.endswith(".")


class TestAlpha:
    """White lies behind what is transparent."""

    def test_rgba(self) -> None:
        layer = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
        layer.paste((0, 0, 0, 128), (0, 0, 4, 8))
        found = pixels(encoded(layer))
        assert (found[:, -8:] == 255).all()
        assert differ(found[:, :8], np.full((24, 8, 3), 127)) <= 1

    @pytest.mark.parametrize("mode", ["LA", "P", "L", "RGB", "1"])
    def test_other_kinds_of_transparency(self, mode: str) -> None:
        if mode == "LA":
            data = encoded(Image.new("LA", (8, 8), (0, 0)))
        else:
            clear: Any = (0, 0, 0) if mode == "RGB" else 0
            data = encoded(Image.new(mode, (8, 8), 0), transparency=clear)
        assert (pixels(data) == 255).all()

    def test_a_gif_with_a_transparent_colour(self) -> None:
        assert (pixels(encoded(Image.new("P", (8, 8), 0), "GIF", transparency=0)) == 255).all()

    def test_an_opaque_alpha_changes_nothing(self) -> None:
        picture = noise(6)
        picture.putalpha(255)
        assert differ(pixels(encoded(picture)), expected(noise(6))) == 0


class TestGreysAndInks:
    """Depths and colour spaces."""

    def test_sixteen_bits_are_scaled_and_not_clipped(self) -> None:
        deep = np.full((30, 40), 32768, np.uint16)
        assert differ(pixels(encoded(Image.fromarray(deep))), np.full((24, 32, 3), 128)) == 0
        ramp = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (24, 1))
        found = pixels(encoded(Image.fromarray(ramp)))
        assert differ(found[:, :, 0], np.tile(np.linspace(0, 255, 32), (24, 1)).round()) <= 1

    def test_a_sixteen_bit_tiff(self) -> None:
        deep = np.full((30, 40), 65535, np.uint16)
        assert (pixels(encoded(Image.fromarray(deep), "TIFF")) == 255).all()

    @pytest.mark.parametrize(("bits", "white_is_zero"), [(12, False), (16, False), (16, True)])
    def test_a_grey_tiff_is_scaled_and_turned_as_its_tags_say(self, bits: int, white_is_zero: bool) -> None:
        ramp = np.tile(np.linspace(0, 255, 32), (24, 1))
        levels = (ramp / 255 * (2**bits - 1)).round().astype(np.uint16)
        found = pixels(grey_tiff(2**bits - 1 - levels if white_is_zero else levels, bits, 0 if white_is_zero else 1))
        assert differ(found[:, :, 0], ramp.round()) <= 1

    def test_a_sixteen_bit_png_with_a_transparent_grey(self) -> None:
        def chunk(name: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 0, 0, 0, 0)) + chunk(b"tRNS", struct.pack(">H", 1000))
        body = chunk(b"IDAT", zlib.compress((b"\0" + struct.pack(">H", 1000) * 8) * 8)) + chunk(b"IEND", b"")
        assert (pixels(b"\x89PNG\r\n\x1a\n" + header + body) == 255).all()

    def test_grey(self) -> None:
        grey = noise(7).convert("L")
        assert differ(pixels(encoded(grey)), expected(grey.convert("RGB"))) == 0

    def test_cmyk(self) -> None:
        red = Image.new("CMYK", (40, 30), (0, 255, 255, 0))
        assert differ(pixels(encoded(red, "TIFF")), np.tile(np.array([255, 0, 0]), (24, 32, 1))) <= 2
        assert differ(pixels(encoded(red, "JPEG")), np.tile(np.array([255, 0, 0]), (24, 32, 1))) <= 4

    @pytest.mark.parametrize("dtype", [np.float32, np.int32])
    @pytest.mark.parametrize("level", [200, 70_000])
    def test_pixels_without_a_fixed_white_are_refused(self, dtype: Any, level: int) -> None:
        with pytest.raises(Rejected, match="without a fixed white"):
            pixels(encoded(Image.fromarray(np.full((9, 9), level, dtype)), "TIFF"))


def grey_tiff(levels: npt.NDArray[np.uint16], bits: int, photometric: int) -> bytes:
    """An uncompressed grey TIFF, whose 12-bit levels lie two to three bytes."""
    height, width = levels.shape
    if bits == 16:
        body = levels.astype("<u2").tobytes()
    else:
        pairs = levels.astype(np.uint32).reshape(-1, 2)
        whole = pairs[:, 0] << 12 | pairs[:, 1]
        body = np.stack([whole >> 16, whole >> 8 & 255, whole & 255], axis=1).astype(np.uint8).tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(body)}
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("size", [(2, 900_000), (900_000, 2)])
def test_a_strip_never_becomes_a_large_picture(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    resize, made = Image.Image.resize, []

    def seen(picture: Image.Image, to: tuple[int, int], *more: Any) -> Image.Image:
        made.append(to[0] * to[1])
        return resize(picture, to, *more)

    monkeypatch.setattr(Image.Image, "resize", seen)
    strip = Image.new("RGB", size, (200, 0, 0))
    assert differ(pixels(encoded(strip)), np.tile(np.array([200, 0, 0]), (24, 32, 1))) == 0
    assert max(made) < 100_000


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_as_the_camera_says(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(8, 60, 40), kind, exif=exif, **({} if kind in ("PNG", "TIFF") else {"quality": 100}))
    reference = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert differ(pixels(data), expected(reference.convert("RGB"))) == 0
    upright = {5, 6, 7, 8}
    assert (reference.size == (40, 60)) == (orientation in upright)


def test_damaged_exif_is_no_reason_to_refuse_good_pixels() -> None:
    data = encoded(noise(9), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff")
    assert pixels(data).shape == (24, 32, 3)


def test_the_pixel_limit_is_exact_and_costs_no_decoding() -> None:
    data = encoded(Image.new("1", (100, 100)))
    assert decode(data, SIZE, 10_000).shape == (24, 32, 3)
    with pytest.raises(Rejected, match=r"100 x 100 = 10,000 pixels, more than the 9,999 allowed"):
        decode(data, SIZE, 9_999)
    header_only = encoded(Image.new("1", (20_000, 20_000)))[:100]
    with pytest.raises(Rejected, match="400,000,000"):
        pixels(header_only)


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert differ(pixels(data), np.tile(np.array([255, 0, 0]), (24, 32, 1))) <= 4


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7 ...", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
        (b"PK\x03\x04....", "ZIP"),
        ("Gr\u00fc\u00dfe\n".encode() * 100, "text"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),
        (b"\x01\x02\x03\xff\xfe", "not a JPEG"),
    ],
)
def test_other_files_are_named(data: bytes, kind: str) -> None:
    with pytest.raises(Rejected, match=kind):
        pixels(data)


def test_thumbnails_keep_proportions() -> None:
    small = Image.open(io.BytesIO(thumbnail(encoded(noise(10, 400, 200), "JPEG"), 64)))
    assert small.format == "JPEG"
    assert small.size == (64, 32)
    with pytest.raises(Rejected):
        thumbnail(b"no picture", 64)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ((Image, "open"), MemoryError()),
        ((ImageFile.ImageFile, "load"), MemoryError()),
        ((ImageFile.ImageFile, "load"), OSError("out of memory error when reading image file")),
        ((Image.Image, "getexif"), MemoryError()),
        ((Image.Image, "resize"), MemoryError()),
        ((Image.Image, "thumbnail"), MemoryError()),
    ],
)
def test_a_lack_of_memory_says_nothing_about_the_picture(
    where: tuple[Any, str], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    data = encoded(noise(1))
    monkeypatch.setattr(*where, fail)
    with pytest.raises(Rejected, match="not enough memory") as refused:
        thumbnail(data, 16) if where[1] == "thumbnail" else pixels(data)
    assert refused.value.transient


@pytest.mark.parametrize(
    ("how", "digest"),
    [
        ("bilinear", "2cca2c654060b0ef05a1bb0defaa165309cf60d51d94899a0a5f6e9114ca454d"),
        ("bicubic", "e7488959e092aae41cdc5f7af48a8408a2ebd8b5fac00bcfb630e1ef0b304dcb"),
    ],
)
def test_a_tall_picture_has_the_same_pixels_with_every_pillow(how: str, digest: str) -> None:
    """The digests were seen with Pillow 10.4 and 13.0, which shrink and widen in another order when they may choose."""
    rows, columns = np.mgrid[0:300, 0:100]
    channels = (rows * columns % 256, (rows // 7 + columns // 3) % 2 * 255, (rows * 3 + columns * 5) % 256)
    tall = Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))
    assert hashlib.sha256(decode(encoded(tall, "PNG"), (224, 224), LIMIT, how).tobytes()).hexdigest() == digest
