"""Does a served model answer as the tables would have it, and how fast?

    python benchmarks/serving.py parity --run runs/mos [--users 1000]
    python benchmarks/serving.py latency --run runs/mos [--events 1000] [--requests 300]

parity: of users drawn by hash, raw bronze events, shuffled and one in ten twice, against the users' last rows
in gold/user_sequences: tensors must be equal, scores within rtol 1e-5 (and 1e-6 absolute), and the best items
the same up to ties; just after the publication, and a day later. Exit status 1 where they are not.

latency: the user with most events, the latest --events of them. In process, then by HTTP from `mlflow models
serve` on loopback with the installed environment, asked by ApacheBench (`ab`, of Debian's apache2-utils): p50
and p99 one request at a time, then requests a second with --concurrency at a time. CPU time is told as well,
which other work on the machine does not change much.
"""

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.fit.run_folder import RunFolder
from training.gold import user_numbers
from training.model import as_model
from training.published import SEQUENCES, Publication, publication_numbered
from training.rows import take
from training.serving.bundle import load_bundle, write_bundle
from training.serving.logging import log_bundle
from training.serving.loopback import Server, serving
from training.serving.questions import ROW_COLUMNS, Questions
from training.serving.served import EPOCH, Served

RAW = ["user_id", "item_id", "category_id", "event_type", "ts", "event_id", "sequence", "session_key"]
NAMES_ONLY = ("rows.row_id", "samples.row")  # of a row in the table's version, and in the batch
WARM_UP, BEST = 20, 10

Asked = dict[int, tuple[Questions, int]]
"""Each user's questions, and the place in them."""


def publication_of(run: Path) -> Publication:
    traced = (RunFolder(run).read("run.json") or {})["table"]
    root = traced["path"].removesuffix("/" + SEQUENCES)
    return publication_numbered(root, traced["publication"])


def last_rows(published: Publication, users: int) -> pa.Table:
    """The last row of each of the first users by hash."""
    rows = published.read(SEQUENCES, list(ROW_COLUMNS))
    last = rows.select(["user_id", "chunk"]).to_pandas().sort_values("chunk").groupby("user_id").tail(1)
    rows = rows.take(pa.array(last.index.to_numpy()))
    return rows.take(pa.array(np.argsort(user_numbers(rows.column("user_id")))[:users]))


def raw_events(published: Publication, users: list[str]) -> pd.DataFrame:
    events = published.read("bronze/events", RAW)
    own = events.filter(pc.is_in(events.column("user_id"), pa.array(users))).to_pandas()
    own["ts"] = own["ts"].dt.tz_localize(None).dt.tz_localize("UTC")
    return own[own["ts"] < published.as_of]


def asked(served: Served, rows: pa.Table, names: list[str], as_of: datetime) -> Asked:
    parts = served.asking.questions(rows, names, (as_of - EPOCH) // timedelta(microseconds=1))
    return {user: (part, at) for part in parts for at, user in enumerate(part.user.tolist())}


def tensors(question: tuple[Questions, int]) -> dict[str, Tensor]:
    part, own = question[0], torch.tensor([question[1]])
    found = {f"rows.{name}": value for name, value in vars(take(part.rows, own)).items()}
    samples = vars(part.samples.map(lambda values: values[own]))
    found |= {f"samples.{name}": value for name, value in samples.items() if value is not None}
    return {name: value for name, value in found.items() if name not in NAMES_ONLY}


def scores(served: Served, asked_for: Asked) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}
    with torch.inference_mode():
        for part in {id(part): part for part, _ in asked_for.values()}.values():
            catalogue = as_model(served.model).score_catalogue(part.rows, part.samples)
            found |= dict(zip(part.user.tolist(), catalogue, strict=True))
    return found


def same_best(one: Tensor, other: Tensor) -> bool:
    """The best of one are among the best of the other, but for ties within the tolerance."""
    least = float(other.topk(BEST).values[-1])
    return bool((other[one.topk(BEST).indices] >= least - 1e-6 - 1e-5 * abs(least)).all())


def differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return any(not torch.equal(value, other[name]) for name, value in one.items())


def parity(served: Served, published: Publication, users: int) -> bool:
    rows = last_rows(published, users)
    names = rows.column("user_id").to_pylist()
    events = raw_events(published, names)
    events = pd.concat([events, events.sample(frac=0.1, random_state=1)]).sample(frac=1.0, random_state=2)
    several = int((rows.column("chunk").to_numpy() > 0).sum())
    print(f"{len(names):,} users, {several} of them of several chunks; {len(events):,} raw events")
    good = True
    for as_of in (published.as_of, published.as_of + timedelta(days=1)):
        ours = asked(served, served.read(events, as_of=as_of)[1].rows, names, as_of)
        theirs = asked(served, rows, names, as_of)
        unequal = sum(differ(tensors(ours[user]), tensors(theirs[user])) for user in range(len(names)))
        one, other = scores(served, ours), scores(served, theirs)
        far = sum(not torch.allclose(one[user], other[user], rtol=1e-5, atol=1e-6) for user in one)
        most = max(float((one[user] - other[user])[2:].abs().max()) for user in one)
        best = sum(not (same_best(one[u], other[u]) and same_best(other[u], one[u])) for u in one)
        opens = sum(not part.is_open[at] for part, at in ours.values())
        print(f"as of {as_of.isoformat()}, {opens} sessions over; users whose answers differ:")
        print(f"  tensors {unequal}, scores {far} (largest difference {most:.1e}), best {BEST} items {best}")
        good &= not (unequal or far or best)
    return good


def long_history(published: Publication, events: int) -> pd.DataFrame:
    """The latest events of the user who has most."""
    users = published.read("silver/users", ["user_id", "n_events"]).to_pandas()
    name = users.sort_values(["n_events", "user_id"])["user_id"].iloc[-1]
    own = raw_events(published, [name]).sort_values("ts").tail(events)
    own["ts"] = own["ts"].map(lambda at: at.isoformat())
    return own.drop(columns=["sequence", "session_key"])


def in_process(served: Served, request: pd.DataFrame, as_of: datetime, repeats: int) -> None:
    took, busy = [], []
    for _ in range(repeats + WARM_UP):
        began, worked = time.perf_counter(), time.process_time()
        served.recommend(request, as_of=as_of)
        took.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
    for name, seconds in (("wall", took), ("CPU", busy)):
        cuts = statistics.quantiles(seconds[WARM_UP:], n=100)
        print(f"in process, {name}: p50 {1e3 * cuts[49]:.1f} ms, p99 {1e3 * cuts[98]:.1f} ms")


def cpu_seconds(server: Server) -> float:
    """CPU time of the server's processes so far."""
    own = psutil.Process(server.pid)
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(used.user + used.system for used in times)


def ask_by_ab(server: Server, body: Path, requests: int, concurrency: int) -> str:
    """What ApacheBench measures, in words."""
    url, before = f"{server.url}/invocations", cpu_seconds(server)
    with tempfile.TemporaryDirectory() as folder:
        cuts = Path(folder) / "cuts.csv"
        command = ["ab", "-k", "-q", "-n", str(requests), "-c", str(concurrency), "-e", str(cuts)]
        command += ["-p", str(body), "-T", "application/json", url]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        with cuts.open() as file:
            at = {row[0]: float(row[1]) for row in list(csv.reader(file))[1:]}
    cpu = 1e3 * (cpu_seconds(server) - before) / requests
    lines = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    rate = float(lines["Requests per second"].split()[0])
    failed = int(lines["Failed requests"]) + int(lines.get("Non-2xx responses", "0"))
    spent = f"{cpu:.1f} ms of CPU a request, {failed} of {requests} failed"
    return f"p50 {at['50']:.1f} ms, p99 {at['99']:.1f} ms, {rate:.1f} requests/s, {spent}"


def latency(bundle: Path, request: pd.DataFrame, as_of: datetime, given: argparse.Namespace) -> None:
    folder, params = bundle.parent, {"as_of": as_of.isoformat()}
    tracking = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(tracking)
    experiment = mlflow.create_experiment("serving", artifact_location=(folder / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        uri = log_bundle(bundle).model_uri
    split = {"columns": list(request.columns), "data": request.to_numpy(dtype=object).tolist()}
    forms = {"dataframe_split": split, "dataframe_records": request.to_dict("records")}
    with serving(uri, tracking, folder) as server:
        for name, form in forms.items():
            body = folder / f"{name}.json"
            body.write_text(json.dumps({name: form, "params": params}))
            ask_by_ab(server, body, WARM_UP, 1)
            alone = ask_by_ab(server, body, given.requests, 1)
            print(f"HTTP, {name} of {body.stat().st_size:,} bytes, one at a time: {alone}")
            many = ask_by_ab(server, body, given.requests, given.concurrency)
            print(f"HTTP, {name}, {given.concurrency} at a time: {many}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("parity", "latency"))
    parser.add_argument("--run", type=Path, required=True, help="output folder of python -m training.fit")
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=300, help="at least 100, for a p99 (default: 300)")
    parser.add_argument("--concurrency", type=int, default=4)
    given = parser.parse_args()
    if given.requests < 100:
        parser.error("--requests below 100 have no p99")
    if given.what == "latency" and shutil.which("ab") is None:
        raise SystemExit("ApacheBench is not there; install Debian's apache2-utils")
    published = publication_of(given.run)
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(given.run, Path(folder) / "bundle")
        served = load_bundle(bundle)
        if given.what == "parity":
            good = parity(served, published, given.users)
            print("equal" if good else "NOT EQUAL")
            return 0 if good else 1
        request = long_history(published, given.events)
        name, threads = served.config.model.name, torch.get_num_threads()
        print(f"{name}, {len(request):,} events of one user, {threads} threads")
        in_process(served, request, published.as_of, given.requests)
        latency(bundle, request, published.as_of, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
