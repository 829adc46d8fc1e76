#!/usr/bin/env bash
# Airflow for a person to look at, in a database and a folder of its own: the daily DAG on generated events of
# the nine days up to today. It runs yesterday by itself. make airflow-demo; Ctrl-C ends it.
set -euo pipefail
cd "$(dirname "$0")/.."
DEMO=$(realpath -m "${DEMO:-demo}")
export AIRFLOW_HOME="$DEMO/airflow"
export AIRFLOW__CORE__DAGS_FOLDER="$PWD/airflow/dags" AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=False
export AIRFLOW__API__PORT="${PORT:-8080}" AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://127.0.0.1:$AIRFLOW__API__PORT/execution/"
export AIRFLOW_CONN_SPARK_DEFAULT='{"conn_type": "spark", "host": "local[2]"}'
BIN=.venv-airflow/bin
mkdir -p "$AIRFLOW_HOME"

EVENTS="$AIRFLOW_HOME/generated"
if [ ! -d "$EVENTS" ]; then
    START=$(.venv/bin/python -c "import datetime as d; print(d.datetime.now(d.UTC).date() - d.timedelta(days=9))")
    .venv/bin/python jobs/generate_events.py --out "$EVENTS" --events 30000 --start "$START" --days 9 >/dev/null
fi
sed -e "s#^path = .*#path = \"$EVENTS/events\"#" -e '/^\[source.window\]/,$d' conf/demo.toml >"$AIRFLOW_HOME/build.toml"
cp conf/train/mos.toml "$AIRFLOW_HOME/train.toml"
printf '\n[training]\nsteps = 200\n[validation]\nevery = 200\n' >>"$AIRFLOW_HOME/train.toml"
cat >"$AIRFLOW_HOME/variables.json" <<JSON
{
    "seqloom_home": "$PWD",
    "seqloom_config": "$AIRFLOW_HOME/build.toml",
    "seqloom_warehouse": "$AIRFLOW_HOME/warehouse",
    "seqloom_train": "$AIRFLOW_HOME/train.toml",
    "seqloom_model": "seqloom-demo",
    "seqloom_tracking": "sqlite:///$AIRFLOW_HOME/mlflow.db",
    "seqloom_runs": "$AIRFLOW_HOME/runs"
}
JSON
$BIN/airflow db migrate
$BIN/airflow pools import airflow/pools.json
$BIN/airflow variables import "$AIRFLOW_HOME/variables.json"
echo "Airflow opens on http://127.0.0.1:$AIRFLOW__API__PORT; the password stands below and in $AIRFLOW_HOME" >&2

# Its parts outlive a Ctrl-C of their own accord: they are ended as one process group.
set -m
PATH="$PWD/$BIN:$PATH" airflow standalone & # it starts its parts by name
PARTS=$!
trap 'kill -TERM -- -$PARTS; sleep 3; kill -KILL -- -$PARTS' EXIT
trap 'exit 130' INT TERM
wait $PARTS
