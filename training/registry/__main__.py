"""The command: ``python -m training.registry COMMAND``."""

import contextlib
import json
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from training.command import say
from training.errors import TrainingError
from training.registry.arguments import parse

NO: Final = 3
"""Exit status: not promoted, or the rebuilt model differs."""


def main(words: Sequence[str]) -> int:
    """Run the command; the exit status comes back."""
    try:
        args = parse(words)
        from training.registry.commands import run  # noqa: PLC0415, MLflow is slow to import, --help need not wait

        with contextlib.redirect_stdout(sys.stderr):  # MLflow prints
            answer = run(args)
    except TrainingError as error:
        say(f"error: {error.line}")
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
        return 1
    if answer.table is not None:
        print(answer.table)  # noqa: T201
    print(json.dumps(answer.summary), flush=True)  # noqa: T201
    return 0 if answer.yes else NO


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
