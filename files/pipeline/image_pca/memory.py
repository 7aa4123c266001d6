"""What a run will need of memory, told before it begins, and refused where the host cannot have it; sizes has the numbers."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Sequence

from .errors import JobError
from .executors import cores
from .features import FeatureModel
from .listing import ImageRef
from .pca import PcaModel
from .settings import Settings
from .sizes import AHEAD_BYTES, AHEAD_IMAGES, Demand, kept, refusal

CGROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def demand(
    settings: Settings, model: FeatureModel, images: Sequence[ImageRef], slots: int, spark: bool, *, saved: PcaModel | None = None
) -> Demand:
    """What decides of these listed images; without spark the driver does all the work itself. saved: what they are projected
    onto."""
    height, width = model.input_size
    sizes = sorted((min(image.size, settings.max_bytes) for image in images), reverse=True)[:AHEAD_IMAGES]
    return Demand(
        rows=len(images),
        columns=model.features,
        components=kept(settings.components, len(images), model.features) if saved is None else len(saved.components),
        input_pixels=height * width,
        weights_bytes=model.weights_bytes,
        max_pixels=settings.max_pixels,
        ahead_bytes=min(AHEAD_BYTES + max(sizes, default=0), sum(sizes)),
        slots=slots,
        spark=spark,
        processors=cores(),
        chunk=settings.chunk_images,
        saved_bytes=0 if saved is None else saved.components.nbytes,
    )


def judge(wanted: Demand, settings: Settings, available: int) -> None:
    """Refuse a run that cannot fit into so many bytes, with what would fit; raises JobError."""
    refused = refusal(wanted, settings.components, available)
    if refused:
        raise JobError("The memory does not suffice", platform.node(), *refused)


def available_bytes(meminfo: str = "/proc/meminfo") -> int:
    """Memory and swap of this host, or what its control group allows; 0 when the system does not tell."""
    try:
        lines = Path(meminfo).read_text(encoding="ascii").splitlines()
        values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        total = values["MemTotal"] + values.get("SwapTotal", 0)
    except (OSError, ValueError, IndexError, KeyError):
        return 0
    for name in CGROUP_FILES:
        try:
            total = min(total, int(Path(name).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return total


def weights_bytes(model_dir: str) -> int:
    """Bytes of the prepared model's parameters: the larger of the two engines' files."""
    sizes = [0]
    for name in ("openvino", "savedmodel"):
        folder = Path(model_dir) / name
        sizes.append(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0)
    return max(sizes)
