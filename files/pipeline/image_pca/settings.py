"""What a run is told: one frozen object, checked before anything is touched."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import secrets
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Mapping, Union

from .errors import SettingsError

Components = Union[int, float, str]

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ENGINES = ("auto", "openvino", "tensorflow")
# What one setting stands for: values of other settings, and the model (name, pooling) that must be prepared.
PRESETS: dict[str, dict[str, Any]] = {"first-notebook": {"standardize": True, "components": 7}}
PRESET_MODELS = {"first-notebook": ("ResNet50", "none")}


@dataclasses.dataclass(frozen=True)
class Location:
    """A bucket or a folder, and a prefix inside it ("" or ending with "/")."""

    root: str
    prefix: str

    @property
    def is_s3(self) -> bool:
        return self.root.startswith("s3://")

    def url(self, key: str = "") -> str:
        return f"{self.root}/{self.prefix}{key}"


def new_run_id() -> str:
    """A name for a run that sorts by time and is safe in a key, a file name and a URL.

    Its last four digits are random, so that two runs of one second have two names.
    """
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that a run depends on; holds no secret.

    images: "s3://bucket/prefix/" or a folder. output: "s3://bucket" (a prefix may follow) or a
    folder. components: how many (int), a share of the variance (0 < x < 1), or "all".
    chunk_images: images in an object of the feature table, 0 for a size that suits their number.
    max_pixels, max_bytes: a larger image is rejected by name. thumbnails: how many the report may hold.
    work_dir: where progress.jsonl goes ("" for none). preset: "first-notebook" stands for ResNet50 unpooled,
    standardised, 7 components, and a pca.csv with the columns path, label, pca. What is set beside it wins.
    project_onto: an earlier run's name; its model gives the scores, and components and standardize do not matter.
    max_rejected: the share of the listed images above which rejections fail the run.
    reduced_jpegs: decode large JPEGs at a reduced scale, in half the time; features differ by less than 0.1 of their norm, and
    have a table of their own.
    """

    images: str
    output: str
    model_dir: str
    run_id: str = dataclasses.field(default_factory=new_run_id)
    endpoint_url: str = ""
    region: str = "us-east-1"
    inference_engine: str = "auto"
    components: Components = 50
    standardize: bool = False
    chunk_images: int = 0
    max_pixels: int = 100_000_000
    max_bytes: int = 268_435_456
    thumbnails: int = 300
    work_dir: str = ""
    title: str = ""
    preset: str = ""
    project_onto: str = ""
    max_rejected: float = 0.5
    reduced_jpegs: bool = False

    @classmethod
    def from_file(cls, path: str | Path) -> Settings:
        """Settings from a JSON object; raises SettingsError. work_dir defaults to the file's folder."""
        path = Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(
                "--settings", str(path), f"The file cannot be read: {error.strerror}.", "Give a readable JSON file."
            ) from error
        except ValueError as error:
            raise SettingsError(
                "--settings", str(path), f"The file is not JSON: {error}.", "Give a JSON object of settings."
            ) from error
        if not isinstance(values, dict):
            raise SettingsError("--settings", str(path), "The file holds no JSON object.", "Give name-value pairs.")
        return cls.create({"work_dir": str(path.resolve().parent), **values})

    @classmethod
    def create(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from names and values as JSON, YAML or a command line has them; raises SettingsError."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name, value in values.items():
            if name not in fields:
                known = ", ".join(sorted(fields))
                raise SettingsError(name, value, "There is no such setting.", f"The settings are: {known}.")
        for name in ("images", "output", "model_dir"):
            if not values.get(name):
                raise SettingsError(name, values.get(name, ""), "It is needed and missing.", "Set it.")
        checked: dict[str, Any] = {}
        for name, value in {**PRESETS.get(str(values.get("preset")), {}), **values}.items():
            if name == "components":
                checked[name] = parse_components(value)
            elif name in ("standardize", "reduced_jpegs"):
                checked[name] = _boolean(name, value)
            elif name == "max_rejected":
                checked[name] = _share(name, value)
            elif name in ("chunk_images", "max_pixels", "max_bytes", "thumbnails"):
                checked[name] = _count(name, value)
            else:
                checked[name] = _text(name, value)
        if not checked.get("run_id", "x"):
            del checked["run_id"]
        settings = cls(**checked)
        settings._check()
        return settings

    @property
    def source(self) -> Location:
        """Where the images are."""
        root, prefix = _split("images", self.images)
        return Location(root, prefix)

    @property
    def sink(self) -> Location:
        """Where features, runs and latest.json go."""
        root, prefix = _split("output", self.output)
        return Location(root, prefix)

    @property
    def limits(self) -> frozenset[str]:
        """The limits that refuse images, in the form in which a refusal names its own."""
        return frozenset((f"max_pixels={self.max_pixels}", f"max_bytes={self.max_bytes}"))

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def _check(self) -> None:
        if not RUN_ID.fullmatch(self.run_id):
            raise SettingsError(
                "run_id",
                self.run_id,
                "It is part of keys and file names.",
                "Use up to 100 letters, digits, dots, dashes and underscores.",
            )
        if self.inference_engine not in ENGINES:
            raise SettingsError(
                "inference_engine", self.inference_engine, "There is no such engine.", f"Use one of {', '.join(ENGINES)}."
            )
        if self.project_onto and not RUN_ID.fullmatch(self.project_onto):
            raise SettingsError("project_onto", self.project_onto, "It is no run's name.", "Name one as it stands under runs/.")
        if self.preset and self.preset not in PRESETS:
            raise SettingsError("preset", self.preset, "There is no such preset.", f"Use one of {', '.join(PRESETS)}, or none.")
        if self.endpoint_url and not re.match(r"https?://[^/\s]+", self.endpoint_url):
            raise SettingsError(
                "endpoint_url", self.endpoint_url, "It is not a URL.", 'Use http://host:port, or "" for AWS itself.'
            )
        source, sink = self.source, self.sink
        nested = source.root == sink.root and any(
            (sink.prefix + own).startswith(source.prefix) or source.prefix.startswith(sink.prefix + own)
            for own in ("features/", "runs/")
        )
        if not source.is_s3 and not sink.is_s3:
            outer, inner = Path(source.root), Path(sink.root)
            nested = outer == inner or outer in inner.parents
        if nested:
            raise SettingsError(
                "output",
                self.output,
                f"It lies among the images ({self.images}), so that results would be taken for images.",
                "Choose another output, or a folder of their own for the images.",
            )


def parse_components(value: Any) -> Components:
    """The setting `components`: int >= 1, 0 < float < 1, or "all"; raises SettingsError."""
    advice = "Use a count such as 50, a share of the variance such as 0.95, or all."
    if isinstance(value, str) and value.strip().lower() == "all":
        return "all"
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        raise SettingsError("components", value, "It is no number.", advice) from None
    if 0 < number < 1:
        return number
    is_count = math.isfinite(number) and number >= 1 and number == int(number)
    if not is_count or (number == 1 and not isinstance(value, int) and "." in str(value)):
        raise SettingsError("components", value, "It is neither a count nor a share of the variance.", advice)
    return int(number)


def _split(field: str, value: str) -> tuple[str, str]:
    if not value.startswith("s3://"):
        if "://" in value:
            raise SettingsError(field, value, "Only s3:// URLs and folders can be used.", "Use s3://bucket/prefix/.")
        return str(Path(value).expanduser().resolve()), ""
    bucket, _, prefix = value[len("s3://") :].partition("/")
    if not BUCKET.fullmatch(bucket):
        raise SettingsError(
            field, value, f"{bucket!r} is not a bucket's name.", "Bucket names have 3 to 63 of a-z, 0-9, dot and dash."
        )
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    return f"s3://{bucket}", prefix


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingsError(name, value, "It is not text.", "Put it in quotes.")
    return value


def _boolean(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "yes", "1"):
        return True
    if str(value).lower() in ("false", "no", "0", ""):
        return False
    raise SettingsError(name, value, "It is neither true nor false.", "Use true or false.")


def _count(name: str, value: Any) -> int:
    try:
        number = -1 if isinstance(value, bool) else int(str(value))
    except ValueError:
        number = -1
    if number < 0 or (number == 0 and name.startswith("max_")):
        raise SettingsError(name, value, "It is not a count.", "Use a whole number.")
    return number


def _share(name: str, value: Any) -> float:
    try:
        number = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise SettingsError(name, value, "It is no share.", "Use a number from 0 (none) to 1 (any), such as 0.05.")
    return number
