"""An interrupted run goes on to the very weights of an uninterrupted one."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.training.fit.toy import MemoryLoader, ToyModel, config, held_out_loss, rows, same_weights, train
from training.errors import ConfigError, DataError
from training.fit.checkpoint import files, load_newest, write_whole
from training.fit.run_folder import RunFolder
from training.fit.signals import Stop

STEPS = 24


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[ToyModel, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return train(folder, config(folder))[1], folder


def _stopping_after(batches: int) -> tuple[MemoryLoader, Stop]:
    stop = Stop()

    def ask(handed: int) -> None:
        if handed == batches:
            stop.signal_number = 15

    return MemoryLoader(rows(50, 1), 8, after=ask), stop


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, STEPS), min_size=1, max_size=3, unique=True).map(sorted))
def test_any_interruptions_leave_no_trace(
    uninterrupted: tuple[ToyModel, Path], tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    whole, whole_folder = uninterrupted
    folder = tmp_path_factory.mktemp("cut")
    done = 0
    for cut in cuts:
        loader, stop = _stopping_after(cut - done)
        outcome, _ = train(folder, config(folder), loader=loader, stop=stop)
        done = outcome.progress.step
        assert (outcome.status, done) == ("interrupted", cut)
        torch.rand(5)  # whatever happens between two processes
    outcome, model = train(folder, config(folder))
    assert outcome.status == "done"
    assert same_weights(model, whole)
    assert _without_times(folder) == _without_times(whole_folder)


def test_a_crash_costs_the_steps_since_the_last_checkpoint(
    uninterrupted: tuple[ToyModel, Path], tmp_path: Path
) -> None:
    class CrashError(Exception):
        pass

    def crash(handed: int) -> None:
        if handed == 14:
            raise CrashError

    with pytest.raises(CrashError):
        train(tmp_path, config(tmp_path), loader=MemoryLoader(rows(50, 1), 8, after=crash))
    assert [path.name for path in files(RunFolder(tmp_path).checkpoints)] == [
        "step-00000005.pt",
        "step-00000010.pt",
    ]
    _, model = train(tmp_path, config(tmp_path))
    assert same_weights(model, uninterrupted[0])
    assert _without_times(tmp_path) == _without_times(uninterrupted[1])


def test_a_signal_during_validation_saves_first_and_validates_later(
    uninterrupted: tuple[ToyModel, Path], tmp_path: Path
) -> None:
    stop = Stop()
    seen = []

    def interrupted(model, watch):  # type: ignore[no-untyped-def]
        seen.append(1)
        if len(seen) == 2:
            stop.signal_number = 2
        return held_out_loss(model, watch)

    outcome, _ = train(tmp_path, config(tmp_path), stop=stop, validate=interrupted)
    assert (outcome.status, outcome.progress.step, outcome.progress.validated) == ("interrupted", 12, 6)
    outcome, model = train(tmp_path, config(tmp_path))
    assert model.stages[:2] == [(11, STEPS), (12, STEPS)]  # validated in the stage it was trained in
    assert same_weights(model, uninterrupted[0])
    assert _without_times(tmp_path) == _without_times(uninterrupted[1])


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    first, model = train(tmp_path, config(tmp_path))
    before = _without_times(tmp_path)
    second, again = train(tmp_path, config(tmp_path))
    assert second == first
    assert same_weights(model, again)
    assert _without_times(tmp_path) == before


def test_a_damaged_checkpoint_is_passed_over(uninterrupted: tuple[ToyModel, Path], tmp_path: Path) -> None:
    loader, stop = _stopping_after(13)
    train(tmp_path, config(tmp_path), loader=loader, stop=stop)
    _, newest = files(RunFolder(tmp_path).checkpoints)
    newest.write_bytes(newest.read_bytes()[:1000])
    found, faults = load_newest(RunFolder(tmp_path).checkpoints)
    assert found is not None
    assert found.step == 10
    assert len(faults) == 1
    assert str(newest) in faults[0]
    _, model = train(tmp_path, config(tmp_path))
    assert same_weights(model, uninterrupted[0])
    for path in files(RunFolder(tmp_path).checkpoints):
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"cannot be read as a checkpoint.*start over"):
        train(tmp_path, config(tmp_path))


def test_another_configuration_is_refused_by_its_keys(tmp_path: Path) -> None:
    train(tmp_path, config(tmp_path, training__steps=5))
    with pytest.raises(ConfigError, match=r"training\.clip was 1\.0, is 2\.0; training\.steps was 5, is 24"):
        train(tmp_path, config(tmp_path, training__clip=2.0))
    allowed = config(tmp_path / "elsewhere", training__steps=5, log_every=3, checkpoints__every=2)
    assert train(tmp_path, allowed)[0].status == "done"


def test_states_that_could_not_be_read_back_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"loader\.place: a Path|loader\.place: a PosixPath"):
        write_whole(tmp_path / "loader.pt", {"place": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_run_no_code(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.pt"
    torch.save({"format": 1, "weights": ToyModel()}, path)  # a pickled class
    with pytest.raises(DataError, match="cannot be read as a checkpoint"):
        load_newest(tmp_path)


def _without_times(folder: Path) -> list[dict[str, object]]:
    """The metrics less clocks; losses of intervals that an interruption cut cover fewer steps."""
    kept = []
    for line in RunFolder(folder).history():
        if "validation" in line:
            kept.append({"step": line["step"], "validation": line["validation"], "best": line["best"]})
        else:
            kept.append({"step": line["step"], "learning_rate": line["learning_rate"]})
    return kept
