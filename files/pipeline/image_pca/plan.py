"""Which images go together into one object of the feature table.

A plan depends on the sorted list of images and on what the table holds already, never on the number of
tasks or hosts. A run that was killed therefore finds its own chunks again and only makes the missing ones.
"""

from __future__ import annotations

from typing import AbstractSet, Iterable, Sequence, Tuple

from .listing import ImageRef
from .sizes import chunk_size

Chunk = Tuple[ImageRef, ...]

# What an image costs besides its bytes, in bytes: a request and a pass through the network.
FIXED_COST = 262_144
HIGHEST_COST = 67_108_864


def plan(images: Sequence[ImageRef], present: AbstractSet[tuple[str, str]], wanted: int = 0) -> list[Chunk]:
    """Chunks of the images whose (key, etag) is not present, in the order of their keys.

    images: sorted by key. A chunk of the whole list that is missing as a whole stays as it is; what is
    missing from the others is put together.
    """
    size = chunk_size(len(images), wanted)
    chunks: list[Chunk] = []
    rest: list[ImageRef] = []
    for chunk in _cut(images, size):
        missing = tuple(image for image in chunk if (image.key, image.etag) not in present)
        if len(missing) == len(chunk):
            chunks.append(chunk)
        else:
            rest.extend(missing)
    return sorted(chunks + _cut(rest, size), key=lambda chunk: chunk[0].key.encode("utf-8", "surrogatepass"))


def _cut(images: Sequence[ImageRef], size: int) -> list[Chunk]:
    """Runs of neighbours of about equal cost, none with more than `size` images."""
    if not images:
        return []
    number = -(-len(images) // size)
    share = sum(map(_cost, images)) / number
    chunks: list[Chunk] = []
    start, cost = 0, 0.0
    for index, image in enumerate(images):
        cost += _cost(image)
        if cost >= share or index - start + 1 == size:
            chunks.append(tuple(images[start : index + 1]))
            start, cost = index + 1, 0.0
    if start < len(images):
        chunks.append(tuple(images[start:]))
    return chunks


def _cost(image: ImageRef) -> int:
    return FIXED_COST + min(image.size, HIGHEST_COST)


def count(chunks: Iterable[Chunk]) -> int:
    return sum(len(chunk) for chunk in chunks)
