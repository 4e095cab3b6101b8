"""What a learner waits for: from a new process to a printed result, with nothing kept and with compiled programs kept.

`python benchmarks/run.py --only lessons` prints it, a row as soon as it is measured, beside the aims; then what whole
lessons take, which `benchmarks/lessons.py` has measured and kept in `lessons.csv`.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

CODE = """
import json, time
start = time.perf_counter(), time.process_time()
import mefit as mf
imported = time.perf_counter(), time.process_time()
import jax
{imports}
population = mf.datasets.theophylline()
model, method, key = {model}, {method}, jax.random.key(0)
text = str(mf.fit(model, population, method, key=key, progress=False))
printed = time.perf_counter(), time.process_time()
refits = []
for _ in range({refits}):
    begin = time.perf_counter(), time.process_time()
    mf.fit(model, population, method, key=key, progress=False)
    refits.append([1e3 * (time.perf_counter() - begin[0]), 1e3 * (time.process_time() - begin[1])])
print(json.dumps({{
    "import": [imported[i] - start[i] for i in (0, 1)],
    "all": [printed[i] - start[i] for i in (0, 1)],
    "refits": refits,
}}))
"""


class Aim(NamedTuple):
    """A method, and the seconds that it should take on two quiet cores."""

    name: str
    method: str
    cold: float
    kept: float | None = None
    imports: str = "from models import theophylline_model"
    model: str = "theophylline_model()"


AIMS = (
    Aim("Laplace", "mf.Laplace()", 4.0, 2.5),
    Aim("FOCE", "mf.FOCE()", 4.0, 2.5),
    Aim("AGQ, 9^3 nodes", "mf.AGQ(9)", 6.0),
    Aim("SAEM", "mf.SAEM()", 7.0, 3.0),
    Aim(
        "NUTS, 2 chains of 500 + 500",
        "mf.NUTS(warmup=500, samples=500)",
        15.0,
        6.0,
        imports="import with_priors",
        model="with_priors.start()",
    ),
)
IMPORT = 1.0  # seconds
REFIT = 25.0  # milliseconds, of Laplace


def measured(aim: Aim, folder: str, refits: int) -> dict:
    """What one new process took, with its compiled programs kept in a folder."""
    paths = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]
    own = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MEFIT_COMPILED": folder, "MEFIT_PROGRESS": ""}
    code = CODE.format(imports=aim.imports, model=aim.model, method=aim.method, refits=refits)
    command = [sys.executable, "-c", code]
    return json.loads(subprocess.run(command, env=own, capture_output=True, text=True, check=True).stdout)


def middle(runs: list[list[float]], digits: int = 1) -> str:
    """The median on the clock, and of the processor in brackets."""
    wall, cpu = (statistics.median(run[i] for run in runs) for i in (0, 1))
    return f"{wall:.{digits}f} ({cpu:.{digits}f})"


def first_fits(repeats: int) -> None:
    """The table of new processes."""
    print("\n### What a learner waits for: new process to printed result, 12 subjects, wall seconds (CPU seconds)\n")
    print("| method | nothing kept | aim | programs kept | aim |\n| --- | --- | --- | --- | --- |", flush=True)
    imports: list[list[float]] = []
    refits: list[list[float]] = []
    for aim in AIMS:
        cold, kept = [], []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                cold.append(measured(aim, folder, refits=0))
                kept.append(measured(aim, folder, refits=21 if aim.name == "Laplace" else 0))
        imports += [run["import"] for run in kept]
        refits += [one for run in kept for one in run["refits"][1:]]
        cells = [aim.name, middle([run["all"] for run in cold]), f"{aim.cold:g}"]
        cells += [middle([run["all"] for run in kept]), "" if aim.kept is None else f"{aim.kept:g}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    print(f"| `import mefit` alone | {middle(imports, 2)} | {IMPORT:g} | | |")
    print(f"| a refit by Laplace in a warm process, ms | {middle(refits)} | {REFIT:g} | | |", flush=True)


def whole_lessons() -> None:
    """The table of lessons, as it was measured last."""
    print("\n### Whole lessons, a fresh kernel from the top, wall seconds (CPU seconds), from lessons.csv\n")
    print("| lesson | nothing kept | programs kept |\n| --- | --- | --- |")
    with (ROOT / "benchmarks" / "lessons.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cells = [f"{row[f'wall_{how}']} ({row[f'processor_{how}']})" for how in ("cold", "warm")]
            print(f"| {row['lesson']} | {cells[0]} | {cells[1]} |", flush=True)


def tables(repeats: int) -> None:
    """Both tables."""
    first_fits(repeats)
    whole_lessons()
