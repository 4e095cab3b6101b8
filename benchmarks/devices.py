"""What several cores save: `python benchmarks/devices.py` prints ratios of interleaved runs of one process.

    python benchmarks/devices.py                            all parts: a row as soon as it is measured
    python benchmarks/devices.py evaluations bootstrap      these parts
    python benchmarks/devices.py --subjects 12000 fits      of this size only
    python benchmarks/devices.py --seconds 90               stop before a row for which time may lack, and say so
    python benchmarks/devices.py machine                    what the machine itself gives: two processes at once
    python benchmarks/devices.py few                        12 subjects in new processes: cores as devices, and one

Runs take turns (one device, all, one, all ...), so that other work on the machine slows both alike; medians are
compared. Wall seconds of a busy machine say little: the CPU seconds beside them say more. `machine` bounds what can
be hoped for: two processes that share nothing, each on a core of its own, against one of them alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

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

WORKER = """
import sys, time
import jax
import numpy as np
import mefit as mf
from mefit.base.devices import using
from mefit.model.space import Space
from mefit.objectives.evaluation import batches_of, evaluate
from models import theophylline_model
model = theophylline_model()
real = mf.datasets.theophylline()
people = mf.simulate(model, real[np.arange(1200) % len(real)], jax.random.key(1200))
space = Space(model)
with using(1):
    batches = batches_of(mf.FOCE(), model, people, None)
def work():
    jax.block_until_ready(evaluate(mf.FOCE(), space, space.vector(), batches))
work()
print("ready", flush=True)
for line in sys.stdin:
    end = time.perf_counter() + float(line)
    begin, done = time.perf_counter(), 0
    while time.perf_counter() < end:
        work()
        done += 1
    print(done / (time.perf_counter() - begin), flush=True)
"""


class Row(NamedTuple):
    """One comparison: its name, what makes the action for a number of devices, and how often it is run."""

    title: str
    action: Callable[[int], Callable[[], object]]
    repeats: int
    compiled: bool = False  # is everything compiled once the action is made? Else a first run is not counted


def took(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    begin = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def compare(row: Row, counts: tuple[int, int], deadline: float) -> None:
    """Print medians of seconds of runs in turns, after one that is not counted; fewer where time lacks."""
    actions = {count: row.action(count) for count in counts}
    runs: dict[int, list[tuple[float, float]]] = {count: [] for count in counts}
    first = 0.0 if row.compiled else sum(took(action)[0] for action in actions.values())
    while len(runs[counts[0]]) < row.repeats:
        if runs[counts[0]] and time.monotonic() + first > deadline:
            break
        begin = time.monotonic()
        for count, action in actions.items():
            runs[count].append(took(action))
        first = time.monotonic() - begin
    (wall, cpu), (wall_all, cpu_all) = ([statistics.median(run[i] for run in runs[c]) for i in (0, 1)] for c in counts)
    print(
        f"| {row.title} | {counts[0]}: {wall:.3f} ({cpu:.3f}) | {counts[1]}: {wall_all:.3f} ({cpu_all:.3f}) "
        f"| {wall / wall_all:.2f} | {cpu_all / cpu:.2f} | {len(runs[counts[0]])} |",
        flush=True,
    )


def people_of(size: int):
    """Theophylline's design and model, and simulated people."""
    import jax
    import numpy as np
    from models import theophylline_model

    import mefit as mf

    real = mf.datasets.theophylline()
    model = theophylline_model()
    return model, mf.simulate(model, real[np.arange(size) % len(real)], jax.random.key(size))


def evaluations(sizes: list[int], repeats: int) -> Iterator[Row]:
    """The objective with its gradient."""
    import jax

    import mefit as mf
    from mefit.base.devices import using
    from mefit.model.space import Space
    from mefit.objectives.evaluation import batches_of, evaluate

    for size in sizes:
        model, people = people_of(size)
        space = Space(model)
        for method in (mf.FOCE(), mf.Laplace(), mf.AGQ(5)):

            def evaluation(count, method=method, people=people, space=space):
                with using(count):
                    batches = batches_of(method, space.template, people, None)
                return lambda: jax.block_until_ready(evaluate(method, space, space.vector(), batches))

            yield Row(f"{size:,} subjects, {method.label}, an evaluation", evaluation, repeats)


def fits(sizes: list[int], repeats: int) -> Iterator[Row]:
    """Whole fits."""
    import jax

    import mefit as mf

    short = {"exploration": 100, "smoothing": 100, "stop_early": False, "likelihood_by": mf.FOCE()}
    for size in sizes:
        model, people = people_of(size)
        for method in (mf.FOCE(), mf.Laplace(), mf.AGQ(5), mf.SAEM(**short), mf.Adam(mf.FOCE(), steps=50)):

            def fit(count, method=method, people=people, model=model):
                key = jax.random.key(0)
                return lambda: mf.fit(model, people, method, key=key, progress=False, devices=count)

            yield Row(f"{size:,} subjects, {method.label}, a fit", fit, max(1, repeats // 3))


def bootstrap(sizes: list[int], repeats: int) -> Iterator[Row]:
    """500 fits of 12 subjects."""
    import jax
    from models import theophylline_model

    import mefit as mf
    from mefit.base.devices import using

    twelve = mf.fit(theophylline_model(), mf.datasets.theophylline(), mf.Laplace(), progress=False)

    def work(count):
        def action(replicates=500):
            with using(count):
                mf.bootstrap(twelve, replicates, key=jax.random.key(1), progress=False)

        action(10)
        return action

    yield Row("500 bootstrap fits, 12 subjects, Laplace", work, max(1, repeats // 3), compiled=True)


def chains(sizes: list[int], repeats: int) -> Iterator[Row]:
    """Two chains of NUTS, 12 subjects; the chains of SAEM, by subjects."""
    import jax
    import with_priors
    from models import theophylline_model

    import mefit as mf

    def nuts(count):
        method = mf.NUTS(warmup=200, samples=200, chains=2)
        fit = {"key": jax.random.key(0), "progress": False, "devices": count}
        return lambda: mf.fit(with_priors.start(), mf.datasets.theophylline(), method, **fit)

    yield Row("12 subjects, NUTS, 2 chains of 200 + 200", nuts, max(1, repeats // 3))

    for size in (12, 240):
        _, people = people_of(size)
        method = mf.SAEM(exploration=100, smoothing=100, stop_early=False, likelihood_by=mf.FOCE())

        def saem(count, people=people, method=method):
            key = jax.random.key(0)
            return lambda: mf.fit(theophylline_model(), people, method, key=key, progress=False, devices=count)

        yield Row(f"{size} subjects, SAEM of 200 iterations, 5 chains", saem, max(1, repeats // 3))


def starts(sizes: list[int], repeats: int) -> Iterator[Row]:
    """Eight starts of EM for a mixture of two lines, and simulated data sets for a visual predictive check."""
    import jax
    from experts import lines, mixture

    import mefit as mf
    from mefit.base.devices import using
    from mefit.diagnosis.simulations import simulations

    for count in (60, 600):
        people = lines(count, seed=0)[0]

        def em(devices, people=people):
            method = mf.EM(mf.Laplace(), starts=8)
            key = jax.random.key(1)
            return lambda: mf.fit(mixture(people), people, method, key=key, progress=False, devices=devices)

        yield Row(f"{count} subjects, 8 starts of EM", em, max(1, repeats // 3))
    for size in (120, 1200):
        model, people = people_of(size)
        fit = mf.fit(model, people, mf.FO(), progress=False)

        def simulated(devices, fit=fit):
            def action():
                with using(devices):
                    simulations(fit, 500, jax.random.key(2))

            return action

        yield Row(f"{size:,} subjects, 500 simulated data sets", simulated, max(1, repeats // 3))


def environment() -> dict[str, str]:
    """For a process of its own."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[:2])}


def few(repeats: int, deadline: float) -> None:
    """Refits of 12 subjects, where each core is a device and where there is one, in new processes by turns."""
    ways = {
        "as it is": {},
        "one device, XLA's pool of threads": {"JAX_NUM_CPU_DEVICES": "1", "NPROC": str(os.cpu_count())},
    }
    runs: dict[str, list[list[float]]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name, more in ways.items():
            begin = time.monotonic()
            if turn and begin + 15.0 > deadline:
                return
            command = [sys.executable, "-c", FEW]
            done = subprocess.run(command, env=environment() | more, capture_output=True, text=True, check=True)
            runs[name] += json.loads(done.stdout)
            wall, cpu = (1e3 * statistics.median(run[i] for run in runs[name]) for i in (0, 1))
            print(
                f"| a refit of 12 subjects, Laplace, {name}, after {turn + 1} processes | {wall:.1f} ms "
                f"| {cpu:.1f} ms of CPU |",
                flush=True,
            )


def machine(seconds: float = 4.0) -> None:
    """Evaluations a second of one process alone, and of two at once, each on a core of its own where that can be."""
    workers = []
    for core in range(2):
        pinned = ["taskset", "-c", str(core)] if sys.platform == "linux" else []
        command = [*pinned, sys.executable, "-c", WORKER]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers.append(subprocess.Popen(command, env=environment(), **pipes))
    for worker in workers:
        worker.stdout.readline()

    def rates(some: list) -> list[float]:
        for worker in some:
            worker.stdin.write(f"{seconds}\n")
            worker.stdin.flush()
        return [float(worker.stdout.readline()) for worker in some]

    for turn in range(2):
        alone = rates(workers[:1])[0]
        both = rates(workers)
        print(
            f"| the machine, turn {turn + 1} | one process: {alone:.2f} evaluations of 1,200 subjects a second "
            f"| two at once: {both[0]:.2f} and {both[1]:.2f} | {sum(both) / alone:.2f} times as many |",
            flush=True,
        )
    for worker in workers:
        worker.stdin.close()
        worker.wait()


COMPARED = {"evaluations": evaluations, "fits": fits, "bootstrap": bootstrap, "chains": chains, "starts": starts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of {', '.join(COMPARED)}, machine, few")
    parser.add_argument("--subjects", type=int, nargs="+", default=[1200, 12_000])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of all together")
    options = parser.parse_args()
    unknown = set(options.parts) - {*COMPARED, "machine", "few"}
    if unknown:
        parser.error(f"there is no part {sorted(unknown)[0]}")
    deadline = time.monotonic() + options.seconds
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "", flush=True)
    parts = options.parts or [*COMPARED, "machine", "few"]
    if "machine" in parts:
        machine()
    if set(parts) & set(COMPARED):
        import jax

        import mefit  # noqa: F401  # makes each core a device

        counts = (1, jax.local_device_count())
        head = ("what", "devices: s (CPU s)", "devices: s (CPU s)", "times faster", "CPU ratio", "runs")
        print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head), flush=True)
        for name in [part for part in parts if part in COMPARED]:
            for row in COMPARED[name](options.subjects, options.repeats):
                if time.monotonic() > deadline:
                    print(f"| {row.title}: left out, the time is over |", flush=True)
                    continue
                compare(row, counts, deadline)
    if "few" in parts:
        few(options.repeats, deadline)


if __name__ == "__main__":
    main()
