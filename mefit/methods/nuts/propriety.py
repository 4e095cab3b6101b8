"""Has a model a proper posterior? A sampler would walk an improper one for ever and say nothing."""

import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

from ...base.compiling import compiled
from ...model.domains import Weights
from ...model.model import Model
from ...model.parameters import free_parameters
from ...model.space import Space
from ...objectives.evaluation import terms_of
from ...objectives.natural_scale import natural_scale
from ...objectives.objective import Objective
from ..method import Problem


@compiled
def _prior_of_free(space: Space, x: Array) -> tuple[Model, Array]:
    """The model at x, and the log prior density of x: that on the natural scale plus the log Jacobian."""
    return space.at(x), space.log_prior(x) + space.log_jacobian(x)


def refuse_improper(problem: Problem, likelihood: Objective) -> tuple[str, ...]:
    """Remarks on the parameters without a proper prior; ValueError where the posterior is found to be improper."""
    names = _open_ended(problem)
    return _tails(problem, likelihood, names) if names else ()


def _open_ended(problem: Problem) -> list[str]:
    """The unbounded parameters whose prior is not known to be proper; ValueError for weights without one."""
    names = []
    for name, (domain, _, prior, _) in free_parameters(problem.model, problem.fixed).items():
        if prior is None and isinstance(domain, Weights):
            raise ValueError(
                f"{name} has no prior, and the posterior of a network's weights is improper without one: "
                "give it one, such as mf.weights(prior=dist.Normal(0.0, 1.0)), or hold it fixed."
            )
        base = prior
        while hasattr(base, "base_dist"):
            base = base.base_dist
        known = type(base).__module__.startswith("numpyro.") and not isinstance(base, dist.ImproperUniform)
        # Priors of the variances leave the covariances of a full matrix flat.
        whole = known and (prior.event_dim == 2 or not domain.has_correlations)
        if not (whole or domain.bounded or isinstance(domain, Weights)):
            names.append(name)
    return names


def _tails(problem: Problem, likelihood: Objective, names: list[str]) -> tuple[str, ...]:
    """Refuse an improper posterior: the density of the free values, eta integrated out, must fall along `names`.

    Between a factor of 1e3 and one of 1e5 it must fall faster than 1/x for a real number x; and for the logarithm of a
    scale faster than 1, to infinity faster than scale^-r, as the widths of r real numbers without a proper prior can
    grow along with it. That is looked at from the starting values, in one coordinate after the other: needed for a
    proper posterior, not proof; and a start far from the data may be refused though another would do.
    """
    space = problem.space
    x0 = space.vector()
    coordinates = space.coordinates
    scale = natural_scale(problem.space, problem.population)
    opened = [i for i, c in enumerate(coordinates) if c.parameter in names]
    real_numbers = sum(not coordinates[i].log_scale for i in opened)
    tenfold = np.log(10.0)

    def density(i, move):
        x = x0.copy()
        x[i] += move
        model, log_p = _prior_of_free(space, x)
        terms = terms_of(likelihood, model, problem.population, problem.key)
        return float(np.sum(np.asarray(terms.value)) + log_p)

    for i in opened:
        log_scale = coordinates[i].log_scale
        moves = (3.0 * tenfold, 5.0 * tenfold) if log_scale else (1e3 * scale[i], 1e5 * scale[i])
        for sign in (1.0, -1.0):
            near = density(i, sign * moves[0])
            far = density(i, sign * moves[1])
            slowest = 1
            if log_scale:
                slowest = real_numbers if sign > 0 else 0
            if np.isfinite(far) and not near - far > (slowest + 0.1) * 2.0 * tenfold:
                lower_end = "0" if log_scale else "minus infinity"
                raise ValueError(
                    "the posterior is improper: neither prior nor data make it fall off as "
                    f"{coordinates[i].label} goes to {'infinity' if sign > 0 else lower_end}; give "
                    f"{coordinates[i].parameter} a proper prior, such as dist.LogNormal(0.0, 1.0), or fix it."
                )
    return (f"{', '.join(names)}: no proper prior, so the posterior is proper only by the data, as far as was looked.",)
