"""Objectives that do not integrate: random effects ignored, or maximised jointly.

They are here to be compared with the marginal likelihoods, and to be seen failing.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..base.newton import ModeSearch, hold_constant
from ..base.peaks import Mode
from ..data.population import Population
from ..data.subject import Subject
from ..effects.modes import subject_mode
from ..effects.standard import by_mean_and_sd, finite_sd
from ..effects.starts import starting_points
from ..model.densities import eta_mean, eta_sd, gaussian_law_of, log_conditional, log_joint, log_random_effects
from ..model.model import Model
from ..model.space import Space
from .evaluation import batches_of, evaluate, information
from .objective import AT_BOUNDARY, NOT_IDENTIFIED, Maximum, Objective, Term, Verdict, name_subjects, no_modes

_TAKEN_OVER = 1e-6  # of the information with every eta held still: with less left, random effects have taken it over

_VANISHED = 0.1  # of their variance: with a smaller mean square, random effects have been taken away
_INSTEAD = "integrate them out, by Laplace"


class NaivePooled(Objective):
    """Naive pooling: every subject is the typical one, eta = 0. Maximises sum_i log p(y_i | theta, eta = 0).

    Parameters that only the random effects use keep their starting values and are marked as not estimated.

        fit = mf.fit(model, population, mf.NaivePooled())
    """

    label: ClassVar[str] = "Naive pooled"
    looks_for_peaks: ClassVar[bool] = False

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

        fit = mf.fit(model, population, mf.JointMLE())
    """

    label: ClassVar[str] = "Joint maximum likelihood"
    likelihood: ClassVar[bool] = False

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mode = separate_mode(model, subject, self.newton)
        return Term(log_conditional(model, mode.eta, subject), *mode, {})

    def judge(self, maximum: Maximum) -> Verdict:
        """Say which subjects do not determine their own random effects, and what these can take over."""
        space = Space(maximum.space.at(jnp.asarray(maximum.x)), maximum.space.fixed)
        remarks = undetermined(space.template, maximum.population, maximum.terms)
        status = np.array(maximum.status, object)
        used = np.flatnonzero(status == "")
        lost = used[self._taken_over(space, maximum)[used]]
        if lost.size:
            names = ", ".join(space.labels[i] for i in lost)
            remarks += (
                f"{names}: not identified. The random effects, free of their prior, can take over what these do, "
                "so they stay near their starting values.",
            )
        status[lost] = NOT_IDENTIFIED
        return Verdict(status=tuple(status), remarks=remarks)

    def _taken_over(self, space: Space, maximum: Maximum) -> np.ndarray:
        """Of each coordinate: is hardly any information about it left, of what there is with every eta held still?

        The generalised eigenvalues of the two matrices are shares between 0 and 1, whatever the units.
        """
        profiled = information(self, space, maximum.population, maximum.key)
        held = CompleteData(eta=maximum.terms.eta, conditional=True)
        complete = information(held, space, maximum.population, maximum.key)
        unit = np.sqrt(np.abs(np.diagonal(complete)))
        unit = np.where(unit > 0.0, unit, 1.0)
        strength, axes = np.linalg.eigh(complete / np.outer(unit, unit))
        seen = strength > 1e-10 * np.max(strength, initial=0.0)
        root = axes[:, seen] / np.sqrt(strength[seen])
        shares, turns = np.linalg.eigh(root.T @ (profiled / np.outer(unit, unit)) @ root)
        loose = axes[:, seen] * np.sqrt(strength[seen]) @ turns[:, shares < _TAKEN_OVER]
        length = np.linalg.norm(loose, axis=1)
        return length > 0.05 * np.sqrt(np.maximum(np.diagonal(complete), 0.0)) / unit


class JointMAP(Objective):
    """Joint maximum a posteriori: max over theta and all eta of sum_i log p(y_i | theta, eta_i) + log p(eta_i | theta).

    Centred, the normaliser of p(eta | theta) is kept: with a free covariance the objective grows without limit as a
    random effect's variance goes to zero (complete pooling). Not centred, it is taken in z, eta = mean + L z,
    z ~ N(0, I): it climbs as the variance goes to infinity (no pooling). The two are different objectives of the same
    model; neither has a maximum that can be trusted. The fit stops at `scale_limit` and says so.

        fit = mf.fit(model, population, mf.JointMAP())
    """

    centred: bool = True
    label: ClassVar[str] = "Joint MAP"
    likelihood: ClassVar[bool] = False

    def check(self, model: Model, population: Population) -> None:
        if not self.centred and gaussian_law_of(model) is None:
            law = type(model.random_effects()).__name__
            raise ValueError(
                f"JointMAP(centred=False) takes eta = mean + L z with z ~ N(0, I), and {type(model).__name__}."
                f"random_effects returns {law}, which is not Gaussian: use JointMAP(), or a Normal."
            )

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mode: Mode = hold_constant(subject_mode(model, subject, self.newton))
        value = log_joint(model, mode.eta, subject)
        if not self.centred:
            # Where theta moves, z stays: eta = mean + L z moves along. By the envelope theorem the gradient at the
            # maximum over z is that of log p(y | eta*) + log p(eta* | theta) - log p(mean | theta).
            at_mean = log_random_effects(model, eta_mean(model))
            value = value - at_mean - 0.5 * mode.eta.size * np.log(2.0 * np.pi)
        return Term(value, *mode, {})

    def judge(self, maximum: Maximum) -> Verdict:
        """Look whether the objective is higher far out in some positive quantity: then this is no maximum."""
        if not maximum.converged:
            return Verdict(status=maximum.status)
        start = maximum.space.vector()
        for i, word in enumerate(maximum.status):
            if word == AT_BOUNDARY and maximum.x[i] > start[i]:
                label = maximum.space.labels[i]
                message = f"no maximum: the objective climbs, ever more slowly, as {label} goes to infinity"
                return Verdict(status=maximum.status, unbounded=message)
        collapsed = _collapsed(maximum) if self.centred else ""
        if collapsed:
            message = (
                f"a degenerate maximum: the joint density climbs as {collapsed} goes to 0, and only a prior stops it "
                f"there, where the random effects have all but vanished; {_INSTEAD}"
            )
            return Verdict(status=maximum.status, degenerate=message)
        gain, label, end = self._higher_end(maximum)
        if gain > 1e-3:
            remark = (
                "this is a local mode, not the maximum: the objective is unbounded, and with "
                f"{label} a factor of {self.scale_limit:g} nearer to {end} it is already {gain:.3g} higher."
            )
            return Verdict(status=maximum.status, remarks=(remark,))
        if gain > 0.0:
            message = f"no maximum: the objective climbs, ever more slowly, as {label} goes to {end}"
            return Verdict(status=maximum.status, unbounded=message)
        return Verdict(status=maximum.status)

    def _higher_end(self, maximum: Maximum) -> tuple[float, str, str]:
        """How much higher the objective is at the best far end of a positive quantity, and which; 0 if nowhere."""
        space = maximum.space
        batches = batches_of(self, space.template, maximum.population, maximum.key)
        best = (0.0, "", "")
        for i, coordinate in enumerate(space.coordinates):
            if not coordinate.log_scale:
                continue
            for end, sign in (("0", -1.0), ("infinity", 1.0)):
                x = maximum.x.copy()
                x[i] += sign * np.log(self.scale_limit)
                gain = float(evaluate(self, space, x, batches)[0]) - maximum.value
                if np.isfinite(gain) and gain > best[0]:
                    best = (gain, coordinate.label, end)
        return best


def _collapsed(maximum: Maximum) -> str:
    """The labels of the scales with which random effects have vanished: far smaller than their own SD.

    At a maximum that the data make, their mean square is the variance, but for the pull of a prior.
    """
    space = maximum.space
    model = space.model_at(maximum.x)
    sd = np.asarray(eta_sd(model))
    eta = np.asarray(maximum.terms.eta) - np.asarray(eta_mean(model))
    with np.errstate(all="ignore"):
        vanished = np.mean((eta / sd) ** 2, axis=0) < _VANISHED
    labels = []
    for i, coordinate in enumerate(space.coordinates):
        if not coordinate.log_scale or not np.any(vanished):
            continue
        x = maximum.x.copy()
        x[i] -= 1.0
        if np.any(vanished & (np.asarray(eta_sd(space.model_at(x))) < 0.9 * sd)):
            labels.append(coordinate.label)
    return " and ".join(labels)


def separate_mode(model: Model, subject: Subject, newton: ModeSearch) -> Mode:
    """argmax over eta of log p(y | theta, eta): one subject's own fit, which knows nothing of the others."""
    standard = by_mean_and_sd(model)
    start = jax.vmap(standard.eta)(starting_points(newton, model, standard))
    return newton.search(lambda eta, args: log_conditional(args[0], eta, args[1]), start, (model, subject))


def undetermined(model: Model, population: Population, mode: Term) -> tuple[str, ...]:
    """A sentence on the subjects whose own data leave some combination of their random effects open."""
    unit = np.asarray(finite_sd(model))  # so that effects of different units can be compared
    precision = np.nan_to_num(np.asarray(mode.precision)) * np.outer(unit, unit)
    strength = np.linalg.eigvalsh(precision)
    weak = strength[:, 0] < 1e-6 * np.maximum(strength[:, -1], 1e-300)
    lost = weak | ~np.asarray(mode.converged)
    if not np.any(lost):
        return ()
    return (
        f"{name_subjects(population, lost)}: its own data do not determine all its random effects, "
        "so its estimates are one choice out of many that fit as well.",
    )


class CompleteData(Objective):
    """sum_i log p(y_i | theta, eta_i) + log p(eta_i | theta) with every eta_i given, as if it had been observed.

    With `conditional`, the first of the two alone.
    """

    eta: Any = None
    conditional: bool = False
    label: ClassVar[str] = "Complete data"
    looks_for_peaks: ClassVar[bool] = False

    def extras(self, model, population, key):
        return self.eta

    def subject(self, model: Model, subject: Subject, extra: PyTree) -> Term:
        density = log_conditional if self.conditional else log_joint
        return no_modes(model, density(model, extra, subject))._replace(eta=extra)
