"""How long one person takes: `python benchmarks/individuals.py` prints a table of posteriors, doses and next samples.

A compartment model and the same by its differential equations, after everything is compiled. The aims are 1 s for the
posteriors of 100 people and 50 ms for a dose of one of them, and ten times that by the equations. CPU time of all
threads, which says little of what else a machine was doing.
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from run import table

import mefit as mf
from workshop.studies import one_person

REPEATS = 5
SAMPLES = (1.0, 4.0, 24.0)


class ByEquations(one_person.Oral):
    """The same model, its curve by a solver."""

    def observations(self, eta, subject):
        ka, cl, v = jnp.array(one_person.TYPICAL) * jnp.exp(eta)

        def rates(t, amount):
            return [-ka * amount[0], ka * amount[0] - cl / v * amount[1]]

        concentration = mf.dynamics.solve(rates, [0.0, 0.0], subject)[:, 1] / v
        return dist.LogNormal(jnp.log(concentration) - 0.5 * self.sigma**2, self.sigma)


def cpu_time(ask: Callable[[], object], repeats: int) -> float:
    """Median CPU milliseconds of a question."""
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        ask()
        times.append(time.process_time() - begun)
    return 1e3 * statistics.median(times)


def measured(model: mf.Model, repeats: int) -> list[str]:
    """CPU milliseconds of each question, and CPU seconds of the first time of all of them, compiling included."""
    begun = time.process_time()
    everybody = one_person.patients(100, SAMPLES).population
    patient = everybody[[0]]
    key = jax.random.key(0)
    goal = dataclasses.replace(one_person.goal(), time=np.linspace(0.5, 72.0, 60))
    doses = {f"{dose:g}": mf.regimen(dose) for dose in (50.0, 75.0, 100.0, 150.0, 200.0)}
    known = mf.individual(model, patient, key=key)
    questions = {
        "100 people": lambda: mf.individual(model, everybody, key=key),
        "one person": lambda: mf.individual(model, patient, key=key),
        "choose": lambda: mf.dosing.choose(known, doses, goal),
        "find": lambda: mf.dosing.find(known, mf.regimen, (25.0, 400.0), goal),
        "next time": lambda: mf.dosing.next_time(known, [1.0, 4.0, 8.0, 12.0, 24.0], goal),
    }
    for ask in questions.values():
        ask()
    first = time.process_time() - begun
    return [f"{cpu_time(ask, repeats):.0f}" for ask in questions.values()] + [f"{first:.0f}"]


def main() -> None:
    truth = one_person.truth()
    models = {"closed form": truth, "differential equations": ByEquations(omega=truth.omega, sigma=truth.sigma)}
    rows = ([name, *measured(model, REPEATS)] for name, model in models.items())  # told as they are measured
    head = ["model", "100 people", "one person", "choose of 5", "find", "next time of 5", "first, CPU s"]
    table(f"One person, 1,000 of 4,000 draws, after compiling: CPU ms, median of {REPEATS}", head, rows)


if __name__ == "__main__":
    main()
