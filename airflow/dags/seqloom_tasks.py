"""Tasks that run seqloom: spark-submit for its jobs, a plain command for the rest.

Both run in seqloom's own environment, never in Airflow's, and tell a failure by the job's own words. What
they need to know of the machine comes from Airflow's variables, which are read when a task runs:

seqloom_home       the checkout, with its .venv
seqloom_config     the build's TOML
seqloom_warehouse  where the tables lie
seqloom_train      the TOML of the model to train
seqloom_model      the name in the registry
seqloom_tracking   MLflow's tracking URI
seqloom_runs       folder of the training runs
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import Asset, BaseOperator, Context, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

SEQUENCES = Asset("seqloom_user_sequences", uri="seqloom://warehouse/gold/user_sequences")
WAREHOUSE = "{{ var.value.seqloom_warehouse }}"

FINAL = {2: "wrong arguments, config or source", 3: "a gate or a test was not passed"}
"""Exit statuses that another try would not change."""
SAID = re.compile(r"(?:^|\s)error: (.+)$", re.MULTILINE)


def lookback() -> Param:
    """Days before a range whose events are read again: what comes late is found there."""
    return Param(3, type="integer", minimum=0, description="days before, for late events")


def failure(what: str, status: int | None, said: str) -> AirflowException:
    """What a failed task raises: the last ``error: …`` line of the job, and no retry where none can help."""
    found = SAID.findall(said)
    reason = found[-1].strip() if found else said.strip()[-2000:] or "it said nothing; see the log above"
    if status in FINAL:
        return AirflowFailException(f"{what}: {FINAL[status]}: {reason}")
    return AirflowException(f"{what}, exit status {status}: {reason}")


Options = Mapping[str, str | Sequence[str] | None]
"""Flag -> value, values for a flag that is given several times, None for a flag without one."""


def flags(options: Options) -> list[str]:
    """A command line's words.

    >>> flags({"end": "2025-01-02", "set": ["a=1", "b=2"], "first": None})
    ['--end', '2025-01-02', '--set', 'a=1', '--set', 'b=2', '--first']
    """
    words: list[str] = []
    for name, value in options.items():
        if value is None:
            words.append(f"--{name}")
        else:
            for one in [value] if isinstance(value, str) else value:
                words += [f"--{name}", one]
    return words


def environment(home: str, tracking: str) -> dict[str, str]:
    """Variables with which seqloom's commands find their Python, Spark and MLflow."""
    python = f"{home}/.venv/bin/python"
    return {
        "PATH": f"{home}/.venv/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "SPARK_HOME": f"{home}/.venv/lib/python3.11/site-packages/pyspark",
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
        "MLFLOW_TRACKING_URI": tracking,
    }


class SubmitJob(SparkSubmitOperator):
    """``spark-submit`` of a job of ``jobs/`` by the connection ``spark_default``."""

    template_fields = (*SparkSubmitOperator.template_fields, "home", "tracking")

    def __init__(self, *, job: str, options: Options, **kwargs: Any) -> None:
        self.job = job
        self.home = "{{ var.value.seqloom_home }}"
        self.tracking = "{{ var.value.seqloom_tracking }}"
        super().__init__(
            application=f"{self.home}/jobs/{job}.py",
            application_args=flags(options),
            name=f"{job} {{{{ ds }}}}",
            **kwargs,
        )

    def execute(self, context: Context) -> None:
        """Run the job; a failure carries its own last words."""
        self.env_vars = environment(self.home, self.tracking)
        try:
            super().execute(context)
        except AirflowException as error:
            said = str(error)
            code = re.search(r"Error code is: (\d+)", said)
            raise failure(self.job, int(code[1]) if code else None, said) from None


class RunCommand(BaseOperator):
    """``python -m training.registry COMMAND``; the JSON of its last line is the task's result.

    ``answers`` are exit statuses that are results as well, such as 3 of ``promote``: not promoted.
    """

    template_fields = ("words", "home", "tracking")

    def __init__(self, *, command: str, options: Options, answers: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.answers = (0, *answers)
        self.words = [command, *flags(options)]
        self.home = "{{ var.value.seqloom_home }}"
        self.tracking = "{{ var.value.seqloom_tracking }}"
        self._hook = SubprocessHook()

    def execute(self, context: Context) -> Any:
        """Run the command to its end; a failure carries its own last words."""
        given = environment(self.home, self.tracking)
        command = [given["PYSPARK_PYTHON"], "-m", "training.registry", *self.words]
        done = self._hook.run_command(command, env={**os.environ, **given}, cwd=self.home)
        if done.exit_code not in self.answers:
            raise failure(f"registry {self.words[0]}", done.exit_code, done.output)
        return json.loads(done.output)

    def on_kill(self) -> None:
        """Stop the command with the task."""
        self._hook.send_sigterm()
