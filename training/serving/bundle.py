"""The bundle: a folder with all that a consumer needs to ask a fitted model, and nothing to be unpickled.

``config.toml`` and ``vocabulary.parquet`` as in the run's folder, ``weights.safetensors``, the source's rules
and names (``training.serving.source``), themes and item vectors, and ``bundle.json`` with the lineage.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from features.tags import Themes
from features.vectors import VectorTable
from training.errors import DataError
from training.fit.build import build
from training.fit.fitted import load_fitted, restore
from training.fit.load import load_config, to_toml
from training.fit.run_folder import RunFolder
from training.serving.served import Served
from training.serving.source import Names, SourceRules
from training.vocabulary import TrainVocabulary

FORMAT: Final = 1
_ABOUT, _CONFIG, _VOCABULARY, _WEIGHTS = (
    "bundle.json",
    "config.toml",
    "vocabulary.parquet",
    "weights.safetensors",
)
_THEMES, _VECTORS = "themes.parquet", "vectors.parquet"


def write_bundle(run_folder: str | Path, out: str | Path) -> Path:
    """Make the bundle of a finished run of ``python -m training.fit`` in the new folder ``out``.

    Reads the warehouse at the published versions that the run names. DataError where the run is not finished,
    the tables are gone, or ``out`` is there already.
    """
    from training.serving.collect import collect  # noqa: PLC0415, consumers have no delta-rs

    run, folder = RunFolder(Path(run_folder)), Path(out)
    if folder.exists():
        raise DataError(f"{folder}: is there already; name a new folder")
    fitted = load_fitted(run.root)
    found = collect(run, fitted.vocabulary)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (part / _CONFIG).write_text(to_toml(fitted.config), encoding="utf-8")
    fitted.vocabulary.save(part / _VOCABULARY)
    weights = {name: tensor.contiguous() for name, tensor in fitted.model.state_dict().items()}
    save_file(weights, part / _WEIGHTS)
    found.source.save(part)
    found.names.save(part)
    _save_themes(found.themes, part)
    about = {
        "format": FORMAT,
        "model": fitted.config.model.name,
        "step": fitted.step,
        "validation": fitted.validation,
        "run": found.lineage,
    }
    (part / _ABOUT).write_text(json.dumps(about, indent=2) + "\n")
    part.rename(folder)
    return folder


def load_bundle(path: str | Path) -> Served:
    """The model of a bundle, on the CPU and in evaluation mode; DataError where the folder holds none."""
    folder = Path(path)
    about = _about(folder)
    config, vocabulary = load_config(folder / _CONFIG), TrainVocabulary.load(folder / _VOCABULARY)
    model = build(config.model, vocabulary)
    try:
        weights = load_file(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{folder / _WEIGHTS}: no weights can be read ({error}); write the bundle again"
        ) from error
    restore(model, weights, about["step"], config)
    return Served(
        model=model.eval(),
        config=config,
        vocabulary=vocabulary,
        source=SourceRules.load(folder),
        names=Names.load(folder),
        themes=_load_themes(folder),
        lineage=about,
    )


def _about(folder: Path) -> dict[str, Any]:
    path = folder / _ABOUT
    if not path.exists():
        raise DataError(f"{folder}: holds no bundle; name a folder that write_bundle made")
    about: dict[str, Any] = json.loads(path.read_text())
    if about.get("format") != FORMAT:
        raise DataError(f"{path}: format {about.get('format')} is not {FORMAT}; write the bundle again")
    return about


def _save_themes(themes: Themes, folder: Path) -> None:
    columns = {
        "theme_id": pa.array(themes.theme_ids, pa.int32()),
        "centroid": pa.array(themes.centroids.tolist(), pa.list_(pa.float64())),
    }
    pq.write_table(pa.table(columns), folder / _THEMES)
    vectors = themes.table.to_arrow()
    pq.write_table(vectors.replace_schema_metadata({"dimensions": str(themes.table.dim)}), folder / _VECTORS)


def _load_themes(folder: Path) -> Themes:
    rows, vectors = pq.read_table(folder / _THEMES), pq.read_table(folder / _VECTORS)
    dim = int(vectors.schema.metadata[b"dimensions"])
    return Themes(
        VectorTable.from_arrow(vectors, dim),
        np.array(rows.column("centroid").to_pylist(), dtype=np.float64).reshape(-1, dim),
        rows.column("theme_id").to_numpy(),
    )
