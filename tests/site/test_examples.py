"""Every example in a docstring of the library runs, on theophylline and what stands around it in the docstring.

An example is an indented or fenced paragraph that is Python and calls mefit. What it takes for granted, such as `fit`
or `new_people`, is made here; trainings are shortened, because it is the call that is tried.
"""

import ast
import dataclasses
import re
import textwrap
from functools import cache
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import models
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array

import mefit as mf

ROOT = Path(__file__).resolve().parents[2]
NODES = (ast.Module, ast.FunctionDef, ast.ClassDef)
# A file of nobody, code that is a part only, and a folder for the programs of all that follows.
LEFT_OUT = {
    "dosing.py": "reads patient.csv",
    "hazard.py": "is a method",
    "keeping.py": "keeps programs elsewhere",
    "processes.py": "needs several processes, as in test_processes.py",
    "distributed.py": "needs several processes",
}
SHORTER = {
    "steps=3000": "steps=20",
    "batch=100": "batch=6",
    "two_classes, 99": "two_classes, 3",
    "warmup=300, samples=300": "warmup=6, samples=8, block=8, likelihood_by=mf.FO()",
    "samples=200)": "samples=50)",
    "range(500)": "range(2)",
}
# What is not made by hand, by the example of the call that returns it.
RETURNED = {
    "ClassTest": "bootstrap_classes",
    "Complexity": "complexity",
    "Conformal": "conformal",
    "CovariateEffects": "covariate_search",
    "CovariateSearch": "covariate_search",
    "DeepMixedModel": "deep_mixed_model",
    "Design": "design",
    "Draws": "NUTS",
    "Ending": "fit",
    "Fit": "fit",
    "Fits": "fit_many",
    "Gaps": "gaps",
    "Individuals": "individual",
    "Influence": "influence",
    "Landmark": "landmark",
    "LikelihoodRatio": "likelihood_ratio_test",
    "Predictive": "predictive",
    "Profile": "profile",
    "Regimens": "simulate_regimens",
    "Starts": "starts",
    "Step": "iterate",
    "Uncertainty": "observed_information",
    "VPC": "vpc",
}
WITHOUT = {
    "keep_compiled",
    "hazard",
    "connect",
    "distribute",
    "ProcessLost",
}  # see LEFT_OUT; an error is raised, not called


def paragraphs(text):
    """The indented paragraphs of a docstring, those that follow each other joined, and its fenced code."""
    yield from re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    unfenced = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    yield from re.findall(r"(?:^    .*\n(?:\s*\n(?=    ))*)+", unfenced + "\n", re.M)


def examples():
    found = []
    for path in sorted((ROOT / "mefit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, NODES) or not ast.get_docstring(node):
                continue
            for paragraph in paragraphs(ast.get_docstring(node)):
                code = textwrap.dedent(paragraph)
                if not re.search(r"\b(mf|plots)\.\w+[.\w]*\(", code) or path.name in LEFT_OUT:
                    continue
                try:
                    ast.parse(code)
                except SyntaxError:
                    continue  # a list of arguments
                name = f"{path.relative_to(ROOT / 'mefit').as_posix()}:{getattr(node, 'name', 'module')}"
                found.append(pytest.param(code, id=name))
    return found


@cache
def fitted():
    people = mf.datasets.theophylline()
    return mf.fit(models.theophylline_model(), people, mf.Laplace(), progress=False)


@cache
def fitted_by_encoder():
    fit = fitted()
    encoder = mf.networks.Encoder(fit.population, effects=3)
    method = mf.Adam(mf.Amortised(encoder), steps=20)
    return mf.fit(fit.model, fit.population, method, key=jax.random.key(1), progress=False)


@cache
def fitted_by_first_order():
    return mf.fit(fitted().model, fitted().population, mf.FO(), progress=False)


@cache
def fitted_with_gaps():
    """Three people are not seen at their last two times."""
    people = fitted().population
    mask = np.array(people.subjects.mask)
    mask[:3, -2:] = False
    subjects = dataclasses.replace(people.subjects, mask=jnp.asarray(mask))
    return mf.fit(fitted().model, dataclasses.replace(people, subjects=subjects), mf.FO(), progress=False)


@cache
def mixture():
    """Two kinds of people who differ in clearance."""
    model = fitted().model
    return mf.MixtureOfExperts(
        (model, dataclasses.replace(model, cl=2 * model.cl)), shared=("ka", "v", "omega", "sigma")
    )


@cache
def fitted_classes():
    return mf.fit(mixture(), fitted().population, mf.Laplace(), progress=False)


# Names that stand for something that takes a while; made for the examples that have them.
ASKED = {
    "one_class": fitted,
    "two_classes": fitted_classes,
    "mixture": mixture,
    "other_fit": fitted_by_first_order,
    "fit_with_gaps": fitted_with_gaps,
    "fit_by_encoder": fitted_by_encoder,
}


class Known(type(models.theophylline_model())):
    """Theophylline with a prior of each parameter, which a posterior needs."""

    ka: Array = mf.positive(prior=dist.LogNormal(0.4, 0.5))
    cl: Array = mf.positive(prior=dist.LogNormal(-3.2, 0.5))
    v: Array = mf.positive(prior=dist.LogNormal(-0.7, 0.5))
    omega: Array = mf.diagonal_covariance(prior=dist.InverseGamma(3.0, 0.3))
    sigma: Array = mf.positive(prior=dist.HalfNormal(1.0))


def with_priors():
    values = {field.name: getattr(fitted().model, field.name) for field in dataclasses.fields(fitted().model)}
    return Known(**values)


def surroundings(code):
    """What an example takes for granted."""
    fit = fitted_by_encoder() if ".encoder" in code and "= mf.fit(" not in code else fitted()
    people = fit.population
    some = people[:4]
    twice = mf.Population.from_subjects([people[k % len(people)] for k in range(2 * len(people))])  # 95% asks for 19
    given = {"mf": mf, "jax": jax, "jnp": jnp, "np": np, "dist": dist, "Array": Array, "plots": mf.plots}
    given |= {"fit": fit, "model": fit.model, "population": people, "subject": people[0]}
    given |= {"new_people": some, "patients": some, "held_out": twice, "key": jax.random.key(1)}
    given["OneCompartment"] = type(fit.model)
    if "mf.NUTS(" in code:
        given["model"] = with_priors()
    given |= {"ka": 1.5, "cl": 0.04, "v": 0.5, "eta": jnp.zeros(3)}
    if "people" in code and "def predict" not in code:
        given["people"] = mf.individual(fit, some, draws=50, proposed=200, key=jax.random.key(1))
    if "encoder" in code:
        given["encoder"] = mf.networks.Encoder(people, effects=3)
    given |= {name: make() for name, make in ASKED.items() if re.search(rf"\b{name}\b", code)}
    given["goal"] = mf.dosing.Goal(time=np.linspace(0, 24, 25), target=(80, 125))
    return given


@pytest.mark.slow
@pytest.mark.parametrize("code", examples())
def test_an_example_of_a_docstring_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for long, short in SHORTER.items():
        code = code.replace(long, short)
    exec(compile(code, "example", "exec"), surroundings(code))
    plt.close("all")


def test_every_public_name_has_an_example():
    shown = set(re.findall(r"\bmf\.(\w+)", "\n".join(example.values[0] for example in examples())))
    public = {*mf.__all__, "report"} - {name for name in mf.__all__ if isinstance(getattr(mf, name), ModuleType)}
    assert sorted(public - shown - RETURNED.keys() - WITHOUT) == []
    assert RETURNED.keys() <= public and set(RETURNED.values()) <= shown
