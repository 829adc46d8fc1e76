"""The words of ``python -m training.registry``; nothing here imports MLflow or torch."""

import argparse
from collections.abc import Sequence
from typing import Final

from training.command import Parser

ABOUT: Final = """Register finished runs, say when to train, promote the better model, roll back, rebuild.

Everything is kept in MLflow: at --tracking, else where MLFLOW_TRACKING_URI says, else in the folder
registry/ (SQLite in mlflow.db, artifacts beside it). MLFLOW_EXPERIMENT_NAME names the experiment (default:
seqloom).
The last line of stdout is one JSON object; progress goes to stderr."""

STATUS: Final = """
exit status: 0 done (promoted, or nothing to do); 2 wrong arguments, configuration or data; 3 not promoted, or
the rebuilt model differs; 130 or 143 interrupted; 1 anything else"""

REGISTER: Final = """examples:
  python -m training.registry register --run runs/mos --name next-item
  python -m training.registry register --run runs/mos --name next-item --control runs/sasrec_matched

Logs configuration, table versions, code, figures by slice, curves, plots, data sets, a model card and the
model, and makes a version of it. A run that is registered under the name already keeps its version."""

TRAIN: Final = """examples:
  python -m training.registry train --config conf/train/mos.toml --name next-item
  python -m training.registry train --config conf/train/mos.toml --name next-item \\
      --set data.warehouse=demo/warehouse --set output=runs/2026-11-21 --control runs/sasrec

The same as python -m training.fit, then register."""

PROMOTE: Final = """examples:
  python -m training.registry promote --name next-item --control runs/sasrec_matched
  python -m training.registry promote --name next-item --version 4
  python -m training.registry promote --name next-item --first

Challenger, champion and controls answer the same targets of the warehouse's current publication: the
newest ones, which none of them has learned from or been chosen by. The challenger gets the alias
champion where
  1. the lower end of the 95 % interval of the difference (paired bootstrap over users) is above 0 against the
     champion and against every --control, and
  2. on every guarded slice of enough users it is above -tolerance against the champion.
An item that a model does not know is a miss for it. Without a champion the controls alone decide, or --first.
The decision, its figures, the window and the publication become tags of the version, a section of its model
card and a report (promotions/ of its run)."""

DUE: Final = """examples:
  python -m training.registry due --name next-item --warehouse demo/warehouse
  python -m training.registry due --name next-item --warehouse demo/warehouse --every-days 1 --max-unknown 0.1

Says why, and changes nothing. The answer is "due" of the JSON; the status is 0 either way."""

ROLLBACK: Final = """example:
  python -m training.registry rollback --name next-item

Again goes back one champion further. A version that was rolled back is promoted anew with promote --again
only."""

SHOW: Final = """example:
  python -m training.registry show --name next-item"""

REBUILD: Final = """examples:
  python -m training.registry rebuild --name next-item --version 3 --out runs/again
  python -m training.registry rebuild --model models:/next-item@champion --out runs/again
  make rebuild MODEL=models:/next-item@champion

Fits once more from the pinned table version, configuration and seed, and compares weights and test figures.
On a CPU of the same kind with the same code and packages the weights are equal to the bit."""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; ConfigError where they are wrong."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="python -m training.registry",
        description=ABOUT,
        epilog=f"COMMAND --help has examples.\n{STATUS}",
        formatter_class=shape,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, about: str, examples: str) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name, help=about, description=about, epilog=examples + "\n" + STATUS, formatter_class=shape
        )
        one.add_argument(
            "--tracking",
            metavar="URI",
            help="an MLflow server or database, or a folder for SQLite and artifacts",
        )
        return one

    register = command("register", "log a finished run folder and register its model", REGISTER)
    register.add_argument("--run", required=True, metavar="FOLDER", help="output of python -m training.fit")
    _named(register)
    _controls(register, "runs whose figures go onto the card beside the model's")

    train = command("train", "fit and register in one", TRAIN)
    train.add_argument("--config", required=True, metavar="FILE", help="such as conf/train/mos.toml")
    train.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="SECTION.KEY=VALUE",
        help="override a key of the file; may be given several times",
    )  # fmt: skip
    train.add_argument("--resume", action="store_true", help="go on with the run in the output folder")
    _named(train)
    _controls(train, "runs whose figures go onto the card beside the model's")

    promote = command("promote", "make a version the champion, if it is better", PROMOTE)
    _named(promote)
    promote.add_argument("--version", type=_whole, metavar="V", help="the challenger (default: the newest)")
    _controls(promote, "what the challenger must beat besides the champion")
    promote.add_argument(
        "--first",
        action="store_true",
        help="where there is no champion, take the version without a comparison",
    )
    promote.add_argument("--again", action="store_true", help="decide on a version that was rolled back")
    promote.add_argument(
        "--warehouse", metavar="DIR", help="default: the one that the challenger was fitted on"
    )
    promote.add_argument("--targets", type=_whole, metavar="N", help="at most, whole users (default: 20000)")
    promote.add_argument(
        "--metric", metavar="NAME", help="default: what the challenger's weights were chosen by"
    )
    promote.add_argument(
        "--guard", nargs="*", metavar="SLICE",
        help="slices that must not fall (default: first_of_session first_after_return within_session "
        "history_0_9)",
    )  # fmt: skip
    promote.add_argument(
        "--tolerance",
        type=_share,
        default=0.02,
        metavar="X",
        help="of guarded slices, in the metric's units (0.02)",
    )
    promote.add_argument(
        "--guard-users", type=_whole, default=30, metavar="N", help="a slice of fewer decides nothing (30)"
    )

    due = command("due", "say whether it is time to train", DUE)
    _named(due)
    due.add_argument("--warehouse", required=True, metavar="DIR", help="what is published there is asked")
    due.add_argument(
        "--when", choices=("auto", "always", "never"), default="auto",
        help="auto: no champion yet, or old data, or many unknown items",
    )  # fmt: skip
    due.add_argument(
        "--every-days", type=_whole, default=7, metavar="N",
        help="days from the newest version's data to the published ones (7)",
    )  # fmt: skip
    due.add_argument(
        "--max-unknown", type=_share, default=0.2, metavar="X",
        help="share of the last day's targets whose items the champion does not know (0.2)",
    )  # fmt: skip

    rollback = command("rollback", "give champion back to the version before", ROLLBACK)
    _named(rollback)

    show = command("show", "list versions, aliases and decisions", SHOW)
    _named(show)

    rebuild = command("rebuild", "make a registered model again and compare", REBUILD)
    which = rebuild.add_mutually_exclusive_group(required=True)
    which.add_argument("--name", type=_name, metavar="NAME", help="the registered model; --version with it")
    which.add_argument("--model", metavar="URI", help="models:/NAME/VERSION or models:/NAME@ALIAS")
    rebuild.add_argument("--version", type=_whole, metavar="V", help="default: the newest")
    rebuild.add_argument("--out", required=True, metavar="DIR", help="a new folder for the rebuilt run")
    rebuild.add_argument("--warehouse", metavar="DIR", help="where the pinned tables lie now, had they moved")
    return parser.parse_args(words)


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, type=_name, metavar="NAME", help="the registered model")


def _controls(parser: argparse.ArgumentParser, about: str) -> None:
    parser.add_argument(
        "--control", nargs="+", default=[], dest="controls", metavar="RUN",
        help=f"{about}: run folders, or models:/NAME/VERSION",
    )  # fmt: skip


def _name(text: str) -> str:
    if not text or set(text) & set("/:'\"`"):
        raise argparse.ArgumentTypeError(f"{text!r} cannot name a model; leave out / : and quotes")
    return text


def _whole(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up to 1")
    return value
