"""The kit beside other programs on the same simulated data: `python benchmarks/peers/run.py [--sizes 12 120]`.

Theophylline's design and model, Laplace, the same starting values. Peers that are not installed are left out and said
to be. TMB is an R package with a C++ compiler (Debian: r-cran-tmb, r-cran-rcppeigen, g++); its model is compiled once,
which is not counted, as the kit's first fit is not. The programs take turns. Where their -2LL differ by more than 0.001
the row says so: then they did not do the same.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

SAME = 1e-3  # of -2LL


class Took(NamedTuple):
    """One fit."""

    minus_two_log_likelihood: float
    evaluations: int
    wall: float
    cpu: float


def tmb(folder: Path) -> Path | None:
    """TMB's model, compiled into a folder; None where R, TMB or a compiler is missing."""
    if shutil.which("Rscript") is None:
        return None
    library = folder / "theophylline.so"
    if library.exists():
        return library
    shutil.copy(HERE / "theophylline.cpp", folder)
    code = "library(TMB); compile('theophylline.cpp'); cat(dynlib('theophylline'))"
    done = subprocess.run(["Rscript", "-e", code], cwd=folder, capture_output=True, text=True)
    if done.returncode or not library.exists():
        print(f"TMB is left out: {(done.stderr.strip().splitlines() or ['no message'])[-1]}", file=sys.stderr)
        return None
    return library


def by_tmb(library: Path, data: Path, repeats: int) -> list[Took]:
    """Fits by TMB in a process of its own."""
    command = ["Rscript", str(HERE / "theophylline_tmb.R"), str(library), str(data), str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [Took(float(a), int(b), float(c), float(d)) for a, b, c, d in map(str.split, done.stdout.splitlines())]


def write(population, path: Path) -> None:
    """The rows of a population as TMB's script reads them."""
    import numpy as np

    rows = ["time,y,dose,subject"]
    for i in range(len(population)):
        subject = population[i]
        dose = float(np.asarray(subject.doses.amount)[0])
        for t, y, seen in zip(*map(np.asarray, (subject.time, subject.y, subject.mask)), strict=True):
            if seen:
                rows.append(f"{float(t)!r},{float(y)!r},{dose!r},{i}")
    path.write_text("\n".join(rows) + "\n")


def median(some: list[Took], i: int) -> float:
    """Of one of the numbers of fits."""
    return statistics.median(one[i] for one in some)


def compare(size: int, repeats: int, library: Path | None, folder: Path) -> None:
    """One row of the table."""
    import jax
    import numpy as np
    from models import theophylline_model

    import mefit as mf

    model = theophylline_model()
    real = mf.datasets.theophylline()
    people = mf.simulate(model, real[np.arange(size) % len(real)], jax.random.key(size))
    write(people, folder / "data.csv")
    ours: list[Took] = []
    theirs: list[Took] = []
    mf.fit(model, people, mf.Laplace(), progress=False)
    for _ in range(repeats):
        begin = time.perf_counter(), time.process_time()
        fit = mf.fit(model, people, mf.Laplace(), progress=False)
        took = time.perf_counter() - begin[0], time.process_time() - begin[1]
        ours.append(Took(-2 * fit.log_likelihood, fit.evaluations, *took))
        if library:
            theirs += by_tmb(library, folder / "data.csv", 1)
    row = [f"{size:,}"]
    for some in (ours, theirs):
        middle = [median(some, i) for i in range(4)] if some else None
        row += [f"{middle[0]:.4f}", f"{middle[1]:.0f}", f"{middle[2]:.3f}", f"{middle[3]:.3f}"] if middle else ["-"] * 4
    if theirs:
        apart = abs(ours[0].minus_two_log_likelihood - theirs[0].minus_two_log_likelihood)
        row += [f"{median(ours, i) / median(theirs, i):.2f}" for i in (3, 2)]
        row += ["yes" if apart <= SAME else f"no: {apart:.4f} apart"]
    print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[12, 120, 1200, 12_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where TMB's compiled model is kept for the next run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        library = tmb(folder)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; TMB {'there' if library else 'not installed'}")
        head = [
            "subjects",
            *[f"{who}: {what}" for who in ("mefit", "TMB") for what in ("-2LL", "evaluations", "s", "CPU s")],
        ]
        head += ["CPU, mefit / TMB", "wall, mefit / TMB", "same optimum"]
        print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head), flush=True)
        for size in options.sizes:
            compare(size, options.repeats if size < 5000 else 1, library, folder)


if __name__ == "__main__":
    main()
