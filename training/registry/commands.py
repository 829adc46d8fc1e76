"""What each command of ``python -m training.registry`` does with its arguments."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from mlflow.exceptions import MlflowException

from training.errors import TrainingError
from training.registry.due import Asked as DueAsked
from training.registry.due import due
from training.registry.promote import Asked, promote
from training.registry.rebuild import rebuild
from training.registry.register import register
from training.registry.rollback import rollback
from training.registry.show import show
from training.registry.tracking import Tracking, connect
from training.registry.train import train
from training.registry.versions import find, parse_uri


class Answer(NamedTuple):
    """What a command says at its end."""

    summary: dict[str, Any]
    yes: bool = True  # False: not promoted, or the rebuilt model differs
    table: str | None = None  # for a person, on stdout


def run(args: Namespace) -> Answer:
    """Connect and do it. TrainingError where it cannot be done, MLflow's own failures included."""
    try:
        return _COMMANDS[args.command](connect(args.tracking), args)
    except MlflowException as error:
        raise TrainingError(f"MLflow: {error}") from error


def _register(tracking: Tracking, args: Namespace) -> Answer:
    return Answer(register(tracking, args.run, args.name, args.controls))


def _train(tracking: Tracking, args: Namespace) -> Answer:
    return Answer(
        train(tracking, args.config, args.overrides, args.name, resume=args.resume, controls=args.controls)
    )


def _promote(tracking: Tracking, args: Namespace) -> Answer:
    asked: dict[str, Any] = {
        "name": args.name,
        "version": args.version,
        "controls": tuple(args.controls),
        "first": args.first,
        "again": args.again,
        "warehouse": args.warehouse,
        "targets": args.targets,
        "metric": args.metric,
        "guarded": None if args.guard is None else tuple(args.guard),
        "tolerance": args.tolerance,
        "guard_users": args.guard_users,
    }
    return Answer(
        *promote(tracking, Asked(**{key: value for key, value in asked.items() if value is not None}))
    )


def _due(tracking: Tracking, args: Namespace) -> Answer:
    asked = DueAsked(args.name, args.warehouse, args.when, args.every_days, args.max_unknown)
    return Answer(due(tracking, asked))


def _rollback(tracking: Tracking, args: Namespace) -> Answer:
    return Answer(rollback(tracking, args.name))


def _show(tracking: Tracking, args: Namespace) -> Answer:
    table, summary = show(tracking, args.name)
    return Answer(summary, table=table)


def _rebuild(tracking: Tracking, args: Namespace) -> Answer:
    which = parse_uri(args.model) if args.model else (args.name, args.version, None)
    return Answer(*rebuild(find(tracking.client, *which), Path(args.out), args.warehouse))


_COMMANDS: Final[dict[str, Callable[[Tracking, Namespace], Answer]]] = {
    "register": _register,
    "train": _train,
    "promote": _promote,
    "due": _due,
    "rollback": _rollback,
    "show": _show,
    "rebuild": _rebuild,
}
