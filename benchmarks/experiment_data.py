"""The generated data sets of the training experiments, built by the main job: a warehouse each.

    python benchmarks/experiment_data.py --out experiments/data
    python benchmarks/experiment_data.py --out experiments/data --only resume restart --events 300000

resume: a theme's chain goes on where the user left it. restart: every session starts anywhere, so a
return brings nothing back. one_theme: nobody hops. The suffix is the share of off-theme events in percent.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.build import BuildRequest, build
from pipelines.synthetic.generate import generate
from pipelines.synthetic.settings import Settings

SETS: dict[str, dict[str, Any]] = {
    "resume": {},
    "restart": {"chain": "restart"},
    "resume_15": {"off_theme": 0.15},
    "restart_15": {"chain": "restart", "off_theme": 0.15},
    "one_theme_0": {"themes_per_user": 1, "hop_probability": 0.0, "off_theme": 0.0, "jump": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    arguments = parser.parse_args()
    for name in arguments.only:
        folder = arguments.out / name
        if (folder / "warehouse" / "ops" / "published").exists():
            print(f"{name}: there already", file=sys.stderr)
            continue
        settings = replace(Settings(events=arguments.events, format="parquet"), **SETS[name])
        generate(settings, folder / "generated", workers=2)
        build(
            BuildRequest(
                config="conf/demo.toml",
                source=str(folder / "generated" / "events"),
                warehouse=str(folder / "warehouse"),
                set=["source.format=parquet"],
            )
        )


if __name__ == "__main__":
    main()
