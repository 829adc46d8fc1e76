"""Past days in one go: their events into the tables, up to the end of the range; started by hand only.

One build over the range, and over the days before it that daily runs read again for late events, gives the
tables that a build a day would have given. Models and scores are of the present: the next daily run brings
them. Waits for the daily run through the pool ``seqloom_warehouse``.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG, Param

from seqloom_tasks import SEQUENCES, WAREHOUSE, SubmitJob, lookback

START = "macros.datetime.fromisoformat(params.start)"
SINCE = f"{{{{ ({START} - macros.timedelta(days=params.lookback_days)) | ds }}}}"

with DAG(
    "backfill_sequences",
    description=__doc__.splitlines()[0],
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2025, 1, 1),
    max_active_runs=1,
    tags=["seqloom"],
    params={
        "start": Param("2025-01-01", type="string", format="date", description="first day (UTC)"),
        "end": Param("2025-01-11", type="string", format="date", description="the day after the last (UTC)"),
        "lookback_days": lookback(),
        "as_of": Param(
            None, type=["null", "string"], format="date", description="publish up to here; default: the end"
        ),
    },
    default_args={"retries": 1, "retry_delay": timedelta(minutes=5)},
) as dag:
    SubmitJob(
        task_id="build",
        job="build_sequences",
        options={
            "config": "{{ var.value.seqloom_config }}",
            "warehouse": WAREHOUSE,
            "start": SINCE,
            "end": "{{ params.end }}",
            "as-of": "{{ params.as_of or params.end }}",
        },
        outlets=[SEQUENCES],
        pool="seqloom_warehouse",
    )
