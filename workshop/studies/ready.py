"""Is this computer ready for the workshop?

Versions, a fit with a known answer and how long it took, and small programs with known answers.
"""

import dataclasses
import html
import importlib.metadata
import os
import platform
import sys
import time

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array

import mefit as mf
from mefit.base.known_answers import Verdict, examine

EXPECTED = 360.3066  # -2 log-likelihood of the fit below, the same on every computer
PACKAGES: tuple[str, ...] = ("jax", "equinox", "numpyro", "diffrax", "numpy", "scipy", "pandas")
PACKAGES += ("matplotlib", "anywidget", "jupyterlab")  # what the workshop needs beyond the library
NOT_ASKED = Verdict(0, ())
SLOW = 30.0  # seconds for a first fit that make a lesson tiresome


class _OneCompartment(mf.Model):
    ka: Array = mf.positive()
    cl: Array = mf.positive()
    v: Array = mf.positive()
    omega: Array = mf.diagonal_covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        ka = self.ka * jnp.exp(eta[0])
        cl = self.cl * jnp.exp(eta[1])
        v = self.v * jnp.exp(eta[2])
        return dist.Normal(mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v), self.sigma)


@dataclasses.dataclass(frozen=True)
class Readiness:
    """What `check` found."""

    versions: dict[str, str | None]
    """Of the packages; None where one is missing."""
    first_seconds: float
    """Of the first fit, which compiles."""
    second_seconds: float
    """Of the second fit, which runs what was compiled."""
    minus_two_log_likelihood: float
    problems: tuple[str, ...]
    """A sentence each."""
    answers: Verdict = NOT_ASKED
    """Of small programs with known answers."""

    @property
    def sentence(self) -> str:
        """The verdict."""
        if self.problems:
            return "This computer is NOT ready. " + " ".join(self.problems)
        if self.first_seconds <= SLOW:
            return "This computer is ready."
        return (
            "This computer is ready. It is slow today: close other programs, or be patient where a "
            "cell says that it is compiling."
        )

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What a person helping from afar would ask for, as names and texts."""
        system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores"
        facts = [("computer", system), ("Python", platform.python_version())]
        facts += [(name, version or "missing") for name, version in self.versions.items()]
        return facts + [
            ("first fit", f"{self.first_seconds:.1f} s (compiles, once)"),
            ("second fit", f"{1000 * self.second_seconds:.0f} ms (compiled already)"),
            ("-2 log-likelihood", f"{self.minus_two_log_likelihood:.4f} (expected {EXPECTED})"),
            ("known answers", self.answers.text),
        ]

    def __str__(self) -> str:
        return "\n".join(f"{name:18s}{text}" for name, text in self.facts) + f"\n{self.sentence}"

    def _repr_html_(self) -> str:
        installed = {"computer", "Python", *self.versions}
        versions = _table([fact for fact in self.facts if fact[0] in installed])
        found = _table([fact for fact in self.facts if fact[0] not in installed])
        fold = f"<details><summary>This computer, and the versions of packages</summary>{versions}</details>"
        return f"{fold}{found}<p><b>{html.escape(self.sentence)}</b></p>"


def _table(facts: list[tuple[str, str]]) -> str:
    left = "style='text-align:left'"
    rows = [f"<tr><th {left}>{html.escape(name)}</th><td {left}>{html.escape(fact)}</td></tr>" for name, fact in facts]
    return f"<table>{''.join(rows)}</table>"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def judge(
    versions: dict[str, str | None],
    python: tuple[int, ...],
    minus_two_log_likelihood: float,
    answers: Verdict = NOT_ASKED,
) -> tuple[str, ...]:
    """What is wrong, a sentence each; none where all is well."""
    problems = []
    if python[:2] < (3, 11):
        problems.append(f"Python {python[0]}.{python[1]} is too old: install 3.11 or later and run `python3 start.py`.")
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        problems.append(f"Missing: {', '.join(missing)}; run `python3 start.py setup` in the kit's folder.")
    if not abs(minus_two_log_likelihood - EXPECTED) < 1e-3:
        problems.append(
            f"A fit that should end at {EXPECTED} ended at {minus_two_log_likelihood:.4f}: restart "
            "the kernel, and if that does not help, run `python3 start.py test` and report what it "
            "says."
        )
    return tuple(problems) + answers.wrong


def check() -> Readiness:
    """Fit Theophylline twice by Laplace's method, timed, and look at the versions of what the
    workshop needs.

    The first time is the wait for a compiler and the second is what computing costs; close other
    programs to compare. Then small programs with known answers tell whether JAX computes rightly
    here.
    """
    start = _OneCompartment(
        ka=jnp.asarray(1.5),
        cl=jnp.asarray(0.04),
        v=jnp.asarray(0.5),
        omega=jnp.diag(jnp.array([0.4, 0.1, 0.05])),
        sigma=jnp.asarray(0.7),
    )
    population = mf.datasets.theophylline()

    def timed() -> tuple[float, float]:
        before = time.perf_counter()
        value = mf.fit(start, population, mf.Laplace(), progress=False).minus_two_log_likelihood
        return time.perf_counter() - before, value

    first_seconds, _ = timed()
    second_seconds, value = timed()
    versions = {name: _version(name) for name in PACKAGES}
    answers = examine()
    return Readiness(
        versions=versions,
        first_seconds=first_seconds,
        second_seconds=second_seconds,
        minus_two_log_likelihood=value,
        problems=judge(versions, sys.version_info[:3], value, answers),
        answers=answers,
    )
