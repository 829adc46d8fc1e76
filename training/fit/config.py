"""Every setting of a training run, with its default; an unknown key is an error."""

import hashlib
import json
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from features.section import Count, Duration, Instant, Section, Share
from training.fit.models import ModelConfig, is_click
from training.fit.schedule import Shape


class Candidates(Section):
    """What click models learn from and are measured by: a target among drawn negatives."""

    negatives: Literal["uniform", "popularity", "category"] = "popularity"
    drawn: Count = 4  # for a target of training
    targets_per_row: Count = 4  # of training
    measured: Count = 50  # drawn for a target of validation and test


class Data(Section):
    """Which table, which targets, and how they are batched."""

    warehouse: str | None = None  # its published gold/user_sequences
    table: str | None = None  # or a sequence table by its path
    version: Literal["latest"] | Annotated[int, Field(ge=0)] = "latest"  # latest is pinned when a run begins
    train_end: Instant | None = None  # targets before it are learned from; default: the fit's own
    holdout: Duration | None = None  # or learn up to this long before as_of, if the fit's own is earlier
    valid_end: Instant | None = (
        None  # targets from train_end to here are validated on; default: half the rest
    )
    test_end: Instant | None = None  # targets from valid_end to here are the test; default: all the rest
    min_count: Count = 5  # items with fewer events before train_end share one code
    min_category_items: Count = 1  # categories with fewer such items share one code
    max_length: Annotated[int, Field(ge=2)] = 256  # events of a row at most
    tokens: Count = 4096  # events of a batch, padding included
    negatives: Count = 512  # shared by a batch's targets, where the softmax is sampled
    candidates: Candidates = Candidates()
    reader_pool: Literal["dummy", "thread"] = "dummy"  # of Petastorm; changes no batch
    reader_workers: Count = 1  # of the thread pool; changes no batch

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.warehouse is None) == (self.table is None):
            raise ValueError("set warehouse, or table for a sequence table by its path, and not both")
        if self.train_end is not None and self.holdout is not None:
            raise ValueError("set train_end, or holdout for a time that moves with the data, and not both")
        names = [name for name in ("train_end", "valid_end", "test_end") if getattr(self, name)]
        for one, next_one in pairwise(names):
            first, second = getattr(self, one), getattr(self, next_one)
            if first >= second:
                raise ValueError(f"{one} {first.isoformat()} is not before {next_one} {second.isoformat()}")
        return self


class TrainingSection(Section):
    """The optimiser and its steps."""

    steps: Count = 1100
    accumulate: Count = 1  # batches of each device in a step
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3  # the peak
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.3  # share of the steps that lead to the peak
    schedule: Shape = "one_cycle"
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    betas: tuple[Share, Share] = (0.9, 0.999)
    clip: Annotated[float, Field(ge=0)] = 1.0  # largest norm of the gradient; 0 leaves it alone


class Validation(Section):
    """When to measure, and when to stop."""

    every: Annotated[int, Field(ge=0)] = 100  # steps; 0 never
    targets: Count = 5_000  # at most, whole users
    metric: str = "auto"  # decides which weights are best; auto: ndcg_10, or gauc of click models
    patience: Annotated[int, Field(ge=0)] = 5  # validations without a better one end the run; 0 never
    min_delta: Annotated[float, Field(ge=0)] = 0.0  # better by more than this


class Test(Section):
    """The report on the test window, with the best weights, once training is done."""

    targets: Annotated[int, Field(ge=0)] = 20_000  # at most, whole users; 0 leaves the test out


class Checkpoints(Section):
    """What an interrupted run resumes from."""

    every: Count = 200  # steps; and when the run ends or is interrupted


def _text(value: Any) -> Any:
    return str(value) if type(value) is int else value


class Hardware(Section):
    """Where to train, and in which precision."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Count = 1
    precision: Annotated[Literal["32", "bf16-mixed"], BeforeValidator(_text)] = "32"
    compile: bool = False


class Config(Section):
    """The whole configuration; ``[data]`` and ``[model]`` have no default."""

    output: str  # folder of the run
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 17
    log_every: Count = 20  # steps
    data: Data
    model: ModelConfig
    training: TrainingSection = TrainingSection()
    validation: Validation = Validation()
    test: Test = Test()
    checkpoints: Checkpoints = Checkpoints()
    hardware: Hardware = Hardware()

    @property
    def metric(self) -> str:
        """What decides which weights are best."""
        if self.validation.metric != "auto":
            return self.validation.metric
        return f"gauc_{self.data.candidates.negatives}" if is_click(self.model) else "ndcg_10"

    @property
    def identity(self) -> str:
        """JSON of all that a run's weights depend on: where and how often it writes is left out.

        So is what is not set, for a new key not to be a difference.
        """
        other = {"reader_pool", "reader_workers", "test_end"}
        return self.model_dump_json(
            exclude={"output": True, "log_every": True, "checkpoints": True, "test": True, "data": other},
            exclude_none=True,
        )

    @property
    def fingerprint(self) -> str:
        """A short name of ``identity``."""
        plain = json.dumps(json.loads(self.identity), sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()[:16]

    def pinned(self, version: int) -> "Config":
        """The configuration with the table's version in place of ``latest``."""
        return self.model_copy(update={"data": self.data.model_copy(update={"version": version})})
