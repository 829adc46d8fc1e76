"""A run of the toy model as a process of its own: ``python -m tests.training.fit.toy_run FOLDER``.

Every rank leaves ``rank-N.pt`` with its weights, steps and status.
"""

import argparse
import time
from pathlib import Path

import torch

from tests.training.fit.toy import MemoryLoader, config, rows, train
from training.fit.device import make_fabric
from training.fit.signals import listening


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--pause", type=float, default=0.0)
    args = parser.parse_args()

    from tests.training.fit.toy import ToyModel

    own = config(args.folder, training__steps=args.steps, hardware__devices=args.devices, log_every=1)
    fabric = make_fabric(own.hardware)
    fabric.launch()
    loader = MemoryLoader(
        rows(50, 1),
        args.size,
        rank=fabric.global_rank,
        ranks=fabric.world_size,
        after=lambda _: time.sleep(args.pause),
    )
    torch.manual_seed(fabric.global_rank)  # ranks begin unlike: DDP must make them alike
    model = ToyModel(args.dropout) if args.devices > 1 else None
    with listening() as stop:
        outcome, trained = train(args.folder, own, loader=loader, stop=stop, model=model, fabric=fabric)
    state = {"weights": trained.state_dict(), "steps": loader.handed, "status": outcome.status}
    torch.save(state, args.folder / f"rank-{fabric.global_rank}.pt")


if __name__ == "__main__":
    main()
