"""``rebuild``: a registered model made again from its lineage, and what differs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from mlflow.entities.model_registry import ModelVersion

from training.command import say
from training.errors import ConfigError, DataError
from training.evaluate.compare import compare
from training.evaluate.statistics import Interval
from training.fit.config import Config
from training.fit.fitted import load_fitted
from training.fit.lineage import code_commit, installed
from training.fit.load import to_toml
from training.fit.run_folder import RunFolder
from training.published import SEQUENCES
from training.registry.card import Tested
from training.registry.contest import TARGETS, Window, ask, deciding, instant_of
from training.registry.decision import shown
from training.registry.figures import flat_test
from training.registry.finished import FinishedRun, read_finished
from training.registry.fitting import run_fit_process
from training.registry.logging import WEIGHTS_TAG
from training.registry.pins import pinned_publication
from training.registry.restore import Contestant, registered_run, uri, with_model
from training.registry.weights import weights_digest
from training.splits import Split
from training.table import open_table

SAME_WITHIN: Final = 0.01
"""A difference of the deciding figure that is noise whatever its interval (our choice)."""


@dataclass(frozen=True)
class Comparison:
    """The registered model against the one made again."""

    weights_equal: bool  # every number, to the bit
    figures: dict[str, tuple[float | None, float | None]]  # of the test, that differ: then and now
    difference: Interval | None  # of the deciding figure, rebuilt minus registered, where weights differ

    @property
    def same(self) -> bool:
        """Whether nothing differs, or by no more than noise."""
        if self.difference is None:
            return not self.figures
        low, high = self.difference.low, self.difference.high
        return low <= 0 <= high or abs(self.difference.estimate) <= SAME_WITHIN


def rebuild(version: ModelVersion, out: Path, warehouse: str | None = None) -> tuple[dict[str, Any], bool]:
    """Fit a registered model again, into the folder ``out``; what differs, and whether it is the same.

    The table version, the times of the splits, the configuration, the seed and the number of CPU threads
    are those of the registered run. ``warehouse`` stands for the one that it names, should that have
    moved. DataError where a pinned version is gone, or the registered weights are not the tagged ones.
    """
    if RunFolder(out).config.exists():
        raise ConfigError(f"--out {out}: holds a run already; name a new folder")
    run = registered_run(version, uri(version))
    registered = with_model(run, version)
    if weights_digest(registered.model.state_dict()) != version.tags[WEIGHTS_TAG]:
        raise DataError(
            f"{uri(version)}: its weights are not those that were registered; take another version"
        )
    config = pinned_config(run, out, warehouse)
    data = config.data
    path, number = data.table or f"{data.warehouse}/{SEQUENCES}", run.origin["table"]["version"]
    publication = pinned_publication(path, number)
    told = warnings(run.origin, code_commit(), installed(), publication.number)
    for text in told:
        say(f"warning: {text}")
    with TemporaryDirectory() as place:
        file = Path(place) / "config.toml"
        file.write_text(to_toml(config), encoding="utf-8")
        run_fit_process(["--config", str(file)], {"OMP_NUM_THREADS": str(run.origin["cpu_threads"])})
    again = read_finished(out)
    found = _compare(run, registered, again, path, version.tags[WEIGHTS_TAG])
    summary = {
        "name": version.name,
        "version": int(version.version),
        "output": str(out),
        "same": found.same,
        "weights_equal": found.weights_equal,
        "figures_compared": len(flat_test(run.test)),
        "figures_that_differ": found.figures,
        "difference": None if found.difference is None else asdict(found.difference),
        "warnings": told,
    }
    again.folder.write("rebuild.json", summary)
    say(_verdict(found, len(flat_test(run.test))))
    return summary, found.same


def pinned_config(run: Tested, out: Path, warehouse: str | None) -> Config:
    """The configuration of a run with everything pinned that a later day would choose anew."""
    splits, pinned = run.origin["splits"], run.config.pinned(run.origin["table"]["version"])
    times = {"train_end": "train_end", "valid_end": "valid_end", "test_end": "end"}
    changed: dict[str, Any] = {key: datetime.fromisoformat(splits[name]) for key, name in times.items()}
    changed["holdout"] = None
    if warehouse is not None:
        changed |= {"warehouse": warehouse, "table": None}
    hardware = pinned.hardware
    if run.summary["device"] == "cpu":
        hardware = hardware.model_copy(update={"accelerator": "cpu"})
    return pinned.model_copy(
        update={"output": str(out), "data": pinned.data.model_copy(update=changed), "hardware": hardware}
    )


def warnings(
    origin: Mapping[str, Any], code: str | None, packages: Mapping[str, str | None], publication: int
) -> list[str]:
    """What is not as it was when the model was fitted, though the data is."""
    then = origin["code_commit"]
    found = []
    if str(then).endswith("+changed"):
        found.append("the model was fitted with uncommitted changes, which no commit holds")
    if then != code:
        found.append(
            f"the code was {then}, is {code}; git checkout {str(then).removesuffix('+changed')} for the same"
        )
    for name, version in origin["packages"].items():
        if packages.get(name) != version:
            found.append(f"{name} was {version}, is {packages.get(name)}")
    if origin["table"]["publication"] != publication:
        found.append(
            f"the table version is that of publication {publication} as well, later than the model's "
            f"{origin['table']['publication']}: sessions' labels are the later ones"
        )
    return found


def _compare(run: Tested, registered: Contestant, again: FinishedRun, path: str, weights: str) -> Comparison:
    """``weights``: the hash of the registered ones."""
    then, now = flat_test(run.test), flat_test(again.test)
    figures = {
        name: (then.get(name), now.get(name))
        for name in sorted(then.keys() | now.keys())
        if not _equal(then.get(name), now.get(name))
    }
    fitted = load_fitted(again.folder.root)
    equal = again.weights == weights and np.array_equal(
        fitted.vocabulary.items.index, registered.vocabulary.items.index
    )
    if equal:
        return Comparison(True, figures, None)
    say("the weights differ: asking both models on the test window …")
    rebuilt = Contestant("rebuilt", fitted.model, fitted.vocabulary, again.config, again.origin)
    table = open_table(path, again.origin["table"]["version"])
    assert table.publication is not None
    splits = again.origin["splits"]
    split = Split("test", instant_of(splits["valid_end"]), instant_of(splits["end"]))
    window = Window(table.publication.number, table.publication.as_of, table.version, split)
    first, second = ask(table, window, [rebuilt, registered], run.config.test.targets or TARGETS)
    interval = compare({0: first.frame}, {0: second.frame}, deciding([run.config]))
    return Comparison(False, figures, interval)


def _equal(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and isnan(one) and isnan(other))


def _verdict(found: Comparison, figures: int) -> str:
    if found.difference is None:
        same = (
            f"all {figures} test figures are equal"
            if not found.figures
            else f"{len(found.figures)} figures differ"
        )
        return f"the weights are equal to the bit; {same}"
    return (
        f"the weights differ; {len(found.figures)} of {figures} test figures differ; rebuilt minus "
        f"registered: {shown(found.difference)}: " + ("within noise" if found.same else "more than noise")
    )
