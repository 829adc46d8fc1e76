"""Checkpoints: one file each, written whole or not at all, read without pickle.

A file holds plain values and tensors only and is read with ``torch.load(weights_only=True)``, so a file
from elsewhere cannot run code.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from training.errors import ConfigError, DataError

KEPT: Final = 2
"""Older checkpoints than the newest two are removed: one to go on from, one should that be damaged."""

FORMAT: Final = 2

_ABSENT: Final = object()


class Checkpoint(NamedTuple):
    """Everything that the next step depends on."""

    step: int
    config: str  # JSON of what the weights depend on
    weights: dict[str, Any]
    optimiser: dict[str, Any]
    progress: dict[str, Any]  # early stopping, seconds so far
    ranks: list[dict[str, Any]]  # of every rank: its random states and its loader's place


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write ``step-NNNNNNNN.pt`` and drop all but the newest files.

    Raises TypeError where a state holds anything but tensors and plain values: it could not be read back.
    """
    path = folder / f"step-{checkpoint.step:08d}.pt"
    write_whole(path, {"format": FORMAT, **checkpoint._asdict()})
    for old in files(folder)[:-KEPT]:
        old.unlink()
    return path


def files(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that can be read, None where there is none, and what was wrong with newer ones.

    Raises DataError where files are there and none can be read.
    """
    faults: list[str] = []
    found = files(folder)
    for path in reversed(found):
        try:
            return read(path), faults
        except DataError as error:
            faults.append(str(error))
    if found:
        raise DataError(f"{'; '.join(faults)}; start over in another folder with --set output=FOLDER")
    return None, faults


def read(path: Path) -> Checkpoint:
    """One checkpoint file; DataError where it is damaged or not ours."""
    held = read_whole(path)
    if (
        not isinstance(held, dict)
        or held.pop("format", None) != FORMAT
        or set(held) != set(Checkpoint._fields)
    ):
        raise DataError(f"{path}: not a checkpoint of this version of seqloom")
    return Checkpoint(**held)


def require_same_config(begun: str, asked: str, where: Path) -> None:
    """ConfigError that names the keys in which two configurations (JSON) differ."""
    then, now = flatten(json.loads(begun)), flatten(json.loads(asked))
    changed = [
        f"{key} was {then.get(key, 'not set')}, is {now.get(key, 'not set')}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key, _ABSENT) != now.get(key, _ABSENT)
    ]
    if changed:
        raise ConfigError(
            f"{where}: begun with another configuration ({'; '.join(changed)}); resume with the one in its "
            "config.toml, or start a new run with --set output=FOLDER"
        )


def require_same_run(checkpoint: Checkpoint, config: str, ranks: int, where: Path) -> None:
    """ConfigError where a checkpoint is of another configuration or another number of ranks."""
    require_same_config(checkpoint.config, config, where)
    if len(checkpoint.ranks) != ranks:
        raise ConfigError(
            f"{where}: begun on {len(checkpoint.ranks)} devices, resumed on {ranks}; set hardware.devices = "
            f"{len(checkpoint.ranks)}, or start a new run with --set output=FOLDER"
        )


def flatten(plain: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones.

    >>> flatten({"model": {"dim": 64}, "seed": 1})
    {'model.dim': 64, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value
    return flat


def write_whole(path: Path, state: Any) -> None:
    """Write beside the place and rename: a reader finds the old file or the new one, never a part."""
    _require_plain(state, path.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_whole(path: Path) -> Any:
    """What ``write_whole`` wrote, on the CPU; DataError where it cannot be read."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such checkpoint") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: cannot be read as a checkpoint ({reason})") from error


def _require_plain(value: Any, where: str) -> None:
    if value is None or isinstance(value, Tensor) or type(value) in (bool, int, float, str, bytes):
        return
    if isinstance(value, Mapping):
        for key, held in value.items():
            if type(key) not in (int, str):
                raise TypeError(f"{where}: key {key!r} is a {type(key).__name__}; use text or an integer")
            _require_plain(held, f"{where}.{key}")
    elif type(value) in (list, tuple):
        for place, held in enumerate(value):
            _require_plain(held, f"{where}[{place}]")
    else:
        raise TypeError(
            f"{where}: a {type(value).__name__} cannot be read back safely; save tensors or plain values"
        )
