"""What the JSON files of a run folder hold: the data source, `run.json` and `result.json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from vae_builder.config import TrainConfig
from vae_builder.data import Dataset, load_dataset
from vae_builder.data.loading import Condition
from vae_builder.data.samples import Layout
from vae_builder.data.splits import TEST_FRACTION, VALIDATION_FRACTION
from vae_builder.run.folder import RUN_FILE
from vae_builder.training.defaults import config_for
from vae_builder.training.train import data_spec
from vae_runtime.bundle.fields import DataSpec
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.data.samples.conditions import ConditionSpec
from vae_runtime.data.tables.encoding import Missing, UnknownCategory
from vae_runtime.errors import InputError
from vae_runtime.explained import Explained
from vae_runtime.files import strict_json
from vae_runtime.files.atomic_files import replacing
from vae_runtime.files.paths import absolute
from vae_runtime.latents import Latents
from vae_runtime.loss import Losses


@dataclass(frozen=True)
class Source:
    """Source of a data set: the arguments of `load_dataset`."""

    source: str
    key: str | None = None
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    skip_unreadable: bool = strict_json.optional(False)
    keep_columns: tuple[str, ...] = strict_json.optional(())
    drop: tuple[str, ...] = strict_json.optional(())
    columns: tuple[str, ...] | None = strict_json.optional(None)
    label: str | None = strict_json.optional(None)
    categorical: tuple[str, ...] = strict_json.optional(())
    missing: Missing = strict_json.optional("error")  # noqa: RUF009
    unknown_category: UnknownCategory = strict_json.optional("error")  # noqa: RUF009
    layout: Layout | None = strict_json.optional(None)  # noqa: RUF009
    condition: Condition | None = strict_json.optional(None)  # noqa: RUF009
    validation_fraction: float = VALIDATION_FRACTION
    test_fraction: float = TEST_FRACTION
    split_seed: int = 0

    def load(self) -> Dataset:
        """Load the data set; see `load_dataset` for the errors that it raises."""
        return load_dataset(**asdict(self))


@dataclass(frozen=True)
class RunRecord:
    """Content of `run.json`. `source` is null if the data was passed as a `Dataset`.

    `folder` is the current folder at the start of training, if `source` is a path.
    """

    format: Literal["build-vae-run"]
    format_version: Literal[1]
    config: TrainConfig
    source: Source | None
    data: DataSpec
    versions: dict[str, str]
    folder: str | None = strict_json.optional(None)

    def load_data(self) -> Dataset | None:
        """Load the data set again, from another current folder too; None if there is no source."""
        if self.source is None:
            return None
        at_start = Path(self.folder or "", self.source.source)
        source = str(at_start) if self.folder and at_start.exists() else self.source.source
        return replace(self.source, source=source).load()


@dataclass(frozen=True)
class ResultRecord:
    """Content of `result.json`."""

    validation: Losses[float]
    test: Losses[float]
    latents: Latents
    seconds: float
    standardization: Standardization | None
    explained: Explained | None = strict_json.optional(None)  # noqa: RUF009
    condition: ConditionSpec | None = strict_json.optional(None)  # noqa: RUF009


def new_record(
    source: Source | Dataset,
    dataset: Dataset,
    config: TrainConfig | Callable[[Dataset], TrainConfig] | None,
) -> RunRecord:
    """Return the record of a new run.

    Args:
        source: source of the data, or the data.
        dataset: the data.
        config: training options, or a function that chooses them; by default `config_for`.
    """
    recorded = None if isinstance(source, Dataset) else source
    folder = str(absolute(".")) if recorded and Path(recorded.source).exists() else None
    config = config or config_for
    config = (config(dataset) if callable(config) else config).for_samples(len(dataset.train))
    data = data_spec(dataset)
    return RunRecord("build-vae-run", 1, config, recorded, data, library_versions(), folder)


def read_record(path: Path) -> RunRecord:
    """Read `run.json` of a run folder; raise InputError if it is missing or damaged."""
    if not (path / RUN_FILE).is_file():
        raise InputError(
            f"{path} is not a run folder (no {RUN_FILE}): make one with build-vae train {path.name}"
        )
    try:
        return strict_json.parse(RunRecord, strict_json.decode((path / RUN_FILE).read_bytes()))
    except (OSError, ValueError) as error:
        raise InputError(f"{path / RUN_FILE}: {error}: the file is damaged; train again") from None


def write_json(path: Path, record: RunRecord | ResultRecord) -> None:
    """Write a record, replacing its file atomically."""
    with replacing(path) as file:
        file.write(strict_json.encode(record))


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that a result depends on."""
    modules = {"tensorflow": tf, "keras": keras, "numpy": np}
    versions = {name: str(module.__version__) for name, module in modules.items()}
    return {**versions, "build-vae": metadata.version("build-vae")}
