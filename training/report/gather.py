"""Read runs and their data, and ask the models again where no results per target were kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import nn

from training.batch import Batch
from training.command import say
from training.errors import DataError
from training.evaluate.ranking import Flags, Floats
from training.evaluate.run import Summary
from training.evaluate.run_candidates import Scored, score_candidates
from training.evaluate.sessions import SessionFacts
from training.fit.build import build, parameters
from training.fit.config import Config
from training.fit.data import Opened, open_data, session_facts
from training.fit.fitted import load_best
from training.fit.load import load_config
from training.fit.measure import measure, negatives_for
from training.fit.models import is_click
from training.fit.run_folder import RunFolder
from training.fit.thin import thin
from training.gold import user_numbers
from training.model import as_model
from training.report.asked import Asked
from training.report.calibration_section import Reliability, reliability
from training.report.entry import Entry
from training.report.people import frame_order, user_names

CALIBRATED_ON = 2_000
"""Targets of validation and of test that a reliability diagram rests on, whole users (our choice)."""


@dataclass(frozen=True)
class Run:
    """A run's folder with what it was asked and what it came from."""

    folder: RunFolder
    config: Config
    origin: Mapping[str, Any]

    @property
    def version(self) -> int:
        """Of the sequence table that it was fitted on."""
        return int(self.origin["table"]["version"] if "table" in self.origin else self.origin["version"])


@dataclass(frozen=True)
class Gathered:
    """A model of one or several runs, and how to ask the first of them again."""

    entry: Entry
    asked: Asked
    opened: Opened
    run: Run


@dataclass
class Bench:
    """Opened data by what names it, so that models on the same data read it once."""

    warehouse: str | None = None  # instead of the runs' own
    targets: int | None = None  # of the test at most, instead of the runs' own
    opened: dict[str, Opened] = field(default_factory=dict)
    facts: dict[str, SessionFacts] = field(default_factory=dict)
    held: dict[str, list[Batch]] = field(default_factory=dict)


def read_runs(folder: Path) -> list[Run]:
    """The run in a folder or, of a folder of seeds, those in its subfolders; DataError without any."""
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())] if folder.is_dir() else []
    found = []
    for place in places:
        run = RunFolder(place)
        origin = run.read("run.json")
        if run.best.exists() and run.config.exists() and origin is not None:
            found.append(Run(run, load_config(run.config), origin))
        if found and place == folder:
            break
    if not found:
        raise DataError(f"{folder}: holds no fitted run; name the output folder of python -m training.fit")
    return found


def gather(runs: Sequence[Run], label: str, bench: Bench) -> Gathered:
    """A model's results per target, figures, curves and costs; of several runs, by their seeds."""
    frames, tests, histories = {}, {}, {}
    asked: Asked | None = None
    first = runs[0]
    for run in runs:
        opened, facts, held = _data(run, bench)
        model = build(run.config.model, opened.vocabulary)
        load_best(run.folder, model, run.config)
        own = Asked(label, model.eval(), run.config, opened.vocabulary, held, facts)
        asked = asked or own
        frame, test = _measured(own, run, bench, opened)
        seed = run.config.seed
        frames[seed], tests[seed], histories[seed] = frame, test, run.folder.history()
    assert asked is not None
    entry = Entry(label, frames, tests, histories, _facts(first, asked.model))
    return Gathered(entry, asked, bench.opened[_key(first, bench)], first)


def _key(run: Run, bench: Bench) -> str:
    vocabulary = run.folder.vocabulary
    words = vocabulary.read_bytes().hex() if vocabulary.exists() else ""
    return f"{run.config.data.model_dump_json()} {run.version} {run.config.test.targets} {hash(words)}"


def _data(run: Run, bench: Bench) -> tuple[Opened, SessionFacts, list[Batch]]:
    key = _key(run, bench)
    if key not in bench.opened:
        data = run.config.data
        if bench.warehouse is not None:
            data = data.model_copy(update={"warehouse": bench.warehouse, "table": None})
        say(f"reading the test's targets of {data.warehouse or data.table}, version {run.version} …")
        opened = open_data(data, run.version, run.folder.vocabulary)
        targets = min(
            run.config.test.targets or CALIBRATED_ON,
            bench.targets or run.config.test.targets or CALIBRATED_ON,
        )
        bench.opened[key] = opened
        bench.facts[key] = session_facts(opened.table)
        bench.held[key] = opened.held_out(opened.splits.test, targets, data.tokens)
    return bench.opened[key], bench.facts[key], bench.held[key]


def _measured(asked: Asked, run: Run, bench: Bench, opened: Opened) -> tuple[pd.DataFrame, Summary]:
    """Results per target: those that the fit kept where they are of these targets, else asked for now."""
    test: Summary | None = run.folder.read("test.json")
    kept = run.folder.read_targets()
    if kept is not None and test is not None and frame_order(kept, asked):
        return kept, test
    say(f"asking {asked.label} for {asked.targets:,} targets …")
    negatives = negatives_for(asked.config, asked.vocabulary)
    found = measure(
        asked.model,
        asked.batches,
        torch.device("cpu"),
        asked.facts,
        negatives,
        watch=iter,
    )
    alike = test is not None and test["all"]["targets"] == found.summary["all"]["targets"]
    return found.frame, test if test is not None and alike else found.summary


def _facts(run: Run, model: nn.Module) -> dict[str, float]:
    summary = run.folder.read("summary.json") or {}
    last = [line for line in run.folder.history() if "seconds" in line]
    seconds = summary.get("seconds") or (last[-1]["seconds"] if last else None)
    found = {"parameters": float(parameters(model)["all"])}
    return found | ({"seconds": float(seconds)} if seconds else {})


def calibrated(gathered: Gathered) -> Reliability | None:
    """A click model's reliability on test targets, by a calibration on validation targets; None of others."""
    asked, opened = gathered.asked, gathered.opened
    negatives = negatives_for(asked.config, asked.vocabulary)
    if negatives is None or not is_click(asked.config.model):
        return None
    tokens = asked.config.data.tokens
    parts: list[Scored] = []
    for split in (opened.splits.valid, opened.splits.test):
        held = thin(opened.source.rows(split, tokens), CALIBRATED_ON, tokens)
        parts.append(score_candidates(as_model(asked.model), held, "cpu", negatives, asked.facts))
    score, label = _flat(parts[1])
    return reliability(score, label, parts[0].calibration())


def _flat(scored: Scored) -> tuple[Floats, Flags]:
    label = np.zeros(scored.real.shape, dtype=bool)
    label[:, 0] = True
    return scored.scores[scored.real], label[scored.real]


def named_users(opened: Opened, wanted: Sequence[int]) -> dict[int, str]:
    """The source's ids of users by their numbers."""
    publication = opened.table.publication
    assert publication is not None  # ``open_data`` refuses a table without one
    table = "silver/users" if "silver/users" in publication.versions else "silver/sessions"
    ids = publication.read(table, ["user_id"]).column("user_id").unique()
    return user_names(ids.to_pylist(), user_numbers(pa.chunked_array([ids])), wanted)
