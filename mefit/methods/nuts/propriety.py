"""Has a model a proper posterior? A sampler would walk an improper one for ever and say nothing."""

import numpy as np
import numpyro.distributions as dist

from ...base.compiling import compiled
from ...model.domains import Weights
from ...model.parameters import free_parameters
from ...model.space import coordinates, free_vector, prior_of_free
from ...objectives.objective import Objective
from ..method import Problem

_prior_of_free = compiled(prior_of_free)


def refuse_improper(problem: Problem, likelihood: Objective) -> tuple[str, ...]:
    """Remarks on the parameters without a proper prior; ValueError where the posterior is found to be improper."""
    return _tails(problem, likelihood, names) if (names := _open_ended(problem)) else ()


def _open_ended(problem: Problem) -> list[str]:
    """The unbounded parameters whose prior is not known to be proper; ValueError for weights without one."""
    found = []
    for name, (domain, _, prior, _) in free_parameters(problem.model, problem.fixed).items():
        if prior is None and isinstance(domain, Weights):
            what = f"{name} has no prior, and the posterior of a network's weights is improper without one"
            advice = "give it one, such as mf.weights(prior=dist.Normal(0.0, 1.0)), or hold it fixed"
            raise ValueError(f"{what}: {advice}.")
        base = prior
        while hasattr(base, "base_dist"):
            base = base.base_dist
        known = type(base).__module__.startswith("numpyro.") and not isinstance(base, dist.ImproperUniform)
        # Priors of the variances leave the covariances of a full matrix flat.
        whole = known and (prior.event_dim == 2 or not domain.has_correlations)
        if not (whole or domain.bounded or isinstance(domain, Weights)):
            found.append(name)
    return found


def _tails(problem: Problem, likelihood: Objective, names: list[str]) -> tuple[str, ...]:
    """Refuse an improper posterior: the density of the free values, eta integrated out, must fall along `names`.

    Between a factor of 1e3 and one of 1e5 it must fall faster than 1/x for a real number x; and for the logarithm of a
    scale faster than 1, to infinity faster than scale^-r, as the widths of r real numbers without a proper prior can
    grow along with it. That is looked at from the starting values, in one coordinate after the other: needed for a
    proper posterior, not proof; and a start far from the data may be refused though another would do.
    """
    x0, labels = free_vector(problem.model, problem.fixed), coordinates(problem.model, problem.fixed)
    opened = [i for i, c in enumerate(labels) if c.parameter in names]
    r, unit = sum(not labels[i].log_scale for i in opened), np.log(10.0)

    def density(i, move):
        model, log_p = _prior_of_free(problem.model, problem.fixed, x0 + move * (np.arange(x0.size) == i))
        return float(np.sum(np.asarray(likelihood.terms(model, problem.population, problem.key).value)) + log_p)

    for i in opened:
        for end, sign in (("infinity", 1.0), ("0" if labels[i].log_scale else "minus infinity", -1.0)):
            moves = (3.0 * unit, 5.0 * unit) if labels[i].log_scale else np.array([1e3, 1e5]) * (1.0 + abs(x0[i]))
            near, far = (density(i, sign * move) for move in moves)
            slowest = r * (sign > 0) if labels[i].log_scale else 1
            if np.isfinite(far) and not near - far > (slowest + 0.1) * 2.0 * unit:
                what = f"neither prior nor data make it fall off as {labels[i].label} goes to {end}"
                advice = f"give {labels[i].parameter} a proper prior, such as dist.LogNormal(0.0, 1.0), or fix it"
                raise ValueError(f"the posterior is improper: {what}; {advice}.")
    return (f"{', '.join(names)}: no proper prior, so the posterior is proper only by the data, as far as was looked.",)
