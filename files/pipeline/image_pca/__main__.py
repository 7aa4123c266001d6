"""A folder of images to a PCA matrix on this machine alone, without Spark, Ansible or S3."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .errors import JobError
from .executors import LocalExecutor
from .progress import Progress
from .settings import ENGINES, PRESETS, Settings

EPILOG = """
A model is prepared once, from a weights file or (for trying things out) with random weights:
  python -m image_pca.models prepare --model EfficientNetLite0 --weights FILE --output model

OUTPUT gets runs/<run_id>/ with pca.csv, pca.parquet/, variance.csv, rejected.csv, model.npz, report.html and
manifest.json, and features/, from which the next run takes what has not changed.
"""
WITHOUT_MODEL = """error: no model is given.
Prepare one first, and then name its folder with --model-dir:
  python -m image_pca.models prepare --model EfficientNetLite0 --weights FILE --output model
  python -m image_pca --images {images} --output {output} --model-dir model
(python -m image_pca.models prepare --help says which models there are; --weights random is for trying things out.)"""


def main(argv: list[str] | None = None) -> int:
    """The command line; 0 when the run is complete, 1 with one message on stderr otherwise."""
    options = vars(_parser().parse_args(argv))
    if not options.get("model_dir"):
        print(WITHOUT_MODEL.format(**options), file=sys.stderr)
        return 1
    try:
        settings = Settings.create({name: value for name, value in options.items() if value is not None})
        progress = Progress(settings.work_dir)
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    from .guard import guarded  # noqa: PLC0415
    from .installed import prepared_model  # noqa: PLC0415  (--help needs neither numpy nor an engine)
    from .job import Job  # noqa: PLC0415

    def body() -> dict[str, Any]:
        return Job(settings, prepared_model(settings), LocalExecutor, progress).run()

    def shown() -> dict[str, Any]:
        summary = body()
        print(
            f"{summary['listed']:,} listed = {summary['rows']:,} rows + {summary['rejected']:,} rejected; "
            f"{summary['components']} components explain {summary['variance_explained']:.1%} of the variance; "
            f"{summary['reused']:,} features were there already.\nResults: {Path(summary['results'])}"
        )
        return summary

    return guarded(shown, progress)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m image_pca",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", required=True, metavar="DIR", help="folder of pictures; their folders are the labels")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for results and features")
    parser.add_argument("--model-dir", metavar="DIR", help="a prepared model (see below)")
    parser.add_argument("--components", metavar="K", help="a count, a share of variance such as 0.95, or all (50)")
    parser.add_argument("--standardize", action="store_true", default=None, help="divide features by their deviation")
    parser.add_argument("--preset", choices=PRESETS, help="ResNet50 unpooled, standardised, k = 7 and its CSV columns, in one")
    parser.add_argument("--inference-engine", choices=ENGINES, help="what computes the features (auto)")
    parser.add_argument("--run-id", metavar="NAME", help="name of the run (the time in UTC, and four random digits)")
    parser.add_argument("--max-pixels", metavar="N", help="larger pictures are rejected (100,000,000)")
    parser.add_argument("--thumbnails", metavar="N", help="pictures in the report at most (300)")
    parser.add_argument("--title", help="title of the report")
    parser.add_argument("--work-dir", metavar="DIR", help="folder for progress.jsonl (none)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
