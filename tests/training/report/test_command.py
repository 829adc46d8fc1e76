"""The report of real, tiny runs: one file, every section, the runs' own figures, nobody's markup."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.report.conftest import Fit
from training.evaluate.experiment import Cell, Outcome, Results
from training.evaluate.report import label
from training.evaluate.slices import SLICES
from training.fit.run_folder import RunFolder
from training.report.__main__ import main
from training.vocabulary import TrainVocabulary

MOST_BYTES = 5_000_000
EVIL = "</script><img src=x onerror=alert(1)>{n}"

Write = Callable[..., str]


class Seen(HTMLParser):
    """Elements, the text of tables' cells, and scripts by their id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.specs: dict[str, str] = {}
        self.text: list[str] = []
        self._script: str | None = None
        self._cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.tags.append((tag, named))
        self._script = (named.get("id") or "") if tag == "script" else self._script
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._script = None if tag == "script" else self._script
        self._cell = False if tag in ("td", "th") else self._cell

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.specs[self._script] = self.specs.get(self._script, "") + data
            return
        self.text.append(data)
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture
def write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Write:
    def run(*words: str) -> str:
        out = tmp_path / "report.html"
        capsys.readouterr()
        assert main([*words, "--out", str(out)]) == 0
        summary = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert summary["report"] == str(out) and summary["bytes"] == out.stat().st_size
        return out.read_text(encoding="utf-8")

    return run


def section_ids(seen: Seen) -> set[str]:
    return {str(attributes.get("id")) for tag, attributes in seen.tags if tag == "section"}


def charts(seen: Seen) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in seen.specs.items() if name.endswith("-spec")}


def test_a_run_beside_two_controls(fit: Fit, write: Write) -> None:
    mos, controls = fit("mos"), (fit("sasrec"), fit("popularity"))
    html = write("--run", str(mos), *(word for one in controls for word in ("--control", str(one))))
    assert len(html.encode()) < MOST_BYTES
    seen = Seen(html)
    assert section_ids(seen) == {"controls", "slices", "learning", "ranks", "usage", "users", "lineage"}
    assert not [a for tag, a in seen.tags if tag in ("script", "img", "iframe") and a.get("src")]
    assert not [a for tag, a in seen.tags if tag == "link" and not str(a.get("href")).startswith("data:")]

    # the table's figures are those of the test files, the intervals hold them
    for run, name in ((mos, "mos"), (controls[0], "sasrec"), (controls[1], "popularity")):
        test = json.loads((run / "test.json").read_text())["all"]
        row = next(row for row in seen.rows if row and row[0] == name)
        for metric, cell in zip(("ndcg_10", "hr_10", "hr_50", "mrr_10"), row[1:5], strict=True):
            value, low, high = map(float, re.findall(r"[\d.]+", cell))
            assert value == pytest.approx(test[metric], abs=5e-5)
            assert low <= value <= high
        assert row[5] == f"{test['coverage_ceiling']:.1%}"

    # slices, ranks and validations too
    slices = json.loads((mos / "test.json").read_text())
    for part, figures in slices.items():
        row = next((row for row in seen.rows if row[:2] == [label(part), "mos"]), None)
        if figures["users"] >= 2:
            assert row is not None and float(row[2]) == pytest.approx(figures["ndcg_10"], abs=5e-5)
    within = next(row for row in seen.rows if row[0] == "10" and len(row) == 4)
    assert float(within[1].rstrip("%")) == pytest.approx(100 * slices["all"]["hr_10"], abs=5e-3)
    for line in RunFolder(mos).history():
        if "validation" in line:
            wanted = ["mos, seed 1", str(line["step"]), f"{line['validation']['ndcg_10']:.4f}"]
            assert wanted in seen.rows

    # every picture has titles on its axes and one sentence
    drawn = charts(seen)
    assert {
        "controls-differences-spec",
        "slices-figure-spec",
        "learning-loss-spec",
        "ranks-figure-spec",
    } <= set(drawn)
    assert len(drawn) == sum(tag == "figcaption" for tag, _ in seen.tags)
    assert all(spec["description"] for spec in drawn.values())


def test_differences_are_those_of_the_registry(fit: Fit, write: Write) -> None:
    """Shares the arithmetic of ``promote``: the paired bootstrap over users."""
    from training.evaluate.compare import compare

    mos, sasrec = fit("mos"), fit("sasrec")
    html = write("--run", str(mos), "--control", str(sasrec))
    ours, theirs = (RunFolder(run).read_targets() for run in (mos, sasrec))
    assert ours is not None and theirs is not None
    found = compare({1: ours}, {1: theirs}, "ndcg_10")
    row = next(row for row in Seen(html).rows if row[:2] == ["all targets", "mos − sasrec"])
    assert row[2] == f"{found.estimate:+.4f}" and row[3] == f"[{found.low:+.4f}, {found.high:+.4f}]"


def test_several_seeds_are_one_model(fit: Fit, write: Write) -> None:
    runs = [fit("sasrec", seed) for seed in (1, 2)]
    html = write("--run", str(runs[0].parent), "--control", str(fit("popularity")))
    tests = [json.loads((run / "test.json").read_text())["all"]["hr_10"] for run in runs]
    row = next(row for row in Seen(html).rows if row and row[0] == "sasrec")
    assert float(row[2].split()[0]) == pytest.approx(np.mean(tests), abs=5e-5)


def test_results_per_target_are_kept_and_asked_for_where_they_are_not(
    fit: Fit, write: Write, tmp_path: Path
) -> None:
    run = fit("sasrec")
    frame = RunFolder(run).read_targets()
    assert frame is not None
    test = json.loads((run / "test.json").read_text())
    assert {part for part, mask in SLICES.items() if mask(frame).any()} == set(test)
    old = tmp_path / "old"
    shutil.copytree(run, old)
    (old / "test_targets.parquet").unlink()
    assert write("--run", str(run)).count("<tr>") == write("--run", str(old)).count("<tr>")


def test_names_are_text(fit: Fit, write: Write, tmp_path: Path) -> None:
    """Items and categories whose names hold markup, in a copy of a run."""
    run = tmp_path / "evil"
    shutil.copytree(fit("mos"), run)
    path = run / "vocabulary.parquet"
    held = TrainVocabulary.load(path)
    evil = {
        kind: (None, None, *(EVIL.format(n=f"{kind}{n}") for n in range(len(ids) - 2)))
        for kind, ids in held.ids.items()
    }
    replace(held, ids=evil).save(path)
    html = write("--run", str(run))
    seen = Seen(html)
    assert not [tag for tag, attributes in seen.tags if tag == "img" or "onerror" in attributes]
    assert any(EVIL.format(n="items")[:30] in text for text in seen.text)
    assert all(json.loads(text) for name, text in seen.specs.items() if name.endswith("-spec"))


def test_click_models_show_calibration(fit: Fit, write: Write) -> None:
    seen = Seen(write("--run", str(fit("mos_click")), "--control", str(fit("din"))))
    assert "calibration" in section_ids(seen) and "ranks" not in section_ids(seen)
    test = json.loads((fit("mos_click") / "test.json").read_text())["all"]
    row = next(row for row in seen.rows if row and row[0] == "mos_click")
    heads = next(row for row in seen.rows if row and row[0] == "model")
    for metric in ("auc_popularity", "gauc_popularity", "log_loss_popularity"):
        at = heads.index(metric.replace("_", " "))
        assert row[at] == f"{test[metric]:.4f}"


@pytest.mark.parametrize("model", ["cmsl", "ulim"])
def test_strands_of_the_other_models(fit: Fit, write: Write, model: str) -> None:
    assert "usage" in section_ids(Seen(write("--run", str(fit(model)))))


def test_a_grid_of_two_models(fit: Fit, write: Write, tmp_path: Path) -> None:
    results, frames = Results(tmp_path / "grid" / "results"), {}
    for model in ("mos", "sasrec"):
        run = fit(model)
        place = tmp_path / "grid" / "runs" / "toy" / model / "1"
        place.parent.mkdir(parents=True)
        shutil.copytree(run, place)
        frame = RunFolder(run).read_targets()
        assert frame is not None
        frames[model] = frame
        test = json.loads((run / "test.json").read_text())
        results.save(Cell(model, "toy", 1), Outcome(frame, test, {"parameters": 7.0}), "mark")
    seen = Seen(write("--run", str(tmp_path / "grid")))
    assert {"data-toy", "slices-toy", "learning-toy", "ranks-toy", "usage", "users"} <= section_ids(seen)
    for model, frame in frames.items():
        row = next(row for row in seen.rows if row and row[0] == model)
        assert float(row[1].split()[0]) == pytest.approx((frame["rank"] <= 10).mean(), abs=5e-5)
    assert any(row[:2] == ["all targets", "mos − sasrec"] for row in seen.rows)


def test_arguments_at_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path)]) == 2
    assert "holds no fitted run" in capsys.readouterr().err
    assert main([]) == 2
