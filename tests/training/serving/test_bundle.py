"""A bundle holds the run's model whole, and nothing that needs unpickling."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.training.serving import warehouse as small
from training.errors import DataError
from training.fit.fitted import load_fitted
from training.serving.bundle import load_bundle, write_bundle
from training.serving.source import Names, SourceRules

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("model", ["mos", "ulim", "din", "frequency"])
def test_the_weights_are_the_runs_best_to_the_bit(
    run_of: Callable[[str], Path], bundle_of: Callable[[str], Path], model: str
) -> None:
    own, fitted = load_bundle(bundle_of(model)), load_fitted(run_of(model))
    theirs = fitted.model.state_dict()
    assert own.model.state_dict().keys() == theirs.keys()
    for name, value in own.model.state_dict().items():
        assert value.dtype == theirs[name].dtype and torch.equal(value, theirs[name]), name
    assert own.config == fitted.config and not own.model.training
    assert own.vocabulary.ids == fitted.vocabulary.ids
    if model == "mos":
        assert own.model.router.stage == fitted.model.router.stage  # type: ignore[union-attr]


def test_nothing_in_it_is_pickled(bundle_of: Callable[[str], Path]) -> None:
    names = {path.name for path in bundle_of("mos").iterdir()}
    assert {Path(name).suffix for name in names} == {".json", ".parquet", ".safetensors", ".toml"}
    about = json.loads((bundle_of("mos") / "bundle.json").read_text())
    assert about["run"]["table"]["publication"] == 0 and about["model"] == "mos"


def test_rules_and_names_come_back_as_they_were(bundle_of: Callable[[str], Path], tmp_path: Path) -> None:
    served = load_bundle(bundle_of("mos"))
    served.source.save(tmp_path)
    served.names.save(tmp_path)
    assert SourceRules.load(tmp_path) == served.source
    again = Names.load(tmp_path)
    assert (again.items, again.categories, again.types) == (
        served.names.items, served.names.categories, served.names.types)  # fmt: skip
    assert np.array_equal(again.item_category, served.names.item_category)


def test_a_folder_that_holds_none_is_named(
    bundle_of: Callable[[str], Path], run_of: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="holds no bundle"):
        load_bundle(tmp_path)
    with pytest.raises(DataError, match="holds no fitted model"):
        write_bundle(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="is there already"):
        write_bundle(run_of("mos"), tmp_path)
    copy = shutil.copytree(bundle_of("mos"), tmp_path / "copy")
    (copy / "weights.safetensors").write_bytes(b"\x80\x04not weights")
    with pytest.raises(DataError, match="no weights can be read"):
        load_bundle(copy)
    (copy / "bundle.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="format 99 is not 1"):
        load_bundle(copy)


def test_a_publication_must_say_how_its_source_is_read(
    run_of: Callable[[str], Path], events: pd.DataFrame, tmp_path: Path
) -> None:
    root = small.build(tmp_path / "warehouse", events, settings={})
    run = shutil.copytree(run_of("mos"), tmp_path / "run")
    traced = json.loads((run / "run.json").read_text())
    traced["table"]["path"] = f"{root}/gold/user_sequences"
    (run / "run.json").write_text(json.dumps(traced))
    with pytest.raises(DataError, match="publication 0 does not say how its source is read"):
        write_bundle(run, tmp_path / "bundle")
    traced["table"]["publication"] = None
    (run / "run.json").write_text(json.dumps(traced))
    with pytest.raises(DataError, match=r"run.json names no publication"):
        write_bundle(run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is not here")
sys.meta_path.insert(0, Blocker())
from training.serving.bundle import load_bundle
rows = [{{"user_id": "u", "item_id": f"i{{n}}", "ts": f"2024-03-08T00:0{{n}}:00Z"}} for n in range(5)]
rows += [{{"user_id": "u", "candidate_id": "i2"}}]
for bundle in {bundles!r}:
    print(load_bundle(bundle).recommend(rows, as_of="2024-03-09")["items"][0][0])
"""


def test_a_consumer_needs_no_spark_and_none_of_the_trainer(bundle_of: Callable[[str], Path]) -> None:
    """Not even MLflow, in plain Python."""
    blocked = (
        "pyspark delta deltalake petastorm lightning_fabric torchmetrics faiss matplotlib great_expectations "
        "sklearn scipy mlflow pipelines jobs"
    )
    models = ("mos", "ulim", "cmsl", "din", "frequency")
    bundles = [str(bundle_of(model)) for model in models]
    code = BLOCKED.format(blocked=set(blocked.split()), bundles=bundles)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == len(models)
