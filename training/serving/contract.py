"""What MLflow keeps beside a served model: signature, requirements, an example, the code that it runs."""

import importlib.metadata
from pathlib import Path
from typing import Any, Final

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import (
    AnyType,
    Array,
    ColSpec,
    Map,
    Object,
    ParamSchema,
    ParamSpec,
    Property,
    Schema,
    TensorSpec,
)

import features
from features.codes import FIRST_INDEX
from training.fit.models import is_click
from training.serving.bundle import load_bundle
from training.serving.request import OPTIONAL, REQUIRED

PACKAGES: Final = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "torch")
"""What a consumer imports, by way of ``load_bundle`` and ``Served.recommend``; a test blocks all else."""


def signature() -> ModelSignature:
    """Columns and parameters of a request, and columns of the answers.

    Ids and times are of any type here: they may be text or numbers, as the source has them, and
    ``training.serving.request`` says more of a wrong one than MLflow would.
    """
    any_type = AnyType()  # type: ignore[no-untyped-call]
    inputs: list[ColSpec | TensorSpec] = [ColSpec(any_type, name) for name in REQUIRED]
    inputs += [ColSpec(any_type, name, required=False) for name in OPTIONAL]
    strand = [
        Property("family", "string"),
        Property("key", "string", required=False),
        Property("weight", "double", required=False),
        Property("items", Array("string")),
    ]
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec("string", "user_id"),
        ColSpec(Array("string"), "items"),
        ColSpec(Array("double"), "scores"),
        ColSpec("long", "theme", required=False),
        ColSpec("boolean", "session_open"),
        ColSpec(Array(Object(strand)), "strands"),
        ColSpec(Map("long"), "events"),
    ]
    params = [
        ParamSpec("top_k", "long", 10),
        ParamSpec("as_of", "string", ""),  # now
        ParamSpec("ts_unit", "string", ""),  # the source's
    ]
    return ModelSignature(Schema(inputs), Schema(outputs), ParamSchema(params))


def requirements() -> list[str]:
    """Exact pins of what a consumer needs, as installed here."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES]


def input_example(bundle: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A request that the bundle answers: a user with three events of frequent items, and a newcomer."""
    served = load_bundle(bundle)
    ids = [str(name) for name in served.vocabulary.ids["items"][FIRST_INDEX : FIRST_INDEX + 3]]
    seconds = range(0, 60 * len(ids), 60)
    day = pd.Timestamp(served.vocabulary.train_end, unit="s", tz="UTC").floor("s")
    rows: list[dict[str, Any]] = [
        {"user_id": "known", "item_id": item, "ts": (day + pd.Timedelta(after, "s")).isoformat()}
        for item, after in zip(ids, seconds, strict=True)
    ]
    if served.source.sessions.kind == "source_key":
        rows = [row | {"session_key": "s1"} for row in rows]
    rows.append({"user_id": "new", "item_id": None, "ts": None})
    if is_click(served.config.model):
        asked = [{"user_id": user, "candidate_id": item} for user in ("known", "new") for item in ids]
        rows += asked
    frame = pd.DataFrame(rows, dtype=object)
    example = frame.where(frame.notna(), None)
    return example, {"top_k": 3, "as_of": (day + pd.Timedelta(hours=1)).isoformat()}


def pyfunc_script() -> Path:
    """The file that MLflow runs to make the model."""
    return Path(__file__).with_name("pyfunc.py")


def code_paths() -> list[str]:
    """The packages that go along with the model."""
    return [str(Path(str(features.__file__)).parent), str(Path(__file__).parents[1])]
