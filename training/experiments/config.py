"""Settings of a grid: data sets, models, seeds, what is trained alike, and which models are compared."""

import tomllib
from itertools import product
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from features.section import Count, Section
from training.errors import ConfigError
from training.evaluate.slices import PRIMARY, SLICES
from training.fit.config import Config, Data, Hardware, TrainingSection, Validation
from training.fit.explain import explain
from training.fit.measure import metrics_of
from training.fit.models import ModelConfig

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Comparison(Section):
    """What is claimed of a model against its control, on which data."""

    model: str
    control: str
    metric: str | None = None  # instead of the grid's
    gain: tuple[str, ...] = ()  # data sets on which the model is to be better
    null: tuple[str, ...] = ()  # data sets on which it is to be no better: equivalence within 1 %
    slices: tuple[str, ...] = ("all", "first_of_session", PRIMARY)
    null_slice: str = PRIMARY

    @model_validator(mode="after")
    def _known_slices(self) -> Self:
        unknown = [name for name in (*self.slices, self.null_slice) if name not in SLICES]
        if unknown:
            raise ValueError(f"slices {', '.join(unknown)} are unknown; known: {', '.join(SLICES)}")
        return self


class Grid(Section):
    """One grid; every cell trains one model on one data set under one seed."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1, 2, 3)
    metric: str = "hr_10"  # of tables, plots and, where they name no other, of comparisons
    test_targets: Count = 20_000  # at most, whole users
    data: Annotated[dict[str, Data], Field(min_length=1)]
    models: Annotated[dict[str, ModelConfig], Field(min_length=1)]
    training: TrainingSection = TrainingSection()
    training_of: dict[str, TrainingSection] = Field(
        default_factory=dict
    )  # by model, instead of the above; a pair shares a budget
    validation: Validation = Validation()
    hardware: Hardware = Hardware()
    comparisons: tuple[Comparison, ...] = ()

    @model_validator(mode="after")
    def _named(self) -> Self:
        for name in self.training_of:
            if name not in self.models:
                raise ValueError(f"training_of {name}: no such model; there are {', '.join(self.models)}")
        for comparison in self.comparisons:
            for name in (comparison.model, comparison.control):
                if name not in self.models:
                    raise ValueError(
                        f"comparison of {name}: no such model; there are {', '.join(self.models)}"
                    )
            for name in (*comparison.gain, *comparison.null):
                if name not in self.data:
                    raise ValueError(f"comparison on {name}: no such data; there are {', '.join(self.data)}")
        return self

    @model_validator(mode="after")
    def _measured(self) -> Self:
        asked = {self.metric, *(one.metric for one in self.comparisons if one.metric)}
        for data, (name, model) in product(self.data.values(), self.models.items()):
            known = metrics_of(model, data.candidates.negatives)
            if unknown := sorted(asked - set(known)):
                raise ValueError(
                    f"metric {', '.join(unknown)} is not measured of {name}; one of {', '.join(known)}"
                )
        return self

    def cell(self, model: str, data: str, seed: int, output: Path) -> Config:
        """The configuration of one run, as ``python -m training.fit`` knows it."""
        return Config(
            output=str(output),
            seed=seed,
            log_every=100,
            data=self.data[data],
            model=self.models[model],
            training=self.training_of.get(model, self.training),
            validation=self.validation,
            hardware=self.hardware,
        )


def load_grid(path: Path) -> Grid:
    """The validated grid of a TOML file; ConfigError with file, key and remedy."""
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; pass --config conf/experiments/NAME.toml") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None
    try:
        return Grid.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, plain, Grid)[1]}") from None
