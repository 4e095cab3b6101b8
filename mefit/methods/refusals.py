"""Why a fit cannot start where it was told to."""

from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float
from numpyro.distributions.distribution import validation_enabled

from ..data.population import Population
from ..model.densities import eta_mean, observation_density
from ..model.impossible import refuse_impossible
from ..model.model import Model
from ..model.numbers import entries
from ..objectives.evaluation import Batches, evaluate
from ..objectives.objective import Objective
from .method import Problem


def refuse_start(problem: Problem, prior: Any, values: Float[Any, " N"]) -> None:
    """Raise ValueError, saying why, where the log prior or a subject's log-likelihood is not finite at the start."""
    if not np.isfinite(prior):
        raise ValueError("the log prior is not finite at the starting values: start inside the priors' support.")
    refuse_values(problem.model, problem.population, values)


def refuse_values(model: Model, population: Population, values: Float[Any, " N"]) -> None:
    """Raise ValueError, saying why, where a subject's log-likelihood is not finite at the model's parameters."""
    bad = np.flatnonzero(~np.isfinite(values))
    if not bad.size:
        return
    who = population.ids[bad[0]]
    subject = population[int(bad[0])]
    try:  # outside of a compiled program, a solver of differential equations says what went wrong
        with validation_enabled(False):
            observation_density(model, eta_mean(model), subject)
    except ValueError as error:
        values_there = [f"{entry.label} = {float(entry.value(model)):.4g}" for entry in entries(model)]
        raise ValueError(f"subject {who}, at {', '.join(values_there)}: {error}") from None
    refuse_impossible(model, subject, who)
    raise ValueError(
        f"the log-likelihood of subject {who} is not finite at these parameters: look for an error of zero, for a "
        "logarithm or a power of 0 in the model (a mean that is 0 before the dose has no logarithm: leave such rows "
        "out), for a response outside the density's support, or for a value far off."
    )


def refuse_derivative(problem: Problem, objective: Objective, batches: Batches, x: np.ndarray) -> NoReturn:
    """Raise ValueError, saying why the objective or its derivative is not finite at the starting values x."""
    _, gradient, prior, terms = evaluate(objective, problem.space, x, batches)
    refuse_start(problem, prior, terms.value)
    worst = problem.space.labels[int(np.flatnonzero(~np.isfinite(gradient))[0])]
    raise ValueError(
        f"the derivative of the log-likelihood with respect to {worst} is not finite at the starting values: "
        "look for a square root, a logarithm or a power at exactly zero in the model."
    )
