"""What several cores save: `python benchmarks/devices.py` prints ratios of interleaved runs of one process.

    python benchmarks/devices.py                      1,200 and 12,000 subjects, one device and all
    python benchmarks/devices.py --subjects 12000     of this size only
    python benchmarks/devices.py --few                12 subjects in new processes: cores as devices, and one device

Runs take turns (one device, all, one, all ...), so that other work on the machine slows both alike; medians are
compared. Wall seconds of a busy machine say little: the CPU seconds beside them say more.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

FEW = """
import json, time
import mefit as mf
from models import theophylline_model
population = mf.datasets.theophylline()
took = []
for _ in range(21):
    begin = time.perf_counter(), time.process_time()
    mf.fit(theophylline_model(), population, mf.Laplace(), progress=False)
    took.append([time.perf_counter() - begin[0], time.process_time() - begin[1]])
print(json.dumps(took[1:]))
"""


def took(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    begin = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def in_turns(actions: dict[int, Callable[[], object]], repeats: int) -> dict[int, list[float]]:
    """Medians of seconds on the clock and of the processor of each, run in turns after one that is not counted."""
    runs: dict[int, list[tuple[float, float]]] = {name: [] for name in actions}
    for action in actions.values():
        action()
    for _ in range(repeats):
        for name, action in actions.items():
            runs[name].append(took(action))
    return {name: [statistics.median(run[i] for run in some) for i in (0, 1)] for name, some in runs.items()}


def tell(title: str, medians: dict[int, list[float]]) -> None:
    """One row of the table."""
    (one, (wall, cpu)), (most, (wall_all, cpu_all)) = medians.items()
    print(
        f"| {title} | {one}: {wall:.3f} ({cpu:.3f}) | {most}: {wall_all:.3f} ({cpu_all:.3f}) "
        f"| {wall / wall_all:.2f} | {cpu_all / cpu:.2f} |",
        flush=True,
    )


def many(sizes: list[int], repeats: int) -> None:
    """An evaluation and a fit by each method, and bootstrap fits of theophylline, on one device and on all."""
    import jax
    import numpy as np
    from models import theophylline_model

    import mefit as mf
    from mefit.base.devices import using
    from mefit.model.space import Space
    from mefit.objectives.evaluation import batches_of, evaluate

    counts = (1, jax.local_device_count())
    real, model = mf.datasets.theophylline(), theophylline_model()
    space = Space(model)
    print(f"| what | devices: s (CPU s) | devices: s (CPU s) | times faster | CPU ratio |\n|{' --- |' * 5}", flush=True)
    for size in sizes:
        people = mf.simulate(model, real[np.arange(size) % len(real)], jax.random.key(size))
        for method in (mf.FOCE(), mf.Laplace(), mf.AGQ(5)):

            def evaluation(count, method=method, people=people):
                with using(count):
                    batches = batches_of(method, model, people, None)
                return lambda: jax.block_until_ready(evaluate(method, space, space.vector(), batches))

            def fit(count, method=method, people=people):
                return lambda: mf.fit(model, people, method, progress=False, devices=count)

            name = f"{size:,} subjects, {method.label}"
            tell(f"{name}, an evaluation", in_turns({count: evaluation(count) for count in counts}, repeats))
            tell(f"{name}, a fit", in_turns({count: fit(count) for count in counts}, max(1, repeats // 3)))
    twelve = mf.fit(model, real, mf.Laplace(), progress=False)

    def bootstrap(count):
        def work():
            with using(count):
                mf.bootstrap(twelve, 500, key=jax.random.key(1), progress=False)

        return work

    tell("500 bootstrap fits, 12 subjects, Laplace", in_turns({c: bootstrap(c) for c in counts}, max(1, repeats // 3)))


def few(repeats: int) -> None:
    """Refits of 12 subjects, where each core is a device and where there is one, in new processes by turns."""
    own = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[:2])}
    ways = {
        "as it is": {},
        "one device, XLA's pool of threads": {"JAX_NUM_CPU_DEVICES": "1", "NPROC": str(os.cpu_count())},
    }
    runs: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, more in ways.items():
            done = subprocess.run(
                [sys.executable, "-c", FEW], env=own | more, capture_output=True, text=True, check=True
            )
            runs[name] += json.loads(done.stdout)
    for name, some in runs.items():
        wall, cpu = (1e3 * statistics.median(run[i] for run in some) for i in (0, 1))
        print(f"| a refit of 12 subjects, Laplace, {name} | {wall:.1f} ms | {cpu:.1f} ms of CPU |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, nargs="+", default=[1200, 12_000])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--few", action="store_true")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "", flush=True)
    if options.few:
        few(options.repeats)
    else:
        many(options.subjects, options.repeats)


if __name__ == "__main__":
    main()
