"""What a run has found out so far; a failed run records it as far as it came."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from features.spec import SequenceSpec
from pipelines.gates import Check, Metrics, data_docs_folder, require, run_gates
from pipelines.run_context import Run


@dataclass
class Outcome:
    """Counts, verdicts and figures, as they come in."""

    counts: dict[str, Any] = field(default_factory=dict)
    gates: dict[str, bool] = field(default_factory=dict)
    gate_failures: list[str] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    as_of: datetime | None = None
    fit_id: str | None = None
    spec: SequenceSpec | None = None
    column_kinds: dict[str, str] = field(default_factory=dict)

    def judge(self, run: Run, layer: str, metrics: Mapping[str, float], checks: Sequence[Check]) -> None:
        """Judge a layer's figures and keep the verdict; GateError where it failed."""
        self.metrics[layer] = dict(metrics)
        docs = data_docs_folder(run.config.warehouse)
        report = run_gates(layer, metrics, checks, run_id=run.run_id, docs_folder=docs)
        for note in report.notes:
            run.progress.say(note)
        self._spent(layer, report.seconds)
        self.gates |= report.passed
        self.gate_failures += report.failures
        require(report)

    def measured(self, layer: str, measure: Callable[[], Metrics]) -> Metrics:
        """What ``measure`` finds of a layer; its time counts as the gates'."""
        begin = time.perf_counter()
        found = measure()
        self._spent(layer, time.perf_counter() - begin)
        return found

    def _spent(self, layer: str, seconds: float) -> None:
        spent = self.extra.setdefault("gate_seconds", {})
        spent[layer] = round(spent.get(layer, 0.0) + seconds, 3)

    def metrics_json(self) -> str:
        """What the gates measured, for the next run's drift."""
        return json.dumps(self.metrics)

    def evidence_json(self) -> str | None:
        """The evidence for hopping, where it was measured."""
        evidence = self.extra.get("evidence")
        return None if evidence is None else json.dumps(evidence)
