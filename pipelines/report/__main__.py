"""The build report of a warehouse: one HTML file that opens from disk."""

import argparse
import sys
from collections.abc import Sequence

from pipelines.console import leaving_at_once
from pipelines.errors import SeqloomError
from pipelines.report.write import write_report

EXAMPLES = """\
examples:
  python -m pipelines.report --warehouse demo/warehouse
  python -m pipelines.report --warehouse demo/warehouse --users 1000664 1003063 --out /tmp/two-users.html
  python -m pipelines.report --warehouse warehouse --compare last-weeks/warehouse
  python -m pipelines.report --warehouse warehouse --compare 20261121T143255-2d4ab15b
exit status: 0 done; 2 wrong arguments or no warehouse. It needs no Spark and changes no table."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.report",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--warehouse", required=True, metavar="DIR", help="the folder that a build wrote to")
    add(
        "--users", nargs="+", default=[], metavar="ID", help="users to show in the explorer, as in the source"
    )
    add("--compare", metavar="DIR|RUN", help="another warehouse, or a run that published in this one")
    add("--out", metavar="FILE", help="where to write (default: DIR/reports/build.html)")
    given = parser.parse_args(arguments)
    try:
        path = write_report(given.warehouse, users=given.users, compare=given.compare, out=given.out)
    except SeqloomError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    with leaving_at_once():
        sys.exit(main())
