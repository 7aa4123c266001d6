"""One name, one run: whatever is killed, repeated or runs at the same time, what is visible belongs together."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from core_support import Place, encoded, noise, pictures, small_model
from image_pca.errors import JobError
from image_pca.executors import LocalExecutor
from image_pca.job import Job
from image_pca.progress import Progress
from image_pca.publishing import Run
from image_pca.settings import Settings
from image_pca.storage import Storage, open_storage

if TYPE_CHECKING:
    from core_fixtures import Bucket

pytest_plugins = ["core_fixtures"]

EARLY, LATE = ({"finished": f"2026-01-02T03:04:0{second}+00:00"} for second in (5, 6))


def written(storage: Storage, run_id: str = "one", content: bytes = b"1") -> Run:
    run = Run(storage, "", run_id)
    run.write("pca.csv", content, "text/csv")
    run.write("pca.parquet/part-00000.parquet", content, "x")
    return run


def latest(storage: Storage) -> str:
    named: dict[str, str] = json.loads(storage.read("latest.json"))
    assert named["manifest"] == f"runs/{named['run_id']}/manifest.json"
    return named["run_id"]


def agrees(storage: Storage, run_id: str = "one") -> bool:
    manifest = json.loads(storage.read(f"runs/{run_id}/manifest.json"))
    stored = {file["path"]: storage.read(f"runs/{run_id}/{file['path']}") for file in manifest["files"]}
    return all(hashlib.sha256(stored[file["path"]]).hexdigest() == file["sha256"] for file in manifest["files"])


def test_a_run_that_was_killed_while_it_wrote_is_run_again(storage: Storage) -> None:
    written(storage)
    again = written(storage, content=b"2")
    again.publish(EARLY)
    assert latest(storage) == "one"
    assert agrees(storage)
    assert storage.read("runs/one/pca.csv") == b"2"


def test_who_lost_the_name_writes_nothing_more(storage: Storage) -> None:
    slow = written(storage)
    quick = written(storage, content=b"2")
    for act in (
        lambda: slow.write("pca.csv", b"1", "text/csv"),
        lambda: slow.write("new", b"1", "x"),
        lambda: slow.publish(EARLY),
    ):
        with pytest.raises(JobError, match="Another run of that name took over"):
            act()
    quick.publish(EARLY)
    assert agrees(storage)
    assert [info.key for info in storage.list("runs/one/n")] == []


def test_a_late_write_of_who_lost_the_name_fails(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(bucket.spec)
    slow = written(storage)
    check = slow._check
    quick: list[Run] = []

    def checked(entry: Any) -> None:
        check(entry)
        if not quick:
            quick.append(written(storage, content=b"2"))
            quick[0].publish(EARLY)

    monkeypatch.setattr(slow, "_check", checked)
    with pytest.raises(JobError, match="Another run of that name took over"):
        slow.write("pca.csv", b"late", "text/csv")
    assert agrees(storage)


def test_a_finished_run_is_not_touched(storage: Storage) -> None:
    first, second = written(storage), Run(storage, "", "one")
    first.publish(EARLY)
    for act in (lambda: second.finished({}), lambda: second.write("pca.csv", b"2", "x"), lambda: second.publish(LATE)):
        with pytest.raises(JobError, match="complete run of that name"):
            act()
    assert agrees(storage)


def test_the_lost_answer_to_the_manifest_is_no_conflict(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    run, put = written(storage), storage.put_if_absent

    def repeated(key: str, data: bytes, content_type: str) -> bool:
        done = put(key, data, content_type)
        return done and not key.endswith("manifest.json")

    monkeypatch.setattr(storage, "put_if_absent", repeated)
    run.publish(EARLY)
    monkeypatch.undo()
    assert latest(storage) == "one"


def test_another_manifest_is_a_conflict(storage: Storage) -> None:
    run = written(storage)
    storage.put("runs/one/manifest.json", b"{}", "application/json")
    with pytest.raises(JobError, match="complete run of that name"):
        run.publish(EARLY)
    assert not storage.exists("latest.json")


def test_files_of_a_killed_run_with_more_of_them_are_noticed(storage: Storage) -> None:
    written(storage).write("pca.parquet/part-00001.parquet", b"1", "x")
    run = written(storage)
    with pytest.raises(JobError, match="files of another run of that name") as error:
        run.publish(EARLY)
    assert error.value.where.endswith("runs/one/pca.parquet/part-00001.parquet")
    assert not storage.exists("runs/one/manifest.json")


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("missing", ["manifest.json", "latest.json"])
@pytest.mark.parametrize(("before", "after"), [("", "one"), ("earlier", "one"), ("later", "later")])
def test_what_a_kill_left_to_do_is_done(
    storage: Storage, missing: str, before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before:
        written(storage, before).publish({"finished": "2026-01-02T03:04:0" + ("1" if before == "earlier" else "9")})
    run = written(storage)

    def killed(key: str, *arguments: Any) -> Any:
        if key.endswith(missing):
            raise _Killed
        return put(key, *arguments)

    put, replace = storage.put_if_absent, storage.replace
    monkeypatch.setattr(storage, "put_if_absent", killed)
    monkeypatch.setattr(
        storage, "replace", lambda key, *more: killed(key, *more) if key == "latest.json" else replace(key, *more)
    )
    with pytest.raises(_Killed):
        run.publish(EARLY)
    monkeypatch.undo()
    assert storage.exists("runs/one/manifest.json") == (missing == "latest.json")
    assert not before or latest(storage) == before
    with pytest.raises(JobError, match="complete run of that name"):
        Run(storage, "", "one").finished({})
    assert latest(storage) == after
    assert agrees(storage)


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b'{"manifest": 5}', b'{"manifest": "runs/gone/manifest.json"}'])
def test_a_latest_json_that_names_no_run_is_repaired(storage: Storage, content: bytes) -> None:
    written(storage).publish(EARLY)
    storage.put("latest.json", content, "application/json")
    with pytest.raises(JobError, match="complete run of that name"):
        Run(storage, "", "one").finished({})
    assert latest(storage) == "one"


@pytest.mark.parametrize("missing", ["latest.json", "nothing"])
def test_a_run_that_a_kill_met_at_its_very_end_is_told_again(place: Place, missing: str) -> None:
    place.add(pictures(6))
    summary = place.run()
    if missing != "nothing":
        (place.output / missing).unlink()
    before = place.chunks()
    again = place.run()
    assert {**again, "seconds": {}} == {**summary, "seconds": {}}
    assert json.loads((place.output / "latest.json").read_text())["run_id"] == "one"
    place.add({"zzz/late.png": encoded(noise(1))})
    assert place.run()["listed"] == 6, "a run's name is used once"
    with pytest.raises(JobError, match="complete run of that name"):
        place.run(components=2)
    assert place.chunks() == before


def test_two_jobs_of_one_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add(pictures(8))
    values = {"images": str(place.images), "output": str(place.output), "model_dir": "x", "components": 2, "run_id": "one"}
    first, second = (
        Job(Settings.create({**values, "standardize": flag}), small_model(), LocalExecutor, Progress(""))
        for flag in (False, True)
    )
    write = second.write

    def late(*arguments: Any) -> None:
        first.run()
        write(*arguments)

    monkeypatch.setattr(second, "write", late)
    with pytest.raises(JobError, match="complete run of that name"):
        second.run()
    manifest = json.loads(place.file("manifest.json"))
    assert manifest["settings"]["standardize"] is False
    for file in manifest["files"]:
        assert hashlib.sha256(place.file(file["path"])).hexdigest() == file["sha256"]


def test_only_what_the_jobs_policy_allows_is_asked_for(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    storage: Any = open_storage(bucket.spec)
    asked: set[str] = set()
    call = storage._client._make_api_call

    def noted(operation: str, parameters: dict[str, Any]) -> Any:
        asked.add(operation)
        return call(operation, parameters)

    monkeypatch.setattr(storage._client, "_make_api_call", noted)
    written(storage)
    written(storage).publish(EARLY)
    assert asked <= {"GetObject", "PutObject", "ListObjectsV2"}
