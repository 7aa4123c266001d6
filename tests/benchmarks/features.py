"""Images a second: the job on Spark, beside a bare script without Spark, and beside what the usual notebook does, on the
same host and S3 server with the same network and weights.

    . bin/activate && python tests/benchmarks/features.py [--images 1000] [--rounds 3] [--notebook 500] [--source DIR]
    … python tests/benchmarks/features.py --images 10000 --large 1000    # the goals' own sizes; about half an hour

Boots a lab of its own and removes it at the end. Each round uploads the pictures under a prefix of its own, so that the
job computes every feature, and then runs the script on the same objects. The notebook's way has one pass over fewer images,
--large as many rounds of so many pictures of 1600 x 1200 (ORCHARD_PAYLOAD's Python makes them, bin/test prepares it).
Told are the medians, the ratios and their spread.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
LAB = "bench-features"
BARE = "/home/spark/bare_features.py"
NOTEBOOK = "/home/spark/notebook_features.py"
PANDAS = "/home/spark/pandas"
CURRENT = "/opt/orchard/current"
ENLARGE = """
import sys
import numpy as np
from PIL import Image
for number, path in enumerate(sys.argv[2:]):
    pixels = np.asarray(Image.open(path).convert("RGB").resize((1600, 1200), Image.Resampling.BICUBIC), np.int16)
    grain = np.random.default_rng(number).normal(0, 8, pixels.shape)
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(f"{sys.argv[1]}/{number}.jpg", quality=85)
"""
DIFFERENT_LARGE = 40


def output_of(*command: str) -> str:
    """What a command printed; a failing one ends the benchmark."""
    environment = {**os.environ, "ORCHARD_LAB_NAME": LAB}
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return done.stdout


def play(playbook: str, **settings: object) -> str:
    """Run a playbook in the benchmark's lab."""
    return output_of("ansible-playbook", playbook, "-e", json.dumps({"lab_name": LAB, **settings}))


def pictures(source: Path, count: int, folder: Path) -> None:
    """Link `count` pictures of `source` into `folder`, again under other names when there are fewer."""
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not found:
        raise SystemExit(f"There are no pictures in {source}; say --source DIR.")
    for number in range(count):
        path = found[number % len(found)]
        target = folder / path.parent.name / f"{number:06}{path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)


def enlarged(source: Path, folder: Path) -> None:
    """Some pictures of `source` as photographs have them: 1600 x 1200, with grain."""
    found = sorted(map(str, source.rglob("*.jpg")))
    chosen = found[:: max(1, len(found) // DIFFERENT_LARGE)][:DIFFERENT_LARGE]
    subprocess.run([os.environ["ORCHARD_PAYLOAD"] + "/bin/python", "-c", ENLARGE, str(folder), *chosen], check=True)


def job(prefix: str, **settings: object) -> float:
    """Images a second of the job's stage `features`, by its own manifest: from the start of Spark, its workers and the
    model to the last commit."""
    with tempfile.TemporaryDirectory() as results:
        play("run.yml", images_prefix=prefix, components=10, **settings)
        play("playbooks/fetch.yml", results_dir=results)
        manifest = json.loads((Path(results) / "latest" / "manifest.json").read_text())
    if manifest["computed"] != manifest["accounting"]["listed"]:
        raise SystemExit(f"{manifest['reused']} features were reused: this would measure nothing.")
    return float(manifest["computed"] / manifest["seconds"]["features"])


def on_master(module: str, arguments: str) -> str:
    """What a module printed that ran on the lab's master as root."""
    return output_of("ansible", "master", "-b", "-m", f"ansible.builtin.{module}", "-a", arguments)


def bare(prefix: str) -> tuple[float, float]:
    """Images a second of the bare script, by its own clock, to its last feature: from its first import, and from its first
    request."""
    printed = on_master("command", f"sudo -u spark {CURRENT}/python_env/bin/python {BARE} {CURRENT} {prefix}")
    told = json.loads(printed.splitlines()[-1])
    return float(told["rate"]), float(told["warm"])


def notebook(prefix: str) -> float:
    """Images a second of the usual notebook's way, by its own clock, from its first request to its last row."""
    on_master("copy", f"src={TOP}/tests/benchmarks/notebook_features.py dest={NOTEBOOK} mode=0644")
    packages = "pandas==3.1.1 python-dateutil six tzdata"  # the job does without
    on_master("command", f"{CURRENT}/python_env/bin/python -m pip install -q --no-deps --target {PANDAS} {packages}")
    submit = f'set -a; . {CURRENT}/conf/orchard.env; PYTHONPATH={PANDAS}:$PYTHONPATH; cd; exec "$SPARK_HOME/bin/spark-submit"'
    printed = on_master("shell", f"sudo -Hu spark sh -c '{submit} {NOTEBOOK} {CURRENT} {prefix}'")
    told, _ = json.JSONDecoder().raw_decode(printed[printed.rindex('{"images"') :])  # what Spark logs may follow on the line
    return float(told["rate"])


def measured(what: str, folder: str, rounds: int, **settings: object) -> float:
    """Median of the job's images a second over `rounds` uploads of a folder, all of it told beside the bare script's."""
    rates: list[tuple[float, float, float]] = []
    for number in range(rounds):
        prefix = f"images/{Path(folder).name}-{number}{len(settings)}/"
        play("playbooks/upload.yml", image_source=folder, images_prefix=prefix)
        rates.append((job(prefix, **settings), *bare(prefix)))
        told = "job {:.1f}, bare script {:.1f} images/s ({:.1f} from its first request)".format(*rates[-1])
        print(f"{what}, round {number + 1}: {told}", flush=True)
    ratios = [with_spark / without for with_spark, without, _ in rates]
    with_spark, without, warm = (statistics.median(of_one) for of_one in zip(*rates))
    print(
        f"{what}, median of {rounds} rounds: job {with_spark:.1f} images/s, bare script {without:.1f} images/s ({warm:.1f} from "
        f"its first request), ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )
    return float(with_spark)


def main() -> None:
    """Boot, measure in turn, tell, remove."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--large", type=int, default=0, help="pictures of 1600 x 1200 of as many rounds more, 0 for none (default: 0)"
    )
    parser.add_argument("--notebook", type=int, default=500, help="images of the notebook's pass, 0 for none (default: 500)")
    fruits = Path(os.environ.get("ORCHARD_FRUITS", TOP / "../shared/data/fruits-360"))
    parser.add_argument("--source", type=Path, default=fruits, help="folder of pictures (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        folder, fewer, photographs, large = (f"{top}/{name}" for name in ("many", "fewer", "photographs", "large"))
        for path in (folder, fewer, photographs, large):
            Path(path).mkdir()
        pictures(arguments.source.resolve(), arguments.images, Path(folder))
        pictures(arguments.source.resolve(), arguments.notebook, Path(fewer))
        if arguments.large:
            enlarged(arguments.source.resolve(), Path(photographs))
            pictures(Path(photographs), arguments.large, Path(large))
        try:
            play("playbooks/lab.yml")
            play("site.yml")
            on_master("copy", f"src={TOP}/tests/benchmarks/bare_features.py dest={BARE} mode=0644")
            with_spark = measured(f"{arguments.images} images", folder, arguments.rounds)
            if arguments.notebook:
                play("playbooks/upload.yml", image_source=fewer, images_prefix="images/notebook/")
                usual = notebook("images/notebook/")
                rate = f"{arguments.notebook} images: {usual:.1f} images/s"
                print(f"the usual notebook's way, {rate}; the job has {with_spark / usual:.1f} times that", flush=True)
            if arguments.large:
                what = f"{arguments.large} pictures of 1600 x 1200"
                measured(what, large, arguments.rounds)
                measured(f"{what}, reduced_jpegs", large, arguments.rounds, job_settings={"reduced_jpegs": True})
        finally:
            play("playbooks/lab_down.yml")


if __name__ == "__main__":
    main()
