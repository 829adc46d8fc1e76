#!/usr/bin/env bash
# Airflow for a person to look at: the DAGs on the demo's events, in a database and a folder of their own.
# make airflow-demo; Ctrl-C ends it. DEMO=folder as in make demo.
set -euo pipefail
cd "$(dirname "$0")/.."
DEMO=$(realpath -m "${DEMO:-demo}")
export AIRFLOW_HOME="$DEMO/airflow"
export AIRFLOW__CORE__DAGS_FOLDER="$PWD/airflow/dags" AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__API__PORT="${PORT:-8080}" AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW_CONN_SPARK_DEFAULT='{"conn_type": "spark", "host": "local[2]"}'
BIN=.venv-airflow/bin
mkdir -p "$AIRFLOW_HOME"

[ -d "$DEMO/events" ] || { echo "$DEMO has no events: run make demo first" >&2; exit 2; }
sed "s#^path = .*#path = \"$DEMO/events\"#" conf/demo.toml >"$AIRFLOW_HOME/build.toml"
cat >"$AIRFLOW_HOME/variables.json" <<JSON
{
    "seqloom_home": "$PWD",
    "seqloom_config": "$AIRFLOW_HOME/build.toml",
    "seqloom_warehouse": "$AIRFLOW_HOME/warehouse",
    "seqloom_train": "$PWD/conf/train/mos.toml",
    "seqloom_model": "seqloom-demo",
    "seqloom_tracking": "sqlite:///$AIRFLOW_HOME/mlflow.db",
    "seqloom_runs": "$AIRFLOW_HOME/runs"
}
JSON
$BIN/airflow db migrate
$BIN/airflow pools import airflow/pools.json
$BIN/airflow variables import "$AIRFLOW_HOME/variables.json"
echo "Airflow opens on http://127.0.0.1:$AIRFLOW__API__PORT; the password stands below and in $AIRFLOW_HOME" >&2
exec $BIN/airflow standalone
