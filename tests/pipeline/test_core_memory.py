"""The memory that a run says it will need, held against what runs of today take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_support import PIPELINE, Place, encoded, noise, pictures, small_model
from image_pca import memory
from image_pca.errors import JobError
from image_pca.executors import cores
from image_pca.listing import ImageRef
from image_pca.memory import available_bytes, demand, judge
from image_pca.pca import fit_rows
from image_pca.settings import Settings
from image_pca.sizes import BYTES_A_PIXEL, MB, pca_bytes, plan_of
from PIL import Image

pytest_plugins = ["core_fixtures"]

GB = 1 << 30
VALUES = {"images": "s3://fruit/images", "output": "s3://fruit", "model_dir": "m"}
# ru_maxrss would be inherited from who forked.
PEAK = """
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
"""
MEASURE = (
    PEAK
    + """
import sys, tempfile
import numpy as np, boto3
from image_pca import matrix
from image_pca.executors import ThreadExecutor
from image_pca.listing import ImageRef
from image_pca.storage import StorageSpec, open_storage
from image_pca.table import Row, to_parquet
rows, columns, components = map(int, sys.argv[1:])
random = np.random.default_rng(0)
with tempfile.TemporaryDirectory() as folder:
    spec, parts = StorageSpec(folder, "", ""), []
    for start in range(0, rows, 32):
        block = random.random(size=(min(32, rows - start), columns), dtype=np.float32)
        held = [Row(ImageRef(str(start + index), "", "e", 1), row) for index, row in enumerate(block)]
        open_storage(spec).put(f"{start}.parquet", to_parquet(held), "x")
        parts.append(matrix.Part(f"{start}.parquet", tuple(range(len(block))), tuple(range(start, start + len(block)))))
    before = peak()
    matrix.fit(spec, parts, columns, ThreadExecutor(), components=components, standardize=True)
print(peak() - before)
"""
)


def measured(code: str, *arguments: object) -> int:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(PIPELINE), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize(
    ("rows", "columns", "components"),
    [(20_000, 1280, 50), (5000, 2000, 50), (400, 60_000, 50), (600, 12_000, 600), (1800, 5000, 20)],
)
def test_the_pca_takes_what_the_plan_says(rows: int, columns: int, components: int) -> None:
    found, told = measured(MEASURE, rows, columns, components), pca_bytes(rows, columns, components, cores())
    assert told == pytest.approx(found, rel=0.25), f"{told / MB:.0f} MB told, {found / MB:.0f} MB seen"


DECODE = (
    PEAK
    + """
import sys
from image_pca.images import decode
small, large = (open(name, "rb").read() for name in sys.argv[1:])
decode(small, (224, 224), 100_000_000)
before = peak()
decode(large, (224, 224), 100_000_000)
print(peak() - before)
"""
)


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_the_largest_picture_takes_what_the_plan_says(tmp_path: Path, mode: str) -> None:
    (tmp_path / "small").write_bytes(encoded(noise(1)))
    side = 6000
    (tmp_path / "large").write_bytes(encoded(Image.new(mode, (side, side)), "JPEG"))
    found = measured(DECODE, tmp_path / "small", tmp_path / "large")
    most = BYTES_A_PIXEL * side * side
    assert found < 1.1 * most
    assert found > 0.4 * most, "the plan would refuse what fits"


def test_large_pictures_wait_for_each_other_in_all_processes(tmp_path: Path) -> None:
    """Two processes that decode a large picture at once: the second begins when the first is done."""
    (tmp_path / "large").write_bytes(encoded(Image.new("L", (5100, 5000)), "PNG"))
    code = (
        "import sys, time; from image_pca import images; opened = images._rgb\n"
        "def slow(picture):\n    begun = time.time(); time.sleep(1); found = opened(picture)\n"
        "    print(begun, time.time()); return found\n"
        "images._rgb = slow; images.decode(open(sys.argv[1], 'rb').read(), (8, 8), 10**8)"
    )
    environment = {**os.environ, "PYTHONPATH": str(PIPELINE), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tmp_path / "large")]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    spans = sorted(tuple(map(float, process.communicate()[0].split())) for process in both)
    assert spans[0][1] <= spans[1][0]


def refs(number: int, size: int = 5000) -> list[ImageRef]:
    return [ImageRef(f"images/{index}", "", "e", size) for index in range(number)]


def refused(available: int, features: int, number: int, slots: int = 2, **more: Any) -> JobError:
    settings = Settings.create({**VALUES, **more})
    with pytest.raises(JobError, match="memory does not suffice") as error:
        judge(demand(settings, small_model(features), refs(number), slots, True), settings, available)
    return error.value


def fits(available: int, features: int, number: int, slots: int = 2, **more: Any) -> bool:
    settings = Settings.create({**VALUES, **more})
    judge(demand(settings, small_model(features), refs(number), slots, True), settings, available)
    return True


def test_the_first_notebooks_host_does_for_what_it_did() -> None:
    assert fits(4 * GB, 100_352, 8, preset="first-notebook")
    assert fits(4 * GB, 1280, 50_000)
    assert fits(16 * GB, 1280, 50_000, slots=8)


class TestAdvice:
    """What a refusal says would do, does."""

    def test_fewer_images(self) -> None:
        error = refused(4 * GB, 100_352, 20_000, components=50)
        most = int(error.todo.partition("at most ")[2].partition(" images")[0].replace(",", ""))
        assert 1000 < most < 20_000
        assert fits(4 * GB, 100_352, most, components=50)
        assert "a model with fewer features" in error.todo
        assert "PCA" in error.why

    def test_smaller_pictures(self) -> None:
        error = refused(2 * GB, 1280, 1000)
        most = int(error.todo.partition("max_pixels = ")[2].split(",")[0].split(".")[0])
        assert fits(2 * GB, 1280, 1000, max_pixels=most)
        assert "local[1]" in error.todo

    def test_a_larger_host(self) -> None:
        error = refused(1 * GB, 1280, 1000)
        gigabytes = int(error.todo.partition("a host with ")[2].split()[0])
        assert fits(gigabytes * GB, 1280, 1000)


SCORE = (
    PEAK
    + """
import sys, tempfile
import numpy as np, boto3
from image_pca import matrix
from image_pca.executors import ThreadExecutor
from image_pca.listing import ImageRef
from image_pca.pca import fit_rows
from image_pca.storage import StorageSpec, open_storage
from image_pca.table import Row, to_parquet
rows, columns, chunk, components = map(int, sys.argv[1:])
random = np.random.default_rng(0)
with tempfile.TemporaryDirectory() as folder:
    spec, parts = StorageSpec(folder, "", ""), []
    model = fit_rows(random.random(size=(components + 1, columns), dtype=np.float32), components, False)
    for start in range(0, rows, chunk):
        held = [Row(ImageRef(str(start + n), "", "e", 1), random.random(columns, np.float32)) for n in range(chunk)]
        open_storage(spec).put(f"{start}.parquet", to_parquet(held), "x")
        parts.append(matrix.Part(f"{start}.parquet", tuple(range(chunk)), tuple(range(start, start + chunk))))
    del held
    before = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmRSS"))
    open("/proc/self/clear_refs", "w").write("5")
    matrix.scores(spec, parts, model, ThreadExecutor(), lambda _: None)
print(peak() - before)
"""
)


def test_scores_of_large_chunks_take_no_more_than_the_plan_says() -> None:
    saved = fit_rows(np.random.default_rng(0).random((9, 100_352), np.float32), 8, False)
    settings = Settings.create({**VALUES, "chunk_images": 160, "project_onto": "one"})
    told = plan_of(demand(settings, small_model(100_352), refs(320), 0, False, saved=saved))
    found = measured(SCORE, 320, 100_352, 160, 8)
    assert 0.5 * told.pca < found < 1.1 * told.pca, f"{told.pca / MB:.0f} MB told, {found / MB:.0f} MB seen"
    without = plan_of(demand(settings, small_model(100_352), refs(320), 0, False))
    assert told.driver == without.driver + 3 * saved.components.nbytes


def test_a_run_tells_its_plan_and_keeps_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add(pictures(9))
    place.run()
    assert "memory: up to " in capsys.readouterr().err
    told = json.loads(place.file("manifest.json"))["memory"]
    assert told["most"] >= told["driver"] + told["pca"] > 0


def test_a_run_that_cannot_fit_begins_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 * MB)
    place.add(pictures(9))
    with pytest.raises(JobError, match="memory does not suffice"):
        place.run()
    assert not place.chunks()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MemTotal: 4000 kB\nMemFree: 1 kB\nSwapTotal: 1000 kB\n", 5000 * 1024),
        ("MemTotal: 4000 kB\n", 4000 * 1024),
        ("", 0),
        ("x", 0),
    ],
)
def test_memory_is_read_where_it_can_be(tmp_path: Path, text: str, expected: int) -> None:
    (tmp_path / "meminfo").write_text(text)
    assert available_bytes(str(tmp_path / "meminfo")) == expected
    assert available_bytes(str(tmp_path / "none")) == 0
    assert available_bytes() > 100 * MB
