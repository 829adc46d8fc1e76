"""How much of the generator's truth a build finds, and how that falls with difficulty.

    python benchmarks/difficulty.py --events 2000000 --only default
    python benchmarks/difficulty.py --events 300000

Generates each data set, runs the main job on it and scores the tables against the truth; prints a row a
setting. Nothing is kept unless --keep names a folder.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pipelines.build import BuildRequest, build
from pipelines.synthetic.generate import generate
from pipelines.synthetic.settings import Settings
from pipelines.truth import read_sessions, score

CASES: dict[str, dict[str, float | str]] = {
    "default": {},
    "off_theme 0.05": {"off_theme": 0.05},
    "off_theme 0.15": {"off_theme": 0.15},
    "theme_overlap 0.1": {"theme_overlap": 0.1},
    "theme_overlap 0.3": {"theme_overlap": 0.3},
    "session_length 3": {"session_length": 3.0},
    "chain restart": {"chain": "restart"},
}
PAIRS = ("within", "adjacent", "random_users")  # of sessions' category histograms; Taobao: .581 / .207 / .015
HEADER = (
    "| setting | sessions exact | theme ARI (≥ 3 events) | themes | hop precision | hop recall | undecided "
    "| lags right of returns found | similarity within / adjacent / random | one-event sessions | seconds "
    "|\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.only:
            folder = (arguments.keep or Path(scratch)) / name.replace(" ", "-")
            print(row(name, arguments.events, folder), flush=True)


def row(name: str, events: int, folder: Path) -> str:
    settings = replace(Settings(events=events, format="parquet"), **CASES[name])
    generate(settings, folder, workers=2)
    begin = time.perf_counter()
    summary = build(
        BuildRequest(
            config="conf/demo.toml",
            source=str(folder / "events"),
            warehouse=str(folder / "warehouse"),
            set=["source.format=parquet"],
        )
    )
    seconds = time.perf_counter() - begin
    found = score(
        pd.read_parquet(folder / "truth" / "sessions.parquet"), read_sessions(str(folder / "warehouse"))
    )
    alike, shares = summary["evidence"]["categories"], summary["evidence"]["shares"]
    print(json.dumps({"case": name, **found.to_json(), "evidence": summary["evidence"]}), file=sys.stderr)
    return (
        f"| {name} | {found.sessions_exact:,} of {found.sessions_true:,} | {found.theme_ari:.3f} "
        f"| {summary['themes']} | {found.hop_precision:.3f} | {found.hop_recall:.3f} "
        f"| {found.hop_undecided_share:.1%} | {found.return_lag_right:.3f} of {found.returns_found:,} "
        f"| {' / '.join(format(alike[pair]['mean'], '.3f') for pair in PAIRS)} "
        f"| {shares['sessions_of_one_event']:.3f} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    main()
