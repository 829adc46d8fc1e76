"""Every setting of the build job, with its default; an unknown key is an error."""

from typing import Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from features.durations import parse_duration
from features.section import Duration, Instant, Section, Share
from features.spec import FAMILIES, FamilySpec, SequenceSpec, default_families

Mode = Literal["browse", "intent", "purchase", "feedback"]


class Columns(Section):
    """Our column = the source's column name."""

    user_id: str
    item_id: str
    ts: str
    event_id: str | None = None
    category_id: str | None = None
    event_type: str | None = None
    sequence: str | None = None  # breaks ties in ts, ascending
    session_key: str | None = None  # needed by sessions.rule = "source_key"


class Window(Section):
    """Accepted times, ``start`` ≤ ts < ``end``; others are rejected as out_of_window."""

    start: Instant | None = None
    end: Instant | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"start {self.start.isoformat()} is not before end {self.end.isoformat()}")
        return self


class Source(Section):
    """Where raw events come from and how to read them."""

    path: str
    format: Literal["csv", "jsonl", "parquet", "delta"]
    columns: Columns
    header: bool = True  # csv only
    field_names: tuple[str, ...] | None = None  # csv without header
    delimiter: str = Field(default=",", min_length=1)
    ts_unit: Literal["s", "ms", "us", "iso"] = "iso"
    clock: Literal["real", "ordinal"] = "real"  # ordinal: ts gives the order, not the time
    event_types: dict[str, Mode] = Field(default_factory=dict)
    unlisted_event_type: Literal["reject", "browse", "intent", "purchase", "feedback"] = "reject"
    window: Window = Window()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.format == "csv" and not self.header and not self.field_names:
            raise ValueError("header = false needs field_names, the columns in file order")
        if self.field_names and (self.format != "csv" or self.header):
            raise ValueError("field_names belongs to format = 'csv' with header = false")
        if self.columns.event_type and not self.event_types and self.unlisted_event_type == "reject":
            raise ValueError(
                "columns.event_type is mapped but [source.event_types] is empty, so every row would be "
                "rejected; list the types, or set unlisted_event_type to a mode"
            )
        if self.event_types and not self.columns.event_type:
            raise ValueError("[source.event_types] is given but columns.event_type is not mapped")
        if self.field_names:
            mapped = [name for name in self.columns.model_dump().values() if name]
            missing = [name for name in mapped if name not in self.field_names]
            if missing:
                raise ValueError(f"columns names {', '.join(missing)}, not in field_names")
        return self


class Items(Section):
    """Optional side table that brings each item's category."""

    path: str
    format: Literal["csv", "jsonl", "parquet", "delta"] = "parquet"
    item_id: str = "item_id"
    category_id: str = "category_id"


class Ingest(Section):
    """Rules for accepting events."""

    max_clock_skew: Duration = "5min"  # ts further in the future than this is rejected
    allowed_lateness: Duration = "3d"  # ts further behind the newest published event than this is rejected


class Sessions(Section):
    """How a user's events are cut into sessions."""

    rule: Literal["gap", "every_n", "source_key"] = "gap"
    gap: Duration = "30min"  # a gap equal to it does not cut
    max: Duration = "24h"
    every_n: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.rule == "every_n") != (self.every_n is not None):
            raise ValueError("every_n belongs to rule = 'every_n', and that rule needs it")
        if parse_duration(self.max) < parse_duration(self.gap):
            raise ValueError(f"max = '{self.max}' is shorter than gap = '{self.gap}'")
        return self


class Users(Section):
    """When a user is flagged; flagged users stay in the tables. Defaults: ``features.users``."""

    heavy_events: int = Field(default=50_000, ge=1)
    fast_gap: Duration = "1s"  # a median gap up to this is no person's …
    fast_gaps: int = Field(default=200, ge=1)  # … over at least so many gaps
    pause: Duration = "30min"  # a person rests longer than this …
    awake: Duration = "24h"  # … at least this often


class Fit(Section):
    """What the learned parts may see: events before ``train_end``, else the first ``train_share``."""

    train_end: Instant | None = None
    train_share: Annotated[float, Field(gt=0, le=1)] = 0.8


class Embeddings(Section):
    """Item vectors, learned from sessions."""

    method: Literal["ppmi_svd", "word2vec", "category"] = "ppmi_svd"
    dimensions: int = Field(default=32, ge=2, le=512)
    window: int = Field(default=8, ge=1)
    min_count: int = Field(default=2, ge=1)
    max_items: int = Field(default=200_000, ge=1)  # factorised in one process; rarer ones are folded in
    max_pairs: int = Field(default=20_000_000, ge=1)  # co-occurrences that reach that process
    max_sessions: int = Field(default=1_000_000, ge=1)  # hash-ordered sample
    shrinkage: Annotated[float, Field(ge=0)] = 3.0  # events that outweigh the category's vector
    seed: int = 17


class Themes(Section):
    """Clusters of session interests."""

    count: Annotated[int, Field(ge=2)] | Literal["auto"] = "auto"
    candidates: tuple[int, ...] = (8, 12, 16, 20, 24, 32, 40, 48, 64)
    min_session_events: int = Field(default=3, ge=1)
    max_sessions: int = Field(default=200_000, ge=10)
    restarts: int = Field(default=8, ge=1)
    seed: int = 17


class Hops(Section):
    """The size-matched test for a hop."""

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.1
    null_pairs: int = Field(default=20_000, ge=200)  # kept per pair of size classes


class Family(Section):
    """Sizes of one strand family."""

    strands: int = Field(default=1, ge=1)
    length: int = Field(ge=1)


FamilyName = Literal["recent", "session", "theme", "category", "mode"]


def _families() -> dict[FamilyName, Family]:
    return {
        cast("FamilyName", f.name): Family(strands=f.strands, length=f.length) for f in default_families()
    }


class Sequences(Section):
    """Shapes of ``gold/user_sequences``."""

    pool: int = Field(default=2048, ge=1)
    targets: int = Field(default=256, ge=1)
    buckets: tuple[int, ...] = (16, 64, 128, 256, 512, 1024, 2048)
    families: dict[FamilyName, Family] = Field(default_factory=_families)

    @model_validator(mode="after")
    def _valid(self) -> Self:
        self.spec()
        return self

    def spec(self) -> SequenceSpec:
        """The declared tensor contract, before constant families leave it."""
        families = tuple(
            FamilySpec(name, family.strands, family.length)
            for name, family in sorted(self.families.items(), key=lambda pair: FAMILIES.index(pair[0]))
        )
        return SequenceSpec(self.pool, self.targets, self.buckets, families)


class Gates(Section):
    """Thresholds of the quality gates."""

    max_rejected_share: Share = 0.01
    min_events: int = Field(default=1, ge=0)
    max_unknown_item_share: Share = 0.0  # published events whose item has no index
    min_vector_coverage: Share = 0.5  # events before train_end with an item's or category's vector
    max_undecided_share: Share = 1.0  # sessions whose hop is undecided
    max_count_drift: Annotated[float, Field(gt=0)] | None = None  # relative change of events per user
    max_mode_drift: Share = 0.2  # total variation of the mode mix against the last run


class SparkSettings(Section):
    """What Spark is told; sizes derive from the data unless given."""

    partitions: int | Literal["auto"] = "auto"
    events_per_partition: int = Field(default=500_000, ge=1_000)
    settings: dict[str, str] = Field(default_factory=dict)  # passed through to Spark as they are


class Config(Section):
    """The whole configuration; only ``[source]`` has no default."""

    warehouse: str = "warehouse"
    source: Source
    items: Items | None = None
    ingest: Ingest = Ingest()
    sessions: Sessions = Sessions()
    users: Users = Users()
    fit: Fit = Fit()
    embeddings: Embeddings = Embeddings()
    themes: Themes = Themes()
    hops: Hops = Hops()
    sequences: Sequences = Sequences()
    gates: Gates = Gates()
    spark: SparkSettings = SparkSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.sessions.rule == "source_key" and not self.source.columns.session_key:
            raise ValueError("sessions.rule = 'source_key' needs source.columns.session_key")
        if self.sessions.rule == "gap" and self.source.clock == "ordinal":
            raise ValueError(
                "source.clock = 'ordinal' has no times, so the gap rule cannot cut it; "
                "set sessions.rule = 'every_n' and sessions.every_n"
            )
        if self.items is not None and self.source.columns.category_id:
            raise ValueError("categories come from [items] and from source.columns.category_id; keep one")
        return self
