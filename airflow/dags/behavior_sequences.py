"""The daily loop: a day's events → sequences and gates → a model when one is due → its test → scores.

Runs at midnight UTC for the day that ends then. ``seqloom_tasks`` says which variables it reads.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param, task

from seqloom_tasks import SEQUENCES, WAREHOUSE, RunCommand, SubmitJob, lookback

CHAMPION = Asset("seqloom_champion", uri="seqloom://registry/champion")
SCORES = Asset("seqloom_scores", uri="seqloom://warehouse/scores/users")

MODEL = "{{ var.value.seqloom_model }}"
END = "{{ data_interval_end | ts }}"
SINCE = "{{ (data_interval_start - macros.timedelta(days=params.lookback_days)) | ts }}"

with DAG(
    "behavior_sequences",
    description=__doc__.splitlines()[0],
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["seqloom"],
    params={
        "lookback_days": lookback(),
        "train": Param("auto", enum=["auto", "always", "never"], description="auto: when a model is due"),
        "train_every_days": Param(7, type="integer", minimum=1),
        "holdout_days": Param(
            2, type="integer", minimum=1, description="a new model learns up to so long before the day's end"
        ),
        "top_k": Param(10, type="integer", minimum=1, description="items scored for each user"),
    },
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(hours=1),
    },
) as dag:
    build = SubmitJob(
        task_id="build",
        job="build_sequences",
        options={
            "config": "{{ var.value.seqloom_config }}",
            "warehouse": WAREHOUSE,
            "start": SINCE,
            "end": END,
            "as-of": END,
        },
        outlets=[SEQUENCES],
        pool="seqloom_warehouse",
        execution_timeout=timedelta(hours=6),
    )
    due = RunCommand(
        task_id="due",
        command="due",
        options={
            "name": MODEL,
            "warehouse": WAREHOUSE,
            "when": "{{ params.train }}",
            "every-days": "{{ params.train_every_days }}",
        },
    )

    @task.branch
    def choose(found: dict[str, object]) -> str:
        """Train, or go on with the champion there is; ``due`` has logged why."""
        return "train" if found["due"] else "score"

    train = RunCommand(
        task_id="train",
        command="train",
        options={
            "name": MODEL,
            "config": "{{ var.value.seqloom_train }}",
            "set": [
                f"data.warehouse={WAREHOUSE}",
                "data.holdout={{ params.holdout_days }}d",
                "output={{ var.value.seqloom_runs }}/{{ data_interval_end | ds }}",
            ],
            "resume": None,
        },
        pool="seqloom_training",
        execution_timeout=timedelta(hours=12),
    )
    promote = RunCommand(
        task_id="promote",
        command="promote",
        options={
            "name": MODEL,
            "warehouse": WAREHOUSE,
            "version": "{{ ti.xcom_pull('train')['version'] }}",
            "first": None,
        },
        answers=[3],
        outlets=[CHAMPION],
        pool="seqloom_training",
    )
    score = SubmitJob(
        task_id="score",
        job="score_users",
        options={
            "warehouse": WAREHOUSE,
            "model": f"models:/{MODEL}@champion",
            "top-k": "{{ params.top_k }}",
        },
        trigger_rule="none_failed",
        outlets=[SCORES],
        pool="seqloom_warehouse",
    )

    chosen = choose(due.output)
    build >> due
    chosen >> train >> promote >> score
    chosen >> score
