"""How long mixtures of experts take: from a new process to the result, and as classes and people grow.

    python benchmarks/mixtures.py             # both tables
    python benchmarks/mixtures.py --only cold

The first table runs a new process each time, once without compiled programs at hand and once with them.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIT = """
import time
begin = time.perf_counter()
import jax
import mefit as mf
from workshop.studies import bilirubin_experts as study
people = mf.datasets.bilirubin()
ready = time.perf_counter()
fit = study.fitted(people, 2, starts=10)
print(ready - begin, time.perf_counter() - begin, fit.log_likelihood)
"""


def spent() -> float:
    """CPU seconds of processes that have ended, started by this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cold(repeats: int) -> None:
    """Bilirubin, two classes from ten starts."""
    print("| compiled programs | import and data, s | process to result: wall s (CPU s) | log L |")
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("none at hand", "at hand"):
            walls = []
            for _ in range(1 if kind == "none at hand" else repeats):
                environment = os.environ | {"MEFIT_COMPILED": folder, "MEFIT_PROGRESS": "", "PYTHONPATH": str(ROOT)}
                before = spent()
                begin = time.perf_counter()
                told = subprocess.run(
                    [sys.executable, "-c", FIT], env=environment, check=True, capture_output=True, text=True
                ).stdout.split()
                walls.append((time.perf_counter() - begin, spent() - before, float(told[0]), float(told[2])))
            wall, cpu, ready, value = (statistics.median(column) for column in zip(*walls, strict=True))
            print(f"| {kind} | {ready:.1f} | {wall:.1f} ({cpu:.1f}) | {value:.4f} |", flush=True)


def growth(repeats: int) -> None:
    """An evaluation with slopes and cross-products, at four points, as classes and people grow."""
    import numpy as np

    import mefit as mf
    from mefit.model.space import Space
    from mefit.objectives import side_by_side
    from workshop.studies import experts_compared as study

    print("| classes | people | CPU ms a point | microseconds a person and class |\n| --- | --- | --- | --- |")
    for classes, sizes in ((1, (400,)), (2, (100, 400, 1600, 6400)), (3, (400,)), (4, (400,)), (6, (400,))):
        for size in sizes:
            people = study.simulate(size, seed=1)
            experts = [
                study.Line(beta=np.array([1.0 - k, 2.0 - k]), omega=study.SPREAD, sigma=0.5) for k in range(classes)
            ]
            model = mf.MixtureOfExperts(experts, gate=mf.LinearGate(people, ["w"]) if classes > 1 else None)
            space = Space(model)
            points = np.tile(space.vector(), (4, 1))
            pool = side_by_side.pool_of(mf.Laplace(), model, [people], None)

            def look(pool=pool, space=space, points=points):
                side_by_side.look(mf.Laplace(), space, pool, points, room=4)

            look()
            times = []
            for _ in range(repeats):
                begin = time.process_time()
                look()
                times.append((time.process_time() - begin) / 4)
            taken = statistics.median(times)
            print(f"| {classes} | {size:,} | {1e3 * taken:.2f} | {1e6 * taken / size / classes:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs behind each median (default 3)")
    parser.add_argument("--only", choices=("cold", "growth"), help="one table")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{os.cpu_count()} cores{load}")
    for name, part in {"cold": cold, "growth": growth}.items():
        if options.only in (None, name):
            part(options.repeats)


if __name__ == "__main__":
    main()
