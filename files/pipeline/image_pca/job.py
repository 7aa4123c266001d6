"""The run, from a place full of images to a PCA matrix: spark-submit .../image_pca/job.py --settings FILE"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # spark-submit starts this file by its path, which makes no package of it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from image_pca.job import main as package_main

    sys.exit(package_main(sys.argv[1:]))

import argparse
import contextlib
import functools
import signal
from typing import Any, Callable, Iterator, Sequence

from . import compaction, comparison, matrix, memory, outputs, projection, publishing, resuming, table
from .errors import JobError
from .executors import SparkExecutor, Tick
from .features import Done, FeatureModel, Work, compute, rows_of
from .guard import guarded
from .installed import prepared_model, versions
from .listing import ImageRef, Listing, list_images
from .outputs import RejectedImage
from .pca import PcaModel, check_count
from .plan import Chunk, count
from .progress import Progress
from .settings import Location, Settings
from .sizes import FEWEST_ROWS, chunk_size, plan_of
from .storage import Storage, StorageSpec, open_storage
from .summary import manifest_of, reasons, report_page, summary_of, too_many_rejected

WRITING_STEPS = 5


class Job:
    """One run. new_executor starts what maps functions over chunks: Spark, or this process.

    run() is the whole way; a notebook goes it step by step.
    """

    def __init__(self, settings: Settings, model: FeatureModel, new_executor: Callable[[], Any], progress: Progress) -> None:
        self.settings = settings
        self.model = model
        self.progress = progress
        self.source = _open(settings, settings.source)
        self.sink = _open(settings, settings.sink)
        self.result = publishing.Run(self.sink, settings.sink.prefix, settings.run_id)
        self.table_prefix = f"{settings.sink.prefix}features/{model.fingerprint}/"
        self.index: table.Index = {}
        self.rejected: list[RejectedImage] = []
        self.facts: dict[str, Any] = {}
        self.saved: PcaModel | None = None
        self._new_executor = new_executor

    def run(self) -> dict[str, Any]:
        """The whole way; returns the summary. Raises JobError, and then no reader sees anything of the run."""
        with self.progress.stage("listing"):
            finished = self.result.finished(self.settings.as_dict())
            if finished:
                return summary_of(finished, finished["seconds"], self.sink.url(self.result.prefix))
            self.saved = self._saved_model()
            plans = resuming.Plans(self.sink, self.table_prefix, self.settings)
            stored = plans.find(self._check)
            listing = stored.listing if stored else list_images(self.source, self.settings.source)
            self._check(listing)
            self.progress.update(len(listing.images), len(listing.images), force=True)
        with contextlib.closing(self._new_executor()) as executor:
            with self.progress.stage("features"):
                self.features(listing, executor, plans, stored)
            with self.progress.stage("pca"):
                fitted, good, scores, errors = self._pca(listing, executor, plans)
            self.facts["versions"] = {**versions(), **executor.versions()}
        with self.progress.stage("writing"):
            manifest = self.write(listing, good, scores, errors, fitted)
        return summary_of(manifest, self.progress.seconds, self.sink.url(self.result.prefix))

    def _check(self, listing: Listing) -> None:
        """Refuse more components than images now: rejections can only make it worse, and the features may take hours."""
        if self.saved is None and len(listing.images) >= FEWEST_ROWS:
            check_count(len(listing.images), self.model.features, self.settings.components)

    def _pca(self, listing: Listing, executor: Any, plans: resuming.Plans) -> Any:
        """The PCA, the good images, and their scores and errors."""
        parts = matrix.parts_of(listing.images, self.index)
        near = matrix.nearest(self.facts["accounting"]["rows"], self.model.features, executor)
        try:
            fitted = self.fit(parts, near)
        except JobError:  # with other images it may go well
            plans.forget()
            raise
        places, scores, errors = self.scores(parts, fitted, near)
        return fitted, [listing.images[place] for place in places], scores, errors

    def _saved_model(self) -> PcaModel | None:
        onto = self.settings.project_onto
        return projection.model_of_run(self.sink, f"{self.settings.sink.prefix}runs/", onto, self.model) if onto else None

    def features(
        self,
        listing: Listing,
        executor: Any,
        plans: resuming.Plans | None = None,
        stored: resuming.Planned | None = None,
    ) -> None:
        """Compute what the feature table lacks; then index, rejected and facts know the outcome of every listed image.

        plans: where to keep the plan of a run that can be resumed; stored: the plan that it kept before.
        """
        images = listing.images
        limits, wanted = self.settings.limits, self.settings.chunk_images
        self.index = table.read_index(self.sink, self.table_prefix, images, limits, stored.accepts() if stored else None)
        planned = stored or resuming.planned(listing, self.index, wanted)
        chunks = stored.left(self.index.keys(), wanted) if stored else planned.chunks
        reused = len(images) - count(chunks)
        told = functools.partial(self._tell, reused, len(images))
        told(0)
        self._plan_memory(images, executor, bool(chunks))
        if stored:
            self.progress.say(f"the stored plan goes on: {len(images):,} images; others that came since belong to the next run")
        elif plans:
            plans.store(planned)
        done: Sequence[Done] = executor.map(self._computation(executor.threads), chunks, told) if chunks else []
        for chunk, result in zip(chunks, done):
            table.add_places(self.index, result.object_key, rows_of(result, chunk), limits)
        transient = {item[0]: RejectedImage(*item) for result in done for item in result.transient}
        rejected = (self._rejection(image, transient) for image in images)
        self.rejected = [item for item in rejected if item is not None]
        rows = sum(self._is_row(image) for image in images)
        self.facts.update(
            {
                "accounting": {"listed": len(images), "rows": rows, "rejected": len(self.rejected)},
                "reused": reused,
                "computed": len(images) - reused - len(transient),
            }
        )
        if rows + len(self.rejected) != len(images):
            raise self._lost(f"{rows} are rows and {len(self.rejected)} are rejected.")
        told(len(images) - reused, force=True)
        small = compaction.small_objects(images, self.index, chunk_size(len(images), self.settings.chunk_images))
        near = matrix.nearest(sum(len(source.rows) for group in small for source in group), self.model.features, executor)
        for object_key, rows_there in compaction.compact(self.sink.spec, self.table_prefix, small, near):
            table.add_places(self.index, object_key, rows_there, limits)
        self.facts["compacted"] = sum(len(group) for group in small)

    def _plan_memory(self, images: Sequence[ImageRef], executor: Any, work: bool) -> None:
        slots, spark = (executor.slots, executor.spark) if work else (0, False)
        wanted = memory.demand(self.settings, self.model, images, slots, spark, saved=self.saved)
        needed = plan_of(wanted)
        self.facts["memory"] = needed.as_dict()
        self.progress.say(f"memory: {needed.told()}")
        memory.judge(wanted, self.settings, memory.available_bytes())

    def _computation(self, threads: int) -> Callable[[Tick, Chunk], Done]:
        work = Work(
            self.source.spec,
            self.sink.spec,
            self.table_prefix,
            self.model,
            self.settings.max_pixels,
            self.settings.max_bytes,
            threads,
        )
        return functools.partial(compute, work)

    def _tell(self, reused: int, total: int, done: int, force: bool = False) -> None:
        self.progress.update(min(reused + done, total), total, force, new=done)

    def _rejection(self, image: ImageRef, transient: dict[ImageRef, RejectedImage]) -> RejectedImage | None:
        place = self.index.get((image.key, image.etag))
        if place is None:
            return transient.get(image)
        return None if place.stage is None else RejectedImage(image, place.stage, place.reason or "")

    def _is_row(self, image: ImageRef) -> bool:
        place = self.index.get((image.key, image.etag))
        return place is not None and place.stage is None

    def _lost(self, why: str) -> JobError:
        listed = self.facts["accounting"]["listed"]
        return JobError(
            "The numbers of images do not agree",
            self.settings.images,
            f"{listed} are listed, but {why}",
            "Nothing was published. Please report it, with the log.",
        )

    def fit(self, parts: list[matrix.Part], executor: Any) -> PcaModel:
        """The PCA of all good images, or the saved model; raises JobError when they are too few."""
        rows, settings = self.facts["accounting"]["rows"], self.settings
        fewest = FEWEST_ROWS if self.saved is None else 1
        if rows < fewest:
            raise JobError(
                "There are too few images for a PCA",
                self.settings.images,
                f"{rows} of {self.facts['accounting']['listed']} can be used, and it needs {fewest}. " + reasons(self.rejected),
                "Upload more pictures, or repair these.",
            )
        if len(self.rejected) > settings.max_rejected * self.facts["accounting"]["listed"]:
            raise too_many_rejected(settings, self.rejected, self.facts["accounting"]["listed"])
        if self.saved is not None:
            return self.saved
        return matrix.fit(
            self.sink.spec,
            parts,
            self.model.features,
            executor,
            components=settings.components,
            standardize=settings.standardize,
        )

    def scores(self, parts: list[matrix.Part], fitted: PcaModel, executor: Any) -> Any:
        """Places of the good images in the listing, ascending, their scores [n, k] and reconstruction errors [n]."""
        told = functools.partial(self._tell, 0, self.facts["accounting"]["rows"])
        places, scores, errors = matrix.scores(self.sink.spec, parts, fitted, executor, told)
        rows = self.facts["accounting"]["rows"]
        if not rows == len(set(places)) == len(scores):
            raise self._lost(f"of the {rows} good ones {len(set(places))} are in the table and {len(scores)} have scores.")
        return places, scores, errors

    def write(self, listing: Listing, good: list[ImageRef], scores: Any, errors: Any, fitted: PcaModel) -> dict[str, Any]:
        """Write the results and the report, and last of all what makes the run visible: the manifest, which is returned."""
        steps: Iterator[int] = iter(range(1, WRITING_STEPS + 1))
        objects = table.objects_of(listing.images, self.index)
        self.index = {}  # a third of what the driver holds of a run with many images, and nothing asks it any more

        def step() -> None:
            self.progress.update(next(steps), WRITING_STEPS, force=True)

        url = self.source.url if self.settings.preset == "first-notebook" else None
        outputs.write_results(self.result, good, scores, model=fitted, rejected=self.rejected, step=step, url=url)
        self.result.write(comparison.LISTED, comparison.listed_parquet(listing.images), table.PARQUET)
        self.facts["changes"] = comparison.changes_since(self.sink, self.settings, listing.images, fitted, self.model.fingerprint)
        page = report_page(
            self.settings,
            self.model,
            self.source,
            good=good,
            scores=scores,
            errors=errors,
            fitted=fitted,
            rejected=self.rejected,
            seconds=self.progress.seconds,
            facts=self.facts,
        )
        self.result.write("report.html", page, outputs.HTML)
        step()
        manifest = manifest_of(
            self.settings,
            self.model,
            seconds=self.progress.seconds_so_far(),
            listing=listing,
            objects=objects,
            fitted=fitted,
            facts=self.facts,
        )
        self.result.publish(manifest)
        step()
        return manifest


def main(argv: list[str] | None = None) -> int:
    """Run on Spark what the settings file says; 0 when the run is complete and visible."""
    parser = argparse.ArgumentParser(prog="job.py", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--settings", required=True, help="JSON file of settings; its folder gets progress.jsonl")
    path = parser.parse_args(argv).settings
    try:
        settings = Settings.from_file(path)
        progress = Progress(settings.work_dir)
    except JobError as error:
        with contextlib.suppress(JobError):
            Progress(str(Path(path).resolve().parent)).failed(error)
        print(f"error: {error}", file=sys.stderr)
        return 1

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)

    def body() -> dict[str, Any]:
        model = prepared_model(settings)
        return Job(settings, model, lambda: SparkExecutor(f"Orchard {settings.run_id}"), progress).run()

    return guarded(body, progress)


def _open(settings: Settings, location: Location) -> Storage:
    return open_storage(StorageSpec(location.root, settings.endpoint_url, settings.region))


if __name__ == "__main__":
    sys.exit(main())
