"""How long encoders take: `python benchmarks/encoders.py` prints the tables.

Simulation I of `workshop/studies/autoencoders.py` from a new process to the result, with an empty and with a filled
folder of compiled programs; 10,000 people of 100 rows by batches, with peak memory; and the same model in PyTorch, as
its users would write it, where PyTorch is installed (`pip install torch`, which the kit itself does not need). Compare
figures of one run with each other.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = 800
STEPS = 1500
BATCH = 100
RATE = 1.5e-2

CLOCK = """
import json, resource, sys, time
def now():
    return time.perf_counter(), time.process_time()
def since(begin):
    return [a - b for a, b in zip(now(), begin)]
begin = now()
"""

SIMULATION = (
    CLOCK
    + f"""
import jax, numpy as np
import mefit as mf
from workshop.studies import autoencoders as study
def fitted(seed):
    population = study.simulate_curves({PEOPLE}, seed).population
    encoder = mf.networks.Encoder(population, effects=3)
    method = mf.Adam(mf.Amortised(encoder), steps=int(sys.argv[1]), learning_rate={RATE}, batch={BATCH})
    return mf.fit(study.coefficient_model(), population, method, key=jax.random.key(seed), progress=False)
first = fitted(1)
told = {{"new process to result": since(begin)}}
begin = now()
second = fitted(2)
told["a second fit of the same shape"] = since(begin)
told["bound"] = [fit.amortised.bound / {PEOPLE} for fit in (first, second)]
print(json.dumps(told))
"""
)

LARGE = (
    CLOCK
    + """
import jax, jax.numpy as jnp, numpy as np
import mefit as mf
from workshop.studies import autoencoders as study
count, rows = int(sys.argv[1]), 100
rng = np.random.default_rng(1)
t = np.linspace(0.0, 1.0, rows)
b = rng.standard_normal((count, 3)) * np.sqrt([1.0, 1.0, 0.5])
y = 2 + 1.5 * np.cos(2 * np.pi * t) * np.exp(0.3 * b[:, 1:2]) + (1 + b[:, :1]) * t + b[:, 2:] * np.sin(3 * t)
y = y + 0.5 * rng.standard_normal(y.shape)
population = mf.Population.from_subjects([mf.Subject(t, row, np.ones(rows, bool)) for row in y])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = now()
encoder = mf.networks.Encoder(population, effects=3)
method = mf.Adam(mf.Amortised(encoder, samples=100), steps=3000, learning_rate=5e-3, batch=100)
fit = mf.fit(study.coefficient_model(), population, method, key=jax.random.key(1), progress=False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
told = {"fit": since(begin), "memory": [before / 2**20, peak / 2**20], "sigma": float(fit.model.sigma)}
print(json.dumps(told))
"""
)


def run(code: str, *arguments: str, folder: str | None = None) -> dict:
    """What a new process prints; compiled programs are kept in a folder, or nowhere."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MEFIT_COMPILED": folder or ""}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n### {title}\n\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def median(runs: list[dict], part: str) -> str:
    """Median wall seconds, and CPU seconds in brackets."""
    wall, cpu = (statistics.median(one[part][i] for one in runs) for i in (0, 1))
    return f"{wall:.1f} ({cpu:.1f})"


def simulation(repeats: int, steps: int, torch_python: str | None) -> None:
    """Simulation I: by the kit with empty and with filled folder, and by PyTorch, one after the other in each round."""
    empty = []
    filled = []
    torch = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            empty.append(run(SIMULATION, str(steps), folder=folder))
            filled.append(run(SIMULATION, str(steps), folder=folder))
        if torch_python:
            torch.append(in_torch(torch_python, steps))
    kinds = {"empty folder of compiled programs": empty, "filled": filled, "PyTorch, written as its users would": torch}
    parts = ("new process to result", "a second fit of the same shape")
    rows = [
        [name, *(median(runs, part) for part in parts), f"{statistics.median(one['bound'][0] for one in runs):.3f}"]
        for name, runs in kinds.items()
        if runs
    ]
    title = (
        f"Simulation I, {PEOPLE} people, {steps:,} steps of {BATCH}: wall seconds (CPU seconds), median of {repeats}"
    )
    table(title, ["", *parts, "bound, nats per person"], rows)


def in_torch(python: str, steps: int) -> dict:
    """The same in PyTorch, by a Python that has it; the data come as a file."""
    sys.path.insert(0, str(ROOT))
    import numpy as np

    from workshop.studies import autoencoders as study

    with tempfile.TemporaryDirectory() as folder:
        data = [np.asarray(study.simulate_curves(PEOPLE, seed).population.subjects.y) for seed in (1, 2)]
        basis = np.asarray(study.coefficient_model().basis(study.TIMES))
        path = Path(folder) / "data.npz"
        np.savez(path, first=data[0], second=data[1], basis=basis)
        script = Path(__file__).with_name("encoders_torch.py")
        command = [python, str(script), str(path), str(steps), str(BATCH), str(RATE)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout.splitlines()[-1])


def scaling(sizes: list[int]) -> None:
    """Many people of 100 rows, by batches: wall seconds and peak memory."""
    rows = []
    for size in sizes:
        told = run(LARGE, str(size))
        wall, cpu = told["fit"]
        before, peak = told["memory"]
        rows.append([f"{size:,}", f"{wall:.1f} ({cpu:.1f})", f"{before:.2f}", f"{peak:.2f}", f"{told['sigma']:.3f}"])
    head = ["people of 100 rows", "fit, s (CPU s)", "memory before, GiB", "peak, GiB", "sigma (true .5)"]
    table("Growing populations, 3,000 steps of 100 people", head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--torch-python", help="a Python that has PyTorch; by default this one, if it has")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the training of Simulation I")
    parser.add_argument("--only", choices=["simulation", "scaling"])
    chosen = parser.parse_args()
    torch_python = chosen.torch_python
    if torch_python is None and importlib.util.find_spec("torch"):
        torch_python = sys.executable
    if torch_python is None:
        print("PyTorch is not installed here, so its row is left out: pip install torch, or give --torch-python.")
    if chosen.only != "scaling":
        simulation(chosen.repeats, chosen.steps, torch_python)
    if chosen.only != "simulation":
        scaling([1_000, 10_000])


if __name__ == "__main__":
    main()
