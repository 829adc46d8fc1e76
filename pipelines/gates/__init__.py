"""Quality gates: measure a layer with Spark, judge the figures with Great Expectations."""

from pipelines.gates.drift import drift_metrics
from pipelines.gates.figures import Metrics
from pipelines.gates.gold import RowCheck, gold_metrics
from pipelines.gates.metrics import (
    bronze_metrics,
    event_totals,
    sessions_metrics,
    vocabulary_metrics,
)
from pipelines.gates.run import GateReport, data_docs_folder, require, run_gates
from pipelines.gates.suites import (
    Check,
    bronze_checks,
    drift_checks,
    gold_checks,
    sessions_checks,
    vocabulary_checks,
)

__all__ = [
    "Check",
    "GateReport",
    "Metrics",
    "RowCheck",
    "bronze_checks",
    "bronze_metrics",
    "data_docs_folder",
    "drift_checks",
    "drift_metrics",
    "event_totals",
    "gold_checks",
    "gold_metrics",
    "require",
    "run_gates",
    "sessions_checks",
    "sessions_metrics",
    "vocabulary_checks",
    "vocabulary_metrics",
]
