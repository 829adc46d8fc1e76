"""How do time and memory of CMSL's linear attention grow with the length of the history?

python benchmarks/linear_attention.py [--device cpu|cuda] [--lengths 256 … 8192] [--runs 5] [--plot FILE.png]

Two levels, each forward and backward in float32: the attention of one strand (4 heads of 16 channels) in its
linear form, as softmax (torch's fused kernel) and pair by pair; and CMSL's encoder (4 strands, 2 blocks) with
the first two. Every run takes the same number of tokens, so a sample's figure is the run's over its batch.
Each case runs in a process of its own. Time is that of the CPU's threads together (so that a busy machine
distorts it little) or, on a GPU, of the clock; memory is the peak above what was there before the pass
(resident on a CPU, allocated on a GPU). First, the linear form is checked against the float64 polynomial.
"""

import argparse
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("agg")
import torch
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, NullFormatter
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.models.cmsl.config import CmslConfig
from training.models.cmsl.encoder import CmslEncoder
from training.models.cmsl.kernel import linear_attention, quadratic_attention, silu_taylor

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
HEADS, CHANNELS = 4, 16
WARM_UP = 128  # length of the passes that load code and reserve workspaces
MOST_ERROR = 1e-5  # of the reference's maximum
LEVELS = ("attention of one strand", "encoder, 4 strands, 2 blocks")
COLOURS = {"linear": "#0072b2", "softmax": "#d55e00", "pair by pair": "#999999"}
MARKERS = {"linear": "o", "softmax": "s", "pair by pair": "^"}


class Case(NamedTuple):
    level: str
    form: str
    length: int
    batch: int
    device: str
    threads: int
    runs: int


class Found(NamedTuple):
    milliseconds: float  # of a sample, median
    low: float
    high: float
    mebibytes: float  # of a sample


def heads(batch: int, length: int, device: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Unit queries and keys, and values."""
    draw = torch.Generator().manual_seed(length)
    query, key, value = torch.randn(3, batch, HEADS, length, CHANNELS, generator=draw).to(device, dtype)
    return [normalize(query, dim=-1), normalize(key, dim=-1), value]


def attention(form: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    if form == "softmax":
        return lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True)
    return linear_attention if form == "linear" else quadratic_attention


def one_pass(case: Case, batch: int, length: int) -> Callable[[], None]:
    """A function that does a forward and a backward pass."""
    if case.level == LEVELS[0]:
        given_to = [x.requires_grad_() for x in heads(batch, length, case.device)]
        form = attention(case.form)

        def step() -> None:
            torch.autograd.grad(form(*given_to).sum(), given_to)

        return step
    config = CmslConfig(attention=case.form, dropout=0.0)
    encoder = CmslEncoder(config, last_events=True).to(case.device)
    weights = list(encoder.parameters())
    events = torch.randn(batch, length, config.dim, device=case.device)
    tokens = torch.randn(1, config.tokens, config.dim, device=case.device)

    def step() -> None:
        last, made = encoder(events, tokens)
        torch.autograd.grad(last.sum() + sum(x.sum() for x in made), weights)

    return step


def resident(field: str) -> int:
    """Bytes of this process in memory: now (VmRSS), or at most since the peak was forgotten (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field + ":"))


def forget_peak() -> None:
    """Begin VmHWM anew; the peak of getrusage outlives fork and exec, so it may be the parent's."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(case: Case) -> Found:
    """Run by a process of its own, so that the peak is this case's."""
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    one_pass(case, 1, WARM_UP)()
    step = one_pass(case, case.batch, case.length)
    if case.device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        forget_peak()
        before = resident("VmRSS")
        step()
        peak = resident("VmHWM") - before
    clock = time.perf_counter if case.device == "cuda" else time.process_time
    seconds = []
    for _ in range(case.runs):
        begin = clock()
        step()
        if case.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - begin)
    scale = 1000 / case.batch
    return Found(
        statistics.median(seconds) * scale,
        min(seconds) * scale,
        max(seconds) * scale,
        peak / 2**20 / case.batch,
    )


def error(length: int, device: str) -> float:
    """Largest error of the float32 linear form, over the largest value of the float64 polynomial."""
    found = linear_attention(*heads(1, length, device))
    query, key, value = heads(1, length, device, torch.float64)
    largest = worst = 0.0
    for start in range(0, length, 512):  # the whole score matrix would not fit
        end = start + 512
        score = query[..., start:end, :] @ key[..., :end, :].transpose(-1, -2)
        exact = silu_taylor(score).tril(start) @ value[..., :end, :]
        largest = max(largest, float(exact.abs().max()))
        worst = max(worst, float((found[..., start:end, :] - exact).abs().max()))
    return worst / largest


def slope(figures: dict[int, float]) -> float:
    """p of figure ~ length^p from the first length of 1,024 or more to the last one."""
    known = sorted(length for length in figures if length >= 1024) or sorted(figures)
    first, last = known[0], known[-1]
    if first == last:
        return math.nan
    return math.log(figures[last] / figures[first]) / math.log(last / first)


def table(level: str, found: dict[str, dict[int, Found]], errors: dict[int, float]) -> None:
    forms = list(found)
    print(f"\n{level}; forward and backward, per sample\n")
    print("| length | " + " | ".join(f"{form}, ms (range) | {form}, MiB" for form in forms) + " | error |")
    print("| --- |" + " --- |" * (2 * len(forms) + 1))
    for length, wrong in errors.items():
        cells = []
        for form in forms:
            case = found[form].get(length)
            cells += (
                [f"{case.milliseconds:.3g} ({case.low:.3g}–{case.high:.3g})", f"{case.mebibytes:.3g}"]
                if case
                else ["", ""]
            )
        print(f"| {length:,} | " + " | ".join(cells) + f" | {wrong:.1e} |")
    for form in forms:
        times = slope({length: case.milliseconds for length, case in found[form].items()})
        sizes = slope({length: case.mebibytes for length, case in found[form].items()})
        print(f"{form}: time ~ n^{times:.2f}, memory ~ n^{sizes:.2f} from 1,024 on")


def plot(found: dict[str, dict[str, dict[int, Found]]], where: str, path: Path) -> None:
    figure, axes = pyplot.subplots(len(found), 2, figsize=(9, 7), sharex=True, layout="constrained")
    for row, (level, forms) in zip(axes, found.items(), strict=True):
        for axis, field, unit in zip(row, ("milliseconds", "mebibytes"), ("ms", "MiB"), strict=True):
            for form, cases in forms.items():
                lengths = sorted(cases)
                values = [getattr(cases[length], field) for length in lengths]
                axis.plot(lengths, values, marker=MARKERS[form], color=COLOURS[form], label=form)
            first = min(forms["linear"])
            start = getattr(forms["linear"][first], field)
            ends = (first, max(forms["linear"]))
            axis.plot(ends, [start * end / first for end in ends], ":", color="black", label="∝ length")
            axis.set(xscale="log", yscale="log", title=level, ylabel=f"{unit} per sample")
            axis.set_xticks(lengths := sorted(forms["linear"]), [f"{length:,}" for length in lengths])
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.grid(alpha=0.3)
        row[0].legend()
    for axis in axes[-1]:
        axis.set_xlabel("events in the history")
    figure.suptitle(f"CMSL, forward and backward in float32, {where}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=8192, help="events of a run; more fill a GPU better")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--most-pairs", type=int, default=4096, help="longest length of the form by pairs")
    parser.add_argument("--plot", type=Path, default=Path("linear_attention.png"))
    arguments = parser.parse_args()
    lengths, device = sorted(arguments.lengths), arguments.device
    errors = {length: error(length, device) for length in lengths}
    forms = {LEVELS[0]: ("linear", "softmax", "pair by pair"), LEVELS[1]: ("linear", "softmax")}
    found: dict[str, dict[str, dict[int, Found]]] = {
        level: {form: {} for form in some} for level, some in forms.items()
    }
    context = multiprocessing.get_context("spawn")
    for level, some in forms.items():
        for length in lengths:
            batch = max(1, arguments.tokens // length)
            for form in some:
                if form == "pair by pair" and length > arguments.most_pairs:
                    continue
                case = Case(level, form, length, batch, device, arguments.threads, arguments.runs)
                with context.Pool(1) as pool:
                    found[level][form][length] = pool.apply(measure, (case,))
                print(case, found[level][form][length], file=sys.stderr, flush=True)
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {arguments.threads} thread(s)"
    print(f"{where}; medians of {arguments.runs}; error: largest, over the float64 reference's maximum")
    for level, some in found.items():
        table(level, some, errors)
    plot(found, where, arguments.plot)
    print(f"\nplot: {arguments.plot}")
    if max(errors.values()) > MOST_ERROR:
        print(f"the linear form differs from its reference by more than {MOST_ERROR:.0e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
