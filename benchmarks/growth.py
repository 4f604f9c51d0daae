"""Seconds and memory of what grows with the number of images, at 1,000, 10,000 and 100,000 of them.

    python benchmarks/growth.py [--sizes 1000 10000 100000] [--limit 60] [--only kid prdc] [--write]

No network: what is timed is the work around the networks, on synthetic inputs (`growth_kernels.py`). Each kernel and
size runs in a process of its own; its memory is the peak above what its inputs take, its seconds are those of the
processor. A size that would take longer than --limit seconds, were the growth linear from the size before, is left out,
and so is one that reaches it: nothing is extrapolated. The exponents are those between the two largest sizes: 1 is
linear. --write puts the table into SPEED.md and the figure of the same run into growth.png.
"""

import argparse
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from growth_kernels import KERNELS  # noqa: E402

PAGE, FIGURE = HERE / "SPEED.md", HERE / "growth.png"
BEGIN, END = "<!-- growth.py writes from here -->", "<!-- to here -->"


def _memory(field: str) -> float:
    """MB of this process: VmRSS now, or VmHWM, the highest since it was reset."""
    return int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1000


def _measure(name: str, n: int, folder: Path, limit: float, pipe) -> None:
    work = KERNELS[name].build(n, folder)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    held, started = _memory("VmRSS"), time.process_time()
    seconds = int(np.ceil(started + limit))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # then the system ends the process
    work()
    pipe.send((time.process_time() - started, max(0.0, _memory("VmHWM") - held)))


def measured(name: str, n: int, limit: float) -> tuple[float, float] | None:
    """Seconds and MB of a kernel; None where it does not end within the limit or fails for lack of memory."""
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_measure, args=(name, n, Path(folder), limit, writer))
        process.start()
        writer.close()
        try:
            return reader.recv()
        except EOFError:
            return None
        finally:
            process.kill()
            process.join()


def exponent(rows: pd.DataFrame, column: str, least: float) -> float:
    """Of the growth between the two largest sizes; NaN where a value is below `least`: too little to measure."""
    last = rows.sort_values("n").tail(2)
    if len(last) < 2 or last[column].min() < least:
        return np.nan
    return float(np.diff(np.log(last[column]))[0] / np.diff(np.log(last["n"]))[0])


def printed(table: pd.DataFrame) -> str:
    """The table of SPEED.md: seconds and MB of each kernel and size, and both exponents."""
    sizes = sorted(table["n"].unique())
    heads = [f"{n:,}" for n in sizes[:-1]] + [f"{sizes[-1]:,} images", "exponent of time", "of memory"]
    lines = [f"| notebook, kernel | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, rows in table.groupby("kernel", sort=False):
        of_size = rows.set_index("n")
        cells = [
            f"{of_size.at[n, 'seconds']:.2f} s, {of_size.at[n, 'mb']:.0f} MB" if n in of_size.index else ""
            for n in sizes
        ]
        grown = exponent(rows, "seconds", 0.02), exponent(rows, "mb", 2)
        cells += ["" if np.isnan(value) else f"{value:z.1f}" for value in grown]  # z: zero has no sign
        lines.append(f"| {KERNELS[name].notebook} {KERNELS[name].title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write(text: str, path: Path = PAGE) -> None:
    """Puts text between BEGIN and END. Raises ValueError for a file without these lines."""
    before, found, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, also, after = rest.partition(END)
    if not (found and also):
        raise ValueError(f"{path} has no lines {BEGIN!r} and {END!r}: put them where the table belongs")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def figure(table: pd.DataFrame, path: Path) -> None:
    """Seconds and MB against the number of images, on logarithmic axes; the grey line is linear growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown, axes = pyplot.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
    colours = pyplot.colormaps["turbo"](np.linspace(0, 1, len(KERNELS)))
    for axis, column, label in zip(axes, ("seconds", "mb"), ("CPU seconds", "MB above the inputs"), strict=True):
        least = 0.01 if column == "seconds" else 1
        for k, (name, rows) in enumerate(table.groupby("kernel", sort=False)):
            style = dict(color=colours[k], marker="osv^D"[k % 5], markersize=4, linewidth=1)
            axis.loglog(rows["n"], rows[column].clip(lower=least), **style, label=f"{KERNELS[name].notebook} {name}")
        ends = np.array([table["n"].min(), table["n"].max()])
        axis.loglog(ends, least / 2 * ends / ends[0], "--", color="grey", label="linear")
        axis.set(xlabel="images", ylabel=label)
    shown.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    shown.savefig(path, dpi=110)
    pyplot.close(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--limit", type=float, default=60, help="seconds of the processor")
    parser.add_argument("--only", nargs="+", choices=KERNELS, default=list(KERNELS))
    parser.add_argument("--write", action="store_true", help="the table into SPEED.md, the figure into growth.png")
    options = parser.parse_args()
    rows, begun = [], time.process_time()
    for name in options.only:
        seconds = 0.0
        for n, before in zip(options.sizes, [options.sizes[0], *options.sizes], strict=False):
            if seconds * n / before > options.limit:
                break
            if (result := measured(name, n, options.limit)) is None:
                print(f"{name} {n}: not within {options.limit:g} s", file=sys.stderr, flush=True)
                break
            seconds = result[0]
            rows.append((name, n, *result))
            print(f"{name} {n}: {result[0]:.2f} s, {result[1]:.0f} MB", file=sys.stderr, flush=True)
    if not rows:
        sys.exit(f"nothing ended within {options.limit:g} s: give a longer --limit, or smaller --sizes")
    table = pd.DataFrame(rows, columns=["kernel", "n", "seconds", "mb"])
    took = time.process_time() - begun + sum(os.times()[2:4])
    text = f"{date.today().isoformat()}, all in one run of {took / 60:.0f} min of one core.\n\n{printed(table)}"
    print(text)
    if options.write:
        write(text)
        figure(table, FIGURE)


if __name__ == "__main__":
    main()
