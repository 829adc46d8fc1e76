"""Run by Airflow's Python: the DAGs of a folder as JSON; work at import is an error."""

import json
import socket
import subprocess
import sys
from typing import Any


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("top-level work: a DAG file may only define")


def main(folder: str) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import Connection, Variable

    sys.path.insert(0, folder)
    Variable.get = Connection.get = refuse
    subprocess.Popen.__init__ = refuse
    socket.socket.connect = refuse
    bag = DagBag(dag_folder=folder, collect_dags=True)
    dags = {
        name: {
            "max_active_runs": dag.max_active_runs,
            "catchup": dag.catchup,
            "timetable": type(dag.timetable).__name__,
            "tasks": {
                task.task_id: {
                    "down": sorted(task.downstream_task_ids),
                    "retries": task.retries,
                    "pool": task.pool,
                    "outlets": [asset.uri for asset in task.outlets],
                    "trigger_rule": task.trigger_rule.value,
                }
                for task in dag.topological_sort()  # raises on a cycle
            },
        }
        for name, dag in bag.dags.items()
    }
    print(json.dumps({"errors": bag.import_errors, "dags": dags}))


if __name__ == "__main__":
    main(sys.argv[1])
