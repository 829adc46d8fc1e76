"""Does a served model answer as the tables would have it, and how fast?

    python benchmarks/serving.py parity --run runs/mos [--users 1000]
    python benchmarks/serving.py latency --run runs/mos [--events 1000] [--requests 300]

parity: of users drawn by hash, raw bronze events, shuffled and some of them twice, against the last rows of
gold/user_sequences: tensors must be equal, scores within rtol 1e-5 (and 1e-6 absolute), the best items the same
up to ties; just after the publication and a day later. Exit status 1 where they are not.

latency: `mlflow models serve` on loopback with the installed environment, asked by ApacheBench (`ab`, Debian's
apache2-utils): p50 and p99 of one user with --events events, one request at a time, then requests a second with
--concurrency at a time. Users with fewer events are asked with what they have. Both also time the parts of an
answer in process.
"""

import argparse
import csv
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.fit.run_folder import RunFolder
from training.gold import user_numbers
from training.model import as_model
from training.published import SEQUENCES, Publication, publications
from training.rows import take
from training.serving.bundle import load_bundle, write_bundle
from training.serving.history import histories
from training.serving.logging import log_bundle
from training.serving.questions import ROW_COLUMNS, Questions
from training.serving.request import read_request
from training.serving.served import EPOCH, Served

RAW = ["user_id", "item_id", "category_id", "event_type", "ts", "event_id", "sequence", "session_key"]
READY_SECONDS = 120


def publication_of(run: Path) -> Publication:
    traced = (RunFolder(run).read("run.json") or {})["table"]
    root = traced["path"].removesuffix("/" + SEQUENCES)
    (found,) = (one for one in publications(root) if one.number == traced["publication"])
    return found


def last_rows(published: Publication) -> pa.Table:
    """The last row of every user."""
    rows = published.read(SEQUENCES, list(ROW_COLUMNS))
    place = pa.array(np.arange(len(rows)))
    last = rows.select(["user_id", "chunk"]).append_column("place", place).to_pandas()
    return rows.take(pa.array(last.sort_values("chunk").groupby("user_id")["place"].last().to_numpy()))


def raw_events(published: Publication, users: list[str]) -> pd.DataFrame:
    """Events of the users in no order, one in ten of them twice."""
    events = published.read("bronze/events", RAW)
    own = events.filter(pa.compute.is_in(events.column("user_id"), pa.array(users))).to_pandas()
    own["ts"] = own["ts"].dt.tz_localize(None).dt.tz_localize("UTC")
    own = own[own["ts"] < published.as_of]
    return pd.concat([own, own.sample(frac=0.1, random_state=1)]).sample(frac=1.0, random_state=2)


def by_user(parts: Iterator[Questions]) -> dict[int, tuple[Questions, int]]:
    """Each user's questions and the place in them."""
    return {user: (part, at) for part in parts for at, user in enumerate(part.user.tolist())}


def tensors(question: tuple[Questions, int]) -> dict[str, Tensor]:
    part, at = question
    own = torch.tensor([at])
    found = {f"rows.{name}": value for name, value in vars(take(part.rows, own)).items()}
    samples = part.samples.map(lambda values: values[own])
    asked = {f"samples.{name}": value for name, value in vars(samples).items() if isinstance(value, Tensor)}
    # which row it is within the table's version, and where in the batch
    return {
        name: value for name, value in (found | asked).items() if name not in ("rows.row_id", "samples.row")
    }


def scores(served: Served, asked: dict[int, tuple[Questions, int]]) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}
    model = as_model(served.model)
    with torch.inference_mode():
        for part in {id(part): part for part, _ in asked.values()}.values():
            catalogue = model.score_catalogue(part.rows, part.samples)
            found |= dict(zip(part.user.tolist(), catalogue, strict=True))
    return found


def same_best(one: Tensor, other: Tensor, count: int = 10) -> bool:
    """Each one's best are among the other's best but for ties within the tolerance."""
    best = one.topk(count).indices
    least = float(other.topk(count).values[-1])
    return bool((other[best] >= least - 1e-6 - 1e-5 * abs(least)).all())


def parity(served: Served, published: Publication, users: int) -> bool:
    rows = last_rows(published)
    number = user_numbers(rows.column("user_id"))
    rows = rows.take(pa.array(np.argsort(number)[:users]))
    names = rows.column("user_id").to_pylist()
    events = raw_events(published, names)
    chunks = rows.column("chunk").to_numpy()
    print(
        f"{len(names):,} users, {len(events):,} raw events, {int((chunks > 0).sum())} users of several chunks"
    )
    good = True
    for later in (timedelta(0), timedelta(days=1)):
        as_of = published.as_of + later
        asked = read_request(events, top_k=10, as_of=as_of, unit="iso", keyed=False)
        found = histories(asked, served.source, served.names, served.themes)
        micros = (as_of - EPOCH) // timedelta(microseconds=1)
        ours = by_user(served.asking.questions(found.rows, names, micros))
        theirs = by_user(served.asking.questions(rows, names, micros))
        unequal = sum(differ(tensors(ours[user]), tensors(theirs[user])) for user in range(len(names)))
        one, other = scores(served, ours), scores(served, theirs)
        far = sum(not torch.allclose(one[u], other[u], rtol=1e-5, atol=1e-6) for u in one)
        most = max(float((one[u] - other[u])[2:].abs().max()) for u in one)
        worse = sum(not (same_best(one[u], other[u]) and same_best(other[u], one[u])) for u in one)
        opens = sum(bool(part.samples.new_session[at]) for part, at in ours.values())
        print(
            f"as of {as_of.isoformat()}: {opens} open a session; {unequal} users with other tensors, {far} with "
            f"other scores (largest difference {most:.1e}), {worse} with other best items"
        )
        good &= not (unequal or far or worse)
    return good


def differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return any(not torch.equal(value, other[name]) for name, value in one.items())


def long_history(served: Served, published: Publication, events: int) -> tuple[pd.DataFrame, datetime]:
    """The latest events of the user who has most."""
    users = published.read("silver/users", ["user_id", "n_events"]).to_pandas()
    name = users.sort_values(["n_events", "user_id"])["user_id"].iloc[-1]
    own = raw_events(published, [name]).drop_duplicates("event_id").sort_values("ts").tail(events)
    own = own.drop(columns=["sequence", "session_key"])
    own["ts"] = own["ts"].map(lambda at: at.isoformat())
    return own, published.as_of


def in_process(served: Served, request: pd.DataFrame, as_of: datetime, repeats: int) -> None:
    took, busy = [], []
    for _ in range(repeats + 3):
        began, worked = time.perf_counter(), time.process_time()
        served.recommend(request, as_of=as_of)
        took.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
    print(f"in process: {describe(took[3:])}; CPU {describe(busy[3:])}")


def describe(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {1e3 * cuts[49]:.1f} ms, p99 {1e3 * cuts[98]:.1f} ms"


@contextmanager
def serving(model_uri: str, tracking: str) -> Iterator[int]:
    """``mlflow models serve`` on a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model_uri, "--env-manager", "local"]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env=os.environ
        | {"MLFLOW_TRACKING_URI": tracking, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(READY_SECONDS * 4):
            time.sleep(0.25)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                break
            except OSError:
                continue
        else:
            raise SystemExit(f"the server did not answer within {READY_SECONDS} s")
        yield port
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def ask_by_ab(port: int, body: Path, requests: int, concurrency: int) -> dict[str, float]:
    """What ApacheBench measures, in ms and requests a second."""
    with tempfile.TemporaryDirectory() as folder:
        cuts = Path(folder) / "cuts.csv"
        told = subprocess.run(
            ["ab", "-k", "-q", "-n", str(requests), "-c", str(concurrency), "-p", str(body), "-T",
             "application/json", "-e", str(cuts), f"http://127.0.0.1:{port}/invocations"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        with cuts.open() as file:
            at = {row[0]: float(row[1]) for row in list(csv.reader(file))[1:]}
    lines = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    failed = int(lines["Failed requests"].split()[0]) + int(lines.get("Non-2xx responses", "0"))
    rate = float(lines["Requests per second"].split()[0])
    return {"p50": at["50"], "p99": at["99"], "rate": rate, "failed": failed}


def latency(bundle: Path, request: pd.DataFrame, as_of: datetime, given: argparse.Namespace) -> None:
    if shutil.which("ab") is None:
        raise SystemExit("ApacheBench is not there; install Debian's apache2-utils")
    folder = bundle.parent
    tracking = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(tracking)
    experiment = mlflow.create_experiment("serving", artifact_location=(folder / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        uri = log_bundle(bundle).model_uri
    body = folder / "request.json"
    split = {"columns": list(request.columns), "data": request.to_numpy(dtype=object).tolist()}
    plain = {"dataframe_split": split, "params": {"as_of": as_of.isoformat()}}
    body.write_text(json.dumps(plain))
    records = folder / "records.json"
    records.write_text(
        json.dumps({"dataframe_records": request.to_dict("records")} | {"params": plain["params"]})
    )
    with serving(uri, tracking) as port:
        ask_by_ab(port, body, 20, 1)
        for name, file in (("dataframe_split", body), ("dataframe_records", records)):
            alone = ask_by_ab(port, file, given.requests, 1)
            print(
                f"HTTP, {len(request):,} events as {name}, {file.stat().st_size:,} bytes: p50 {alone['p50']:.1f} ms, "
                f"p99 {alone['p99']:.1f} ms, {alone['rate']:.1f} requests/s one at a time, {alone['failed']:.0f} failed"
            )
        many = ask_by_ab(port, body, given.requests, given.concurrency)
        print(
            f"HTTP, {given.concurrency} at a time: {many['rate']:.1f} requests/s, p50 {many['p50']:.1f} ms, p99 "
            f"{many['p99']:.1f} ms, {many['failed']:.0f} failed"
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("parity", "latency"))
    parser.add_argument("--run", type=Path, required=True, help="output folder of python -m training.fit")
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--concurrency", type=int, default=4)
    given = parser.parse_args()
    published = publication_of(given.run)
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(given.run, Path(folder) / "bundle")
        served = load_bundle(bundle)
        if given.what == "parity":
            good = parity(served, published, given.users)
            print("equal" if good else "NOT EQUAL")
            return 0 if good else 1
        request, as_of = long_history(served, published, given.events)
        in_process(served, request, as_of, given.requests)
        latency(bundle, request, as_of, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
