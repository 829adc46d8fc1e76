"""RecBole's SASRec on its own ml-100k; run by benchmarks/ml100k.py in an environment of RecBole's.

python benchmarks/ml100k_recbole.py --out DIR --seed N --epochs N

Leaves DIR/sequences.npz (users' items in RecBole's order, the last for the test, the one before for the
validation) and DIR/recbole-N.npz (rank of each user's test item), and, last, DIR/recbole-N.json. A run that
was cut short goes on from its best epoch, kept in the folder DIR/recbole-N.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed


def settings(out: Path, seed: int, epochs: int) -> dict:
    """RecBole's defaults for SASRec, with leave-one-out by time and the full ranking it does by default."""
    return {
        "seed": seed,
        "epochs": epochs,
        "stopping_step": 10,
        "checkpoint_dir": str(out / f"recbole-{seed}"),
        "MAX_ITEM_LIST_LENGTH": 50,
        "train_neg_sample_args": None,  # SASRec's CE loss is over the whole catalogue
        "eval_args": {
            "split": {"LS": "valid_and_test"},
            "order": "TO",
            "group_by": "user",
            "mode": "full",
        },
        "metrics": ["Hit", "NDCG", "MRR"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "show_progress": False,
        "state": "ERROR",
        "use_gpu": False,
    }


def histories(dataset: object) -> dict[str, np.ndarray]:
    """Users and their items in RecBole's order, from its samples: a prefix and the next item each."""
    samples = dataset.inter_feat
    order = np.argsort(samples["user_id"].numpy(), kind="stable")
    user, item, length = (samples[name].numpy()[order] for name in ("user_id", "item_id", "item_length"))
    first = np.flatnonzero(length == 1)  # a user's first sample shows one item
    shown = samples["item_id_list"].numpy()[order][first, 0]
    return {"user": np.insert(user, first, user[first]), "item": np.insert(item, first, shown)}


@torch.no_grad()
def ranks(model: SASRec, data: object) -> tuple[np.ndarray, np.ndarray]:
    """(users, mean ranks from 1) of the positives among all items."""
    model.eval()
    users, found = [], []
    for interaction, _, row, positive in data:
        scores = model.full_sort_predict(interaction).view(-1, data._dataset.item_num)
        scores[:, 0] = -torch.inf
        own = scores[row, positive][:, None]
        better, same = (scores > own).sum(1), (scores == own).sum(1)
        found.append((better + (same + 1) / 2).numpy())
        users.append(interaction["user_id"].numpy())
    return np.concatenate(users), np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    arguments = parser.parse_args()
    config = Config(
        "SASRec", "ml-100k", config_dict=settings(arguments.out, arguments.seed, arguments.epochs)
    )
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    held = test._dataset.inter_feat
    tested = {
        f"test_{name}": held[name].numpy() for name in ("user_id", "item_id", "item_id_list", "item_length")
    }
    np.savez(arguments.out / "sequences.npz", items=dataset.item_num, **histories(dataset), **tested)
    init_seed(config["seed"], config["reproducibility"])
    model = SASRec(config, train._dataset)
    trainer = Trainer(config, model)
    for cut_short in sorted(Path(config["checkpoint_dir"]).glob("*.pth"))[-1:]:  # its best epoch so far
        trainer.resume_checkpoint(cut_short)
    began = time.perf_counter()
    trainer.fit(train, valid, saved=True, show_progress=False)
    seconds = time.perf_counter() - began
    own = trainer.evaluate(test, load_best_model=True, show_progress=False)
    users, rank = ranks(model, test)
    np.savez(arguments.out / f"recbole-{arguments.seed}.npz", user=users, rank=rank)
    learned = sum(weight.numel() for weight in model.parameters())
    facts = {"epochs": arguments.epochs, "seconds": seconds, "parameters": learned, "test": dict(own)}
    (arguments.out / f"recbole-{arguments.seed}.json").write_text(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
