"""The configuration: what ships parses, mistakes are named with their remedy, copies read back."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from training.errors import ConfigError
from training.fit.config import Config
from training.fit.load import load_config, parse_config, to_toml
from training.fit.models import ModelConfig

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "conf" / "train").glob("*.toml"))
NAMES = set(TypeAdapter(ModelConfig).json_schema()["discriminator"]["mapping"])


def _plain(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"output": "runs/x", "data": {"warehouse": "w"}, "model": {"name": "sasrec"}}
    for key, value in changes.items():
        *above, last = key.split("__")
        section = plain
        for name in above:
            section = section.setdefault(name, {})
        section[last] = value
    return plain


def _message(**changes: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        parse_config(_plain(**changes), "conf/train/x.toml")
    return str(raised.value)


def test_every_model_ships() -> None:
    assert {load_config(path).model.name for path in SHIPPED} == NAMES and len(NAMES) > 18


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_ships_parses_writes_elsewhere_and_reads_back(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    copy = tmp_path / "config.toml"
    copy.write_text(to_toml(config))
    assert load_config(copy) == config
    assert [load_config(other).output for other in SHIPPED].count(config.output) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__dimm": 3}, "unknown key model.dimm; did you mean model.dim?"),
        ({"steps": 4}, "unknown key steps; did you mean training.steps?"),
        ({"data__seed": 4}, "unknown key data.seed; did you mean seed, above the first [section]?"),
        ({"model__name": "sasrecc"}, "model.name: no model is called 'sasrecc'; did you mean 'sasrec'?"),
        ({"training__lr": 0.1}, "unknown key training.lr; known keys: accumulate, betas, clip,"),
        ({"training": 3}, "training is a section, not a value; write [training] and its keys below it"),
        ({"training__steps": "many"}, "training.steps: must be a whole number, not 'many'"),
        ({"training__clip": float("nan")}, "training.clip: must be a finite number"),
        (
            {"data__table": "t"},
            "data: set warehouse, or table for a sequence table by its path, and not both",
        ),
        ({"data__train_end": "soon"}, "data.train_end: 'soon' is not a time; write 2017-12-01"),
        ({"data__version": -1}, "data.version: must be 'latest' or at least 0, not -1"),
        ({"hardware__precision": 16}, "hardware.precision: must be '32' or 'bf16-mixed', not '16'"),
        (
            {"model": {"name": "din", "match": {"name": "dense_moe", "exprts": 2}}},
            "unknown key model.match.exprts; did you mean model.match.experts?",
        ),
        (
            {"data__train_end": "2017-12-02", "data__holdout": "2d"},
            "data: set train_end, or holdout for a time that moves with the data, and not both",
        ),
        ({"data__holdout": "2"}, "data.holdout: '2' is not a duration"),
        (
            {"data__train_end": "2017-12-02", "data__valid_end": "2017-12-01"},
            "data: train_end 2017-12-02T00:00:00+00:00 is not before valid_end",
        ),
        (
            {"data__train_end": "2017-12-02", "data__test_end": "2017-12-02"},
            "data: train_end 2017-12-02T00:00:00+00:00 is not before test_end",
        ),
    ],
)
def test_a_mistake_is_named_with_file_key_and_remedy(changes: dict[str, Any], message: str) -> None:
    assert _message(**changes).startswith(f"conf/train/x.toml: {message}")


def test_missing_sections_and_names() -> None:
    with pytest.raises(ConfigError, match=r"x: missing section \[data\]; add it to the config"):
        parse_config({"output": "o", "model": {"name": "sasrec"}}, "x")
    with pytest.raises(ConfigError, match=r"x: missing key model\.name; one of sasrec, mos"):
        parse_config({"output": "o", "data": {"warehouse": "w"}, "model": {}}, "x")


def test_overrides_win_and_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(to_toml(Config.model_validate(_plain())))
    config = load_config(path, ["training.steps=7", "output=runs/y", "model.name=mos", "model.codes=auto"])
    assert (config.training.steps, config.output, config.model.name) == (7, "runs/y", "mos")
    with pytest.raises(ConfigError, match=r"--set training\.stepps=7: unknown key training\.stepps; did you"):
        load_config(path, ["training.stepps=7"])
    with pytest.raises(ConfigError, match=r"--set steps: write section\.key=value"):
        load_config(path, ["steps"])
    with pytest.raises(ConfigError, match=r"--set output\.x=1: output is a value, not a section"):
        load_config(path, ["output.x=1"])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a = ", "not valid TOML"), (b"\xff\xfe", "byte 0 is not UTF-8"), (None, "no such config file")],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


@given(
    output=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20),
    seed=st.integers(0, 2**32 - 1),
    clip=st.floats(0, 1e6),
)
def test_any_configuration_reads_back_from_its_copy(output: str, seed: int, clip: float) -> None:
    config = Config.model_validate(_plain(output=output, seed=seed, training__clip=clip))
    assert Config.model_validate(tomllib.loads(to_toml(config))) == config


def test_the_fingerprint_is_of_what_weights_depend_on() -> None:
    base = Config.model_validate(_plain())
    same = [{"output": "z"}, {"log_every": 1}, {"checkpoints__every": 3}, {"test__targets": 0}]
    same += [{"data__reader_pool": "thread"}]
    other = [{"seed": 1}, {"training__clip": 2.0}, {"model__dim": 32}, {"data__tokens": 64}]
    assert {Config.model_validate(_plain(**change)).fingerprint for change in same} == {base.fingerprint}
    assert len({Config.model_validate(_plain(**change)).fingerprint for change in other}) == len(other)
    assert base.fingerprint not in {Config.model_validate(_plain(**change)).fingerprint for change in other}
