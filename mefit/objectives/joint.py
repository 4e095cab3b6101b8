"""Objectives that do not integrate: random effects ignored, or maximised jointly.

They are here to be compared with the marginal likelihoods, and to be seen failing.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..base.newton import Mode, Newton, hold_constant
from ..data.subject import Subject
from ..effects.starts import starting_points
from ..methods.method import NOT_IDENTIFIED, Outcome, Problem, State
from ..model.densities import eta_mean, log_conditional, log_joint, log_random_effects
from ..model.model import Model
from ..model.space import coordinates
from .objective import Memory, Objective, Term, evaluate, name_subjects, no_modes


class NaivePooled(Objective):
    """Naive pooling: every subject is the typical one, eta = 0. Maximises sum_i log p(y_i | theta, eta = 0).

    Parameters that only the random effects use keep their starting values and are marked as not estimated.
    """

    label: ClassVar[str] = "Naive pooled"

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mean = eta_mean(model)
        term = no_modes(model, log_conditional(model, hold_constant(mean), subject))
        return term._replace(eta=mean, precision=jnp.full((mean.size,) * 2, jnp.inf))


class JointMLE(Objective):
    """Joint maximum likelihood: max over theta and every eta of sum_i log p(y_i | theta, eta_i).

    The hierarchy p(eta | theta) is ignored. Each eta_i is maximised out, so the gradient in theta is that of the
    conditional likelihood at the maximum (envelope theorem). Inconsistent where the number of observations a subject
    stays small: the variance tends to sigma^2 (1 - 1/n) in Neyman and Scott's problem (1948, Econometrica 16).
    A fixed effect that an eta can take over is not identified and stays where it started.
    """

    label: ClassVar[str] = "Joint maximum likelihood"
    likelihood: ClassVar[bool] = False

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mode = separate_mode(model, subject, self.newton)
        return Term(log_conditional(model, mode.eta, subject), *mode, {})

    def finish(self, problem: Problem, state: State) -> Outcome:
        outcome = super().finish(problem, state)
        alone = undetermined(problem, self.terms(outcome.model, problem.population))
        status, remarks = np.array(outcome.status, object), outcome.remarks + alone
        used = np.flatnonzero(status == "")
        strength, axes = np.linalg.eigh(self.information(problem, outcome.model)[np.ix_(used, used)])
        loose = axes[:, strength < 1e-6 * np.max(strength, initial=0.0)]
        lost = used[np.linalg.norm(loose, axis=1) > 0.05]
        status[lost] = NOT_IDENTIFIED
        if lost.size:
            names = ", ".join(coordinates(problem.model, problem.fixed)[i].label for i in lost)
            why = "The random effects, free of their prior, can take over what these do"
            remarks += (f"{names}: not identified. {why}, so they stay near their starting values.",)
        return dataclasses.replace(outcome, status=tuple(status), remarks=remarks)


class JointMAP(Objective):
    """Joint maximum a posteriori: max over theta and all eta of sum_i log p(y_i | theta, eta_i) + log p(eta_i | theta).

    Centred, the normaliser of p(eta | theta) is kept: with a free covariance the objective grows without limit as a
    random effect's variance goes to zero (complete pooling). Not centred, it is taken in z, eta = mean + L z,
    z ~ N(0, I): it climbs as the variance goes to infinity (no pooling). The two are different objectives of the same
    model; neither has a maximum that can be trusted. The fit stops at `scale_limit` and says so.
    """

    centred: bool = True
    label: ClassVar[str] = "Joint MAP"
    likelihood: ClassVar[bool] = False

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mode = _search(log_joint, model, subject, self.newton)
        value = log_joint(model, mode.eta, subject)
        if not self.centred:
            # Where theta moves, z stays: eta = mean + L z moves along. By the envelope theorem the gradient at the
            # maximum over z is that of log p(y | eta*) + log p(eta* | theta) - log p(mean | theta).
            value = value - log_random_effects(model, eta_mean(model)) - 0.5 * mode.eta.size * np.log(2.0 * np.pi)
        return Term(value, *mode, {})

    def finish(self, problem: Problem, state: State) -> Outcome:
        outcome = super().finish(problem, state)
        gain, label, end = self._higher_end(problem, state) if state.converged else (0.0, "", "")
        if gain == 0.0:
            return outcome
        if gain > 1e-3:
            what = "this is a local mode, not the maximum: the objective is unbounded"
            remark = f"{what}, and with {label} a factor of {self.scale_limit:g} nearer to {end} it is already"
            return dataclasses.replace(outcome, remarks=(*outcome.remarks, f"{remark} {gain:.3g} higher."))
        message = f"no maximum: the objective climbs, ever more slowly, as {label} goes to {end}"
        return dataclasses.replace(outcome, converged=False, message=message)

    def _higher_end(self, problem: Problem, state: State) -> tuple[float, str, str]:
        """How much higher the objective is at the best far end of a positive quantity, and which; 0 if nowhere."""
        memory: Memory = state.memory
        best = (0.0, "", "")
        for i, coordinate in enumerate(coordinates(problem.model, problem.fixed)):
            for end, sign in (("0", -1.0), ("infinity", 1.0)) if coordinate.log_scale else ():
                x = memory.point.x.copy()
                x[i] += sign * np.log(self.scale_limit)
                gain = float(evaluate(self, problem.model, problem.fixed, x, memory.batches)[0]) - state.objective
                if np.isfinite(gain) and gain > best[0]:
                    best = (gain, coordinate.label, end)
        return best


def separate_mode(model: Model, subject: Subject, newton: Newton) -> Mode:
    """argmax over eta of log p(y | theta, eta): one subject's own fit, which knows nothing of the others."""
    return _search(log_conditional, model, subject, newton)


def _search(density: Callable[..., Array], model: Model, subject: Subject, newton: Newton) -> Mode:
    return newton.search(
        lambda eta, args: density(args[0], eta, args[1]), starting_points(newton, model), (model, subject)
    )


def undetermined(problem: Problem, mode: Term) -> tuple[str, ...]:
    """A sentence on the subjects whose own data leave some combination of their random effects open."""
    strength = np.linalg.eigvalsh(np.nan_to_num(np.asarray(mode.precision)))
    weak = strength[:, 0] < 1e-6 * np.maximum(strength[:, -1], 1e-300)
    if not np.any(lost := weak | ~np.asarray(mode.converged)):
        return ()
    what = f"{name_subjects(problem.population, lost)}: its own data do not determine all its random effects"
    return (f"{what}, so its estimates are one choice out of many that fit as well.",)


class CompleteData(Objective):
    """sum_i log p(y_i | theta, eta_i) + log p(eta_i | theta) with every eta_i given, as if it had been observed."""

    eta: Any
    label: ClassVar[str] = "Complete data"

    def extras(self, model, population, key):
        return self.eta

    def subject(self, model: Model, subject: Subject, extra: PyTree) -> Term:
        return no_modes(model, log_joint(model, extra, subject))._replace(eta=extra)
