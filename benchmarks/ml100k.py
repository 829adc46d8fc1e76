"""Our SASRec against RecBole 1.2.1's on ml-100k: same users, same items held out, same width and epochs.

python benchmarks/ml100k.py --out DIR [--seeds 1 2 3] [--epochs 20]

Each user's last item is the test, the one before it the validation, in the order that RecBole sorts events;
every item is a candidate, the newest 50 events are seen, nothing else is known of an event. Both have
dimension 64, 2 layers, 2 heads, an inner width of 256, the loss over the whole catalogue, and keep the
weights of the best NDCG@10 on the validation items. RecBole trains on prefixes one by one, ours on whole
sequences. Each has its own defaults for the rest: dropout, learning rate, schedule and places.

RecBole gets an environment of its own under DIR (benchmarks/ml100k_requirements.txt); ml-100k lies in its
wheel. RecBole takes some minutes an epoch on one core; what is finished is not run again.
"""

import argparse
import json
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.codes import FIRST_INDEX
from training.batch import Batch, Rows, all_targets
from training.codes import Codes
from training.evaluate.compare import compare
from training.evaluate.leave_one_out import LastTargets
from training.evaluate.ranks import rank_metrics
from training.evaluate.report import label, markdown, over_seeds
from training.evaluate.sessions import SessionFacts
from training.experiments.bundle import Bundle
from training.experiments.cell import run_cell
from training.fit.config import Config
from training.fit.signals import Stop
from training.vocabulary import TrainVocabulary

HERE = Path(__file__).resolve().parent
METRICS = ("hr_10", "ndcg_10", "mrr_10")
SEEN = 50  # events that a target sees at most in the tests; RecBole's MAX_ITEM_LIST_LENGTH
LENGTH = 100  # events of a training row: its targets see 50 to 99


def bundle_of(sequences: Mapping[str, NDArray[Any]]) -> Bundle:
    """Rows to learn from, validation and test of leave-one-out; an event is its item and nothing else."""
    user, item = sequences["user"], sequences["item"].astype(np.int32)
    items = int(sequences["items"]) - 1  # RecBole numbers them from 1
    cuts = np.flatnonzero(np.diff(user)) + 1
    users, histories = user[np.append(0, cuts)], np.split(item - 1 + FIRST_INDEX, cuts)
    _same_test(sequences, dict(zip(users.tolist(), histories, strict=True)))
    owned = list(zip(users.tolist(), histories, strict=True))

    def held_out(back: int) -> list[Batch]:
        size = SEEN + 1 + back
        newest = [Batch(rows_of([(who, own[-size:], max(0, len(own) - size)) for who, own in owned], 64))]
        return [Batch(one.rows, all_targets(one.rows)) for one in LastTargets(newest).select(newest, back)]

    windows = [
        (who, own[begin : begin + LENGTH], begin)
        for who, own in owned
        for begin in range(0, max(1, len(own) - SEEN), SEEN)
    ]
    whole = [Batch(rows_of(windows, LENGTH))]
    (train,) = LastTargets(whole).before(whole)
    valid, test = held_out(1), held_out(0)
    count = np.bincount(np.concatenate([own[:-2] for own in histories]), minlength=FIRST_INDEX + items)
    codes = Codes(np.arange(FIRST_INDEX + items, dtype=np.int32), count.astype(np.int64))
    one = Codes(np.arange(2, dtype=np.int32), np.array([0, int(count.sum())]))
    category = np.ones(codes.size, np.int32)
    return Bundle(
        train={LENGTH: train.rows},
        valid=valid,
        test=test,
        vocabulary=TrainVocabulary(codes, one, one, category, (), 0),
        facts=SessionFacts.from_batches([*valid, *test]),
        about={"data": "ml-100k"},
    )


def _same_test(sequences: Mapping[str, NDArray[Any]], histories: Mapping[int, NDArray[np.int32]]) -> None:
    """Fail unless the last item of every history is what RecBole tests on, and the rest what it shows."""
    columns = (sequences[f"test_{name}"] for name in ("user_id", "item_id", "item_id_list", "item_length"))
    tested = list(zip(*columns, strict=True))
    for who, item, seen, length in tested:
        own = histories[int(who)] - FIRST_INDEX + 1
        if own[-1] != item or own[-1 - length : -1].tolist() != seen[:length].tolist():
            raise SystemExit(f"user {who}: RecBole tests another item or shows another history")
    if len(tested) != len(histories):
        raise SystemExit(f"RecBole tests {len(tested)} users of {len(histories)}")


def rows_of(parts: Sequence[tuple[int, NDArray[np.int32], int]], length: int) -> Rows:
    """Rows (user, items, place of the first in the history) padded to ``length``.

    Targets see ``SEEN`` events or all there are; a history's first item is none.
    """
    item = np.zeros((len(parts), length), np.int32)
    mask = np.zeros(item.shape, bool)
    for n, (_, own, begin) in enumerate(parts):
        item[n, : len(own)] = own
        mask[n, SEEN if begin else 1 : len(own)] = True
    begin = np.array([begin for _, _, begin in parts])[:, None]
    place, blank = np.arange(length), np.zeros_like(item)
    real = (item > 0).astype(np.int32)
    arrays = {
        "item": item,
        "category": real,
        "type": real,
        "mode": blank,
        "session": real,
        "theme": real,
        "session_theme": real,
        "ts": np.where(real, begin + place, 0).astype(np.int64),  # events at one time are seen in their order
        "length": real.sum(1).astype(np.int32),
        "read_at": np.where(mask, place - 1, -1).astype(np.int32),
        "query_gap": blank.astype(np.int8),
        "new_session": blank.astype(bool),
        "loss_mask": mask,
        "row_id": np.arange(len(parts)),
        "user_id": np.array([who for who, _, _ in parts], np.int64),
    }
    return Rows(**{name: torch.from_numpy(values) for name, values in arrays.items()})


def config(out: Path, bundle: Bundle, seed: int, epochs: int, dropout: float) -> Config:
    """Our defaults but for the width and the number of epochs."""
    (rows,) = (len(part.length) for part in bundle.train.values())
    per_epoch = -(-rows // (4096 // LENGTH))
    return Config.model_validate(
        {
            "output": str(out / f"ours-{seed}"),
            "seed": seed,
            "data": {"table": "ml-100k"},
            "model": {"name": "sasrec", "dim": 64, "layers": 2, "heads": 2, "ff": 4.0, "dropout": dropout},
            "training": {"steps": epochs * per_epoch},
            "validation": {"every": per_epoch, "metric": "ndcg_10", "patience": 0},
            "log_every": per_epoch,
        }
    )


def recbole(out: Path, seed: int, epochs: int) -> dict[str, Any]:
    """What RecBole says of a run, which it does unless it was done."""
    said = out / f"recbole-{seed}.json"
    if not said.exists():
        python = out / "environment" / "bin" / "python"
        if not python.exists():
            venv.create(out / "environment", with_pip=True)
            subprocess.run(
                [python, "-m", "pip", "install", "-q", "-r", HERE / "ml100k_requirements.txt"], check=True
            )
        words = ["--out", str(out.resolve()), "--seed", str(seed), "--epochs", str(epochs)]
        script = HERE / "ml100k_recbole.py"
        subprocess.run(
            [python.absolute(), script, *words], check=True, cwd=out
        )  # it leaves logs where it runs
    found: dict[str, Any] = json.loads(said.read_text())
    if found["epochs"] != epochs:
        raise SystemExit(f"{said} is of {found['epochs']} epochs; remove it for others")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--dropout", type=float, default=0.1, help="of ours; RecBole's is 0.5")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    said = {seed: recbole(arguments.out, seed, arguments.epochs) for seed in arguments.seeds}
    with np.load(arguments.out / "sequences.npz") as sequences:
        bundle = bundle_of(sequences)
    ours, theirs, seconds = {}, {}, []
    for seed in arguments.seeds:
        settings = config(arguments.out, bundle, seed, arguments.epochs, arguments.dropout)
        outcome = run_cell(settings, bundle, Stop())
        ours[seed] = outcome.frame
        with np.load(arguments.out / f"recbole-{seed}.npz") as held:
            rank = dict(zip(held["user"].tolist(), held["rank"].tolist(), strict=True))
        theirs[seed] = outcome.frame.assign(rank=outcome.frame["user"].map(rank))
        seconds.append(outcome.facts["train_seconds"])
    table = []
    for name, frames in (("seqloom", ours), ("RecBole 1.2.1", theirs)):
        figures = [rank_metrics(frame["rank"].to_numpy()) for frame in frames.values()]
        row = {"": name}
        for metric in METRICS:
            row[label(metric)] = over_seeds([one[metric] for one in figures])
        table.append(row)
    print(markdown(pd.DataFrame(table)))
    for metric in METRICS:
        found = compare(ours, theirs, metric)
        print(
            f"{label(metric)}, seqloom − RecBole: {found.estimate:+.4f} "
            f"[{found.low:+.4f}, {found.high:+.4f}], 95 % over {found.users} users and {found.seeds} seeds"
        )
    theirs_took = [one["seconds"] for one in said.values()]
    print(
        f"training, {arguments.epochs} epochs, medians: {np.median(seconds):.0f} s "
        f"against {np.median(theirs_took):.0f} s"
    )


if __name__ == "__main__":
    main()
