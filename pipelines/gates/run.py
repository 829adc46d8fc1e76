"""Judge a layer's figures with Great Expectations and write its Data Docs.

The figures are a frame of one row, so that a suite costs a fraction of a second whatever the data;
the scans are in ``pipelines.gates.metrics``.
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pipelines.errors import GateError
from pipelines.gates.suites import Check
from pipelines.lock import local_folder

_DOCS_SITE = "local_site"


@dataclass(frozen=True)
class GateReport:
    """What the gates of a layer said; ``passed`` is keyed ``layer.check``."""

    layer: str
    passed: dict[str, bool]
    failures: list[str]  # one line each: figure, bound, meaning, remedy
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return not self.failures


def run_gates(
    layer: str,
    metrics: Mapping[str, float],
    checks: Sequence[Check],
    *,
    run_id: str,
    docs_folder: str | None = None,
) -> GateReport:
    """Run a suite named ``layer`` on figures; Data Docs go to ``docs_folder`` as HTML, where given.

    Without any figures (the drift of a first run) nothing is judged, and a note says so. Raises
    KeyError for a check whose figure is missing and ValueError for one that is no number: Great
    Expectations would let a null pass.
    """
    begin = time.perf_counter()
    if not metrics:
        return GateReport(layer, {}, [], [f"{layer} gates skipped: no earlier run to compare with"])
    for check in checks:
        if not math.isfinite(metrics[check.metric]):
            raise ValueError(f"gate {layer}.{check.name}: {check.metric} is {metrics[check.metric]}")
    passed = _validate(layer, metrics, checks, run_id, docs_folder)
    failures = [
        _explain(layer, check, metrics[check.metric])
        for check in checks
        if not passed[f"{layer}.{check.name}"]
    ]
    return GateReport(layer, passed, failures, [], time.perf_counter() - begin)


def require(report: GateReport) -> None:
    """GateError that names the first failed gate and how many more failed."""
    if report.ok:
        return
    others = len(report.failures) - 1
    more = f" (and {others} more, see jobs/status.py)" if others else ""
    raise GateError(report.failures[0] + more)


def data_docs_folder(root: str) -> str | None:
    """Where a warehouse's Data Docs lie; None on an object store, where no HTML is written."""
    folder = local_folder(root)
    return None if folder is None else str((folder / "ops" / "data_docs").absolute())


def _validate(
    layer: str, metrics: Mapping[str, float], checks: Sequence[Check], run_id: str, docs_folder: str | None
) -> dict[str, bool]:
    gx = _great_expectations()
    context = _context(docs_folder)
    import pandas as pd  # noqa: PLC0415

    frame = pd.DataFrame([{check.metric: metrics[check.metric] for check in checks}])
    expectations = [
        gx.expectations.ExpectColumnValuesToBeBetween(
            column=check.metric,
            min_value=check.minimum,
            max_value=check.maximum,
            meta={"name": f"{layer}.{check.name}"},
            description=f"{check.name}: {check.meaning}; {check.metric} = {_figure(metrics[check.metric])}, "
            f"bound {_bound(check)}",
            notes=check.remedy,
        )
        for check in checks
    ]
    name = f"{layer}-{run_id}" if run_id else layer
    suite = context.suites.add_or_update(gx.ExpectationSuite(name=layer, expectations=expectations))
    batch = _batch_definition(docs_folder, layer)
    validation = gx.ValidationDefinition(name=layer, data=batch, suite=suite)
    context.validation_definitions.add_or_update(validation)
    docs = [gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=[_DOCS_SITE])] if docs_folder else []
    checkpoint = gx.Checkpoint(
        name=layer, validation_definitions=[validation], actions=docs, result_format="SUMMARY"
    )
    context.checkpoints.add_or_update(checkpoint)
    result = checkpoint.run(batch_parameters={"dataframe": frame}, run_id=gx.RunIdentifier(run_name=name))
    (outcome,) = result.run_results.values()
    passed = {str(one.expectation_config.meta["name"]): bool(one.success) for one in outcome.results}
    if len(passed) != len(checks) or all(passed.values()) != bool(result.success):
        raise RuntimeError(
            f"Great Expectations judged {len(passed)} of {len(checks)} {layer} gates: {passed}"
        )
    return passed


@cache
def _great_expectations() -> Any:
    """The package, imported where it is used: that takes seconds, and it must not phone home."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations  # noqa: PLC0415

    return great_expectations


@cache
def _context(docs_folder: str | None) -> Any:
    """One ephemeral context per warehouse and process, without analytics and progress bars."""
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    if docs_folder:
        site = {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": docs_folder},
        }
        context.update_data_docs_site(_DOCS_SITE, site)
    return context


@cache
def _batch_definition(docs_folder: str | None, layer: str) -> Any:
    context = _context(docs_folder)
    source = context.data_sources.add_or_update_pandas(f"{layer}_figures")
    return source.add_dataframe_asset(layer).add_batch_definition_whole_dataframe(layer)


def _explain(layer: str, check: Check, value: float) -> str:
    return (
        f"gate {layer}.{check.name} failed: {check.meaning}: {check.metric} is {_figure(value)}, "
        f"allowed {_bound(check)}; {check.remedy}"
    )


def _bound(check: Check) -> str:
    if check.minimum == check.maximum:
        return _figure(check.maximum or 0)
    if check.minimum is None:
        return f"at most {_figure(check.maximum or 0)}"
    if check.maximum is None:
        return f"at least {_figure(check.minimum)}"
    return f"{_figure(check.minimum)} to {_figure(check.maximum)}"


def _figure(value: float) -> str:
    return f"{value:,}" if float(value).is_integer() else f"{value:.7g}"
