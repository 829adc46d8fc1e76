"""A grid that goes on where it stopped, its tables and its plots."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from training.errors import ConfigError, DataError
from training.evaluate.experiment import Cell, Outcome, Results, grid, run_grid
from training.evaluate.plots import look, plot_contrasts, plot_slices
from training.evaluate.report import contrast_table, cost_table, gains, markdown, metric_table, nulls, spread
from training.evaluate.run import summarise

SKILL = {"control": 0.10, "better": 0.25, "same": 0.10}
SLICES = ["all", "first_after_return", "hopping"]


def outcome(cell: Cell) -> Outcome:
    """800 targets of 100 users; only returning ones tell the models apart."""
    n = np.arange(800)
    shared = np.random.default_rng(5)
    returning = shared.random(800) < 0.4
    difficulty = shared.random(800)
    own = np.random.default_rng([cell.seed, len(cell.model) if cell.model == "better" else 0])
    skill = np.where(returning, SKILL[cell.model], 0.10)
    frame = pd.DataFrame(
        {
            "user": n // 8,
            "row": n // 8,
            "place": n % 8,
            "ts": n,
            "item": n % 30 + 2,
            "in_catalogue": True,
            "rank": np.ceil((difficulty * 0.7 + own.random(800) * 0.3) * 5 / skill),
            "history": n % 8,
            "hops": n % 3,
            "session_start": returning,
            "hop": returning.astype(np.int8),
            "returning": returning,
        }
    )
    return Outcome(frame, summarise(frame), {"parameters": 1000.0 + len(cell.model), "samples_per_s": 5.5})


@pytest.fixture
def results(tmp_path) -> Results:
    found = Results(tmp_path / "grid")
    run_grid(grid(SKILL, ["demo"], range(3)), found, outcome, lambda cell: "v1", lambda line: None)
    return found


def test_a_grid_goes_on_where_it_stopped(tmp_path):
    results, ran, lines = Results(tmp_path), [], []
    cells = list(grid(["control", "better"], ["demo", "taobao"], [0, 1]))
    assert [str(cell) for cell in cells[:3]] == [
        "control on demo, seed 0",
        "better on demo, seed 0",
        "control on taobao, seed 0",
    ]

    def failing(cell: Cell) -> Outcome:
        if len(ran) == 5:
            raise KeyboardInterrupt
        ran.append(cell)
        return outcome(cell)

    with pytest.raises(KeyboardInterrupt):
        run_grid(cells, results, failing, lambda cell: "v1", lines.append)
    assert ran == cells[:5] and len(lines) == 11
    assert lines[-1] == "better on demo, seed 1 …"
    assert len(results.table().groupby(["model", "data", "seed"])) == 5
    again: list[Cell] = []
    run_grid(
        cells, results, lambda cell: again.append(cell) or outcome(cell), lambda cell: "v1", lines.append
    )
    assert again == cells[5:]
    assert "control on demo, seed 0: finished before" in lines
    third: list[Cell] = []
    changed = {cells[2]: "v2"}
    run_grid(
        cells,
        results,
        lambda cell: third.append(cell) or outcome(cell),
        lambda cell: changed.get(cell, "v1"),
        lines.append,
    )
    assert third == [cells[2]], "a cell whose config or data changed is run again"
    assert len(results.table().groupby(["model", "data", "seed"])) == 8


def test_a_cell_is_there_only_when_all_of_it_is(results):
    folder = results.root / "data=demo" / "model=same" / "seed=2"
    (folder / "summary.parquet").unlink()
    assert not results.finished(Cell("same", "demo", 2), "v1")
    assert sorted(results.frames("demo", "same")) == [0, 1]
    frame = results.frames("demo", "same")[0]
    pd.testing.assert_frame_equal(frame, outcome(Cell("same", "demo", 0)).frame)
    with pytest.raises(DataError, match="no finished run of mos on demo"):
        results.frames("demo", "mos")


@pytest.mark.parametrize("name", ["", "MoS", "a/b", "../up", "a=b", "a b"])
def test_names_that_are_no_folders_are_errors(name):
    with pytest.raises(ConfigError, match="cannot name"):
        Cell(name, "demo", 0)


def test_tables_say_mean_and_std_over_seeds(results):
    table = results.table()
    shown = metric_table(table, "demo", "hr_10", [*SLICES, "history_200_up"])
    assert list(shown.columns) == ["all targets", "first after a return", "hopping session", "history ≥ 200"]
    values = [
        (outcome(Cell("better", "demo", seed)).frame.query("returning")["rank"] <= 10).mean()
        for seed in range(3)
    ]
    assert (
        shown.loc["better", "first after a return"] == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    )
    assert shown.loc["better", "history ≥ 200"] == "–"
    single = metric_table(table[table["seed"] == 0], "demo", "hr_10", ["all"])
    assert "±" not in single.loc["same", "all targets"]
    assert spread(table, "demo", "hr_10", ["all"])["seeds"].tolist() == [3, 3, 3]
    assert cost_table(table, "demo").loc["better"].tolist() == ["1,006", "5.5"]
    with pytest.raises(DataError, match="no hr_11 of all on demo; there are: "):
        metric_table(table, "demo", "hr_11", ["all"])


def test_contrasts_say_what_the_intervals_establish(results):
    found = gains(results, "demo", [("better", "control"), ("same", "control")], "hr_10", SLICES[:2])
    found += gains(results, "demo", [("control", "better")], "hr_10", ["first_after_return"])
    found += nulls(
        results, "demo", [("same", "control"), ("better", "control")], "hr_10", "first_after_return"
    )
    verdicts = [(c.model, c.slice, c.verdict) for c in found]
    assert verdicts == [
        ("better", "all", "better"),
        ("better", "first_after_return", "better"),
        ("same", "all", "undecided"),
        ("same", "first_after_return", "undecided"),
        ("control", "first_after_return", "worse"),
        ("same", "first_after_return", "equivalent"),
        ("better", "first_after_return", "not shown equivalent"),
    ]
    text = markdown(contrast_table(found))
    lines = text.splitlines()
    assert len(lines) == 2 + len(found) and all(line.count("|") == lines[0].count("|") for line in lines)
    assert "first after a return" in text and "95% [" in text and "90% [" in text and "margin ± " in text


def test_markdown_escapes_what_would_end_a_cell():
    table = pd.DataFrame({"a|b": ["x|y"]}, index=["r"])
    assert markdown(table, "name") == "| name | a\\|b |\n| --- | --- |\n| r | x\\|y |\n"


def test_plots_are_written(results, tmp_path):
    plot_slices(results.table(), "demo", "hr_10", SLICES, tmp_path / "slices.png")
    contrasts = gains(results, "demo", [("better", "control")], "hr_10", SLICES)
    contrasts += nulls(results, "demo", [("same", "control")], "hr_10", "all")
    plot_contrasts(contrasts, tmp_path / "contrasts.png")
    for name in ("slices.png", "contrasts.png"):
        image = imread(tmp_path / name)
        assert min(image.shape[:2]) > 200 and image[..., :3].std() > 0.05


def test_metrics_do_not_share_an_axis(results, tmp_path):
    contrasts = [
        one
        for metric in ("hr_10", "mrr_10")
        for one in gains(results, "demo", [("better", "control")], metric, ["all"])
    ]
    with pytest.raises(ValueError, match="hr_10, mrr_10"):
        plot_contrasts(contrasts, tmp_path / "contrasts.png")


def test_every_model_of_a_plot_looks_different():
    assert len({look(number) for number in range(64)}) == 64
