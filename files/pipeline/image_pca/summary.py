"""What is told about a run when its numbers are there: report, manifest and closing summary."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Mapping, Sequence

from . import report
from .errors import JobError, Rejected
from .features import FeatureModel
from .isolated import thumbnail
from .listing import ImageRef, Listing
from .moments import Matrix
from .outputs import RejectedImage, rejected_csv
from .pca import PcaModel
from .settings import Settings
from .sizes import way
from .storage import Storage

THUMBNAIL_PIXELS = 96
FETCHERS = 8


def report_page(
    settings: Settings,
    model: FeatureModel,
    source: Storage,
    *,
    good: Sequence[ImageRef],
    scores: Matrix,
    errors: Matrix,
    fitted: PcaModel,
    rejected: Sequence[RejectedImage],
    seconds: Mapping[str, float],
    facts: Mapping[str, Any],
) -> bytes:
    """report.html; fetches the pictures it shows once more."""
    rows = [(image.key, image.label) for image in good]
    page = report.render(
        report.ReportData(
            run_id=settings.run_id,
            title=settings.title or f"PCA of {settings.images}",
            rows=rows,
            scores=scores,
            explained_variance_ratio=fitted.explained_variance_ratio,
            rejected=[
                {
                    "key": item.image.key,
                    "label": item.image.label,
                    "stage": item.stage,
                    "reason": item.reason,
                    "bytes": item.image.size,
                }
                for item in rejected
            ],
            thumbnails=_thumbnails(settings, source, good, report.pick_thumbnails(rows, scores, settings.thumbnails, errors)),
            errors=errors,
            changes=facts["changes"],
            computed=facts["computed"],
            seconds=dict(seconds),
            versions={**facts["versions"], "model": model.description.get("name", ""), **_engine(model)},
            accounting=facts["accounting"],
            settings=settings.as_dict(),
        )
    )
    return page.encode("utf-8")


def _engine(model: FeatureModel) -> dict[str, str]:
    engine = model.description.get("engine")
    return {"engine": f"{engine['name']} {engine['version']} {engine['precision']}"} if engine else {}


def _thumbnails(settings: Settings, source: Storage, images: Sequence[ImageRef], wanted: Sequence[str]) -> dict[str, bytes]:
    shown = frozenset(wanted)
    etags = {image.key: image.etag for image in images if image.key in shown}

    def fetch(key: str) -> tuple[str, bytes | None]:
        try:
            data = source.get(key, etags[key])
            return key, thumbnail(data, THUMBNAIL_PIXELS, settings.max_pixels)
        except (Rejected, JobError):  # a report without one picture is still a report
            return key, None

    with ThreadPoolExecutor(FETCHERS) as pool:
        return {key: data for key, data in pool.map(fetch, wanted) if data is not None}


def manifest_of(
    settings: Settings,
    model: FeatureModel,
    *,
    seconds: Mapping[str, float],
    listing: Listing,
    objects: Mapping[str, int],
    fitted: PcaModel,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """All that is needed to know how the run came about, and to find it wrong."""
    return {
        "run_id": settings.run_id,
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "fingerprint": model.fingerprint,
        "model": model.description,
        "accounting": {**facts["accounting"], "folder_markers": listing.markers},
        "reused": facts["reused"],
        "computed": facts["computed"],
        "compacted": facts["compacted"],
        "pca": {
            "method": _method(settings, fitted),
            "components": len(fitted.components),
            "largest_possible": min(fitted.n_samples, len(fitted.mean)),
            "variance_explained": float(fitted.explained_variance_ratio.sum()),
        },
        "memory": facts["memory"],
        "versions": facts["versions"],
        "settings": settings.as_dict(),
        "seconds": dict(seconds),
        "feature_objects": [{"key": key, "rows": rows} for key, rows in objects.items()],
    }


def _method(settings: Settings, fitted: PcaModel) -> str:
    if settings.project_onto:
        return f"projection onto {settings.project_onto}"
    return way(fitted.n_samples, len(fitted.mean), settings.components)


def summary_of(manifest: Mapping[str, Any], seconds: Mapping[str, float], results: str) -> dict[str, Any]:
    """What the last event of progress.jsonl says."""
    return {
        "run_id": manifest["run_id"],
        **{name: manifest["accounting"][name] for name in ("listed", "rows", "rejected")},
        "components": manifest["pca"]["components"],
        "variance_explained": round(manifest["pca"]["variance_explained"], 6),
        "seconds": dict(seconds),
        "reused": manifest["reused"],
        "computed": manifest["computed"],
        "results": results,
    }


def reasons(rejected: Sequence[RejectedImage], most: int = 3) -> str:
    """The first reasons, for a message about a run in which too little is left."""
    shown: list[str] = [f"{item.image.key}: {item.reason}" for item in rejected[:most]]
    more = len(rejected) - len(shown)
    return " ".join(shown) + (f" And {more} more." if more > 0 else "")


def too_many_rejected(settings: Settings, rejected: Sequence[RejectedImage], listed: int) -> JobError:
    """What a run says that rejects more than max_rejected allows; all of them are in rejected.csv of its work folder."""
    whole = ""
    if settings.work_dir:
        path = Path(settings.work_dir) / "rejected.csv"
        with contextlib.suppress(OSError):
            path.write_bytes(rejected_csv(rejected))
            whole = f" All of them: {path}."
    return JobError(
        "Too many images were rejected",
        settings.images,
        f"{len(rejected):,} of {listed:,} images, and max_rejected = {settings.max_rejected:g} allows "
        f"{int(settings.max_rejected * listed):,}. {reasons(rejected)}",
        f"Repair these images or take them away, or raise max_rejected; what was computed is kept.{whole}",
    )
