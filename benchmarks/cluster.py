"""A Spark standalone cluster on this machine, to submit jobs to.

python benchmarks/cluster.py [--workers 2] [--cores 1] [--memory 2g] [--folder DIR]

Starts a master and workers from pip's pyspark on free ports of loopback, prints the command that runs a job
of ours there with our code as a zip, and stops them all on Ctrl-C or SIGTERM. Logs and work lie in DIR.
"""

import argparse
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.cluster import ROOT, environment, pack, running_cluster


def stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="of each worker")
    parser.add_argument("--memory", default="2g", help="of each worker")
    parser.add_argument("--folder", type=Path, default=None, help="default: a temporary one")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory(prefix="seqloom-cluster-") as scratch:
        folder = given.folder or Path(scratch)
        code = pack(folder / "seqloom.zip")
        try:
            with running_cluster(folder, given.workers, given.cores, given.memory) as cluster:
                words = cluster.submit(code, ROOT / "jobs" / "build_sequences.py", "--config", "FILE")
                values = environment()
                settings = [f"{name}={values[name]}" for name in ("SPARK_LOCAL_IP", "PYSPARK_PYTHON")]
                print(f"{given.workers} workers at {cluster.url}, page {cluster.web}, logs in {folder}")
                print(shlex.join([*settings, *words]), flush=True)
                signal.pause()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
