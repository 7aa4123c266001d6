"""From a place to the list of its images."""

from __future__ import annotations

import sys
from typing import NamedTuple

from .errors import JobError
from .settings import Location
from .storage import Storage

NEIGHBOURS = 5


class ImageRef(NamedTuple):
    """One listed object. label: the name of its parent folder, "" right under the prefix."""

    key: str
    label: str
    etag: str
    size: int


class Listing(NamedTuple):
    """All listed objects, sorted by key; markers: how many empty "folder" objects were passed over."""

    images: list[ImageRef]
    markers: int


def label_of(key: str, prefix: str) -> str:
    """The name of the folder that holds the object, "" if that is the prefix itself."""
    folder = key[len(prefix) :].rpartition("/")[0]
    return folder.rpartition("/")[2]


def list_images(storage: Storage, location: Location) -> Listing:
    """Everything under the location but the empty objects that consoles make for folders.

    Raises JobError when there is nothing.
    """
    images: list[ImageRef] = []
    markers = 0
    for info in storage.list(location.prefix):
        if info.key.endswith("/") and info.size == 0:
            markers += 1
        else:
            label = sys.intern(label_of(info.key, location.prefix))  # one string for all images of a folder
            images.append(ImageRef(info.key, label, info.etag, info.size))
    if not images:
        raise JobError(
            "No images were found",
            location.url(),
            "There is no object there." + _neighbours(storage, location.prefix),
            "Check the place (bucket, images_prefix or --images), or upload some images.",
        )
    images.sort(key=lambda image: image.key.encode("utf-8", "surrogatepass"))
    return Listing(images, markers)


def _neighbours(storage: Storage, prefix: str) -> str:
    """A sentence that names what is beside the prefix, or beside what it is in; none where that may not be known."""
    while prefix:
        above = prefix[: prefix.rstrip("/").rfind("/") + 1]
        try:
            # The prefix and what is above it may be there themselves, as empty objects.
            names = [name for name in storage.names(above, NEIGHBOURS + 3) if name not in (prefix, above)]
        except JobError:
            return ""
        if names:
            more = " and more" if len(names) > NEIGHBOURS else ""
            shown = ", ".join(names[:NEIGHBOURS])
            return f" There {'is' if len(names) == 1 else 'are'} {shown}{more} beside it."
        prefix = above
    return ""
