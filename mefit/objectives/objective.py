"""What an objective says of one subject. How it is summed and maximised stands elsewhere."""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from ..base.bfgs import BFGS
from ..base.newton import ModeSearch, Newton
from ..data.population import Population
from ..data.subject import Subject
from ..model.densities import eta_size
from ..model.model import Model
from ..model.space import Space

NOT_ESTIMATED = "not estimated"  # the objective does not depend on it
AT_BOUNDARY = "at its boundary"
NOT_IDENTIFIED = "not identified"  # others can take its place without changing the objective


class Term(NamedTuple):
    """What one subject adds to an objective."""

    value: Float[Array, ""]  # its (approximate) log-likelihood
    eta: Float[Array, " K"]  # its random effects
    precision: Float[Array, "K K"]  # minus the Hessian in eta there
    converged: Any  # whether its inner search ended
    details: dict[str, Array]  # numbers worth reporting for each subject


class Maximum(NamedTuple):
    """Where a maximisation ended, for an objective to judge."""

    space: Space
    x: np.ndarray
    value: float
    population: Population
    key: Any
    terms: Term
    status: tuple[str, ...]  # of each coordinate: "" where it was estimated, or one of the words above
    converged: bool


class Verdict(NamedTuple):
    """What an objective says of a maximum."""

    status: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    unbounded: str = ""  # why there is no maximum, where there is none
    degenerate: str = ""  # why a maximum says nothing of the data, where it does not


class Objective(eqx.Module):
    """Base of what is maximised: sum_i l_i(theta) + log p(theta), over the free parameters.

    A final class says, for one subject, what is added and where eta ended (`subject`). The rest has defaults.
    `label` names it in tables; `likelihood` says whether it is a likelihood of theta, which AIC, BIC and standard
    errors need; `random` whether it needs a key; `finds_modes` whether its terms hold the random effects, and
    `looks_for_peaks` whether these are modes that a search from elsewhere could find at another peak; `covers_peaks`
    whether a thorough search makes it integrate over all peaks that were found, and not around one of them.
    """

    label: ClassVar[str]
    likelihood: ClassVar[bool] = True
    random: ClassVar[bool] = False
    finds_modes: ClassVar[bool] = True
    looks_for_peaks: ClassVar[bool] = True
    covers_peaks: ClassVar[bool] = False
    mixes: ClassVar[bool] = False  # does it hold for mixtures of experts, whose likelihoods it gives one by one?
    at_once: ClassVar[int] = 32  # subjects, on one core: where modes are searched all wait for the slowest

    # how it is maximised, unless another method does that
    optimiser: BFGS = eqx.field(default=BFGS(), kw_only=True)
    # how each subject's mode is searched
    newton: ModeSearch = eqx.field(default=Newton(), kw_only=True)
    # how far a positive quantity may go, as a factor, before it is asked whether there is a maximum
    scale_limit: float = eqx.field(default=1e6, kw_only=True)
    # up to so many coordinates the gradient is taken forward, which compiles faster and, through an ODE, runs faster
    forward_up_to: int = eqx.field(default=16, kw_only=True)

    @abc.abstractmethod
    def subject(self, model: Model, subject: Subject, extra: PyTree) -> Term:
        """The term of one subject."""

    def extras(self, model: Model, population: Population, key: PRNGKeyArray | None) -> PyTree:
        """What `subject` needs for each subject besides its data: arrays with a leading axis, or None."""

    def evaluations(self, model: Model) -> int:
        """How many times one subject's density is evaluated at once; it bounds the chunk."""
        return 1

    @property
    def guide(self) -> PyTree:
        """What is learned beside the model, such as the weights of an encoder; None where nothing is."""
        return None

    def guided(self, guide: PyTree) -> "Objective":
        """The objective with what was learned in place of its `guide`."""
        return self

    def prepared(self, model: Model, population: Population) -> "Objective":
        """The objective made ready for a model at its start and a population, before anything is learned."""
        return self

    def fresh(self, extra: PyTree, step: Array) -> PyTree:
        """One subject's `extras` at one step of training: new draws, where each step shall have its own."""
        return extra

    @property
    def derived_twice(self) -> bool:
        """Whether automatic second derivatives of its terms in theta are right: none of them goes through a search."""
        return False

    @property
    def reported(self) -> "Objective":
        """The objective whose value is the log-likelihood of a fit: another one where this is only a bound."""
        return self

    def check(self, model: Model, population: Population) -> None:
        """Raise ValueError where the objective cannot serve the model; called before anything is compiled."""

    def rehearse(self, model: Model, population: Population) -> None:
        """Raise what the first evaluation would raise, for methods that evaluate it at their very end."""
        self.check(model, population)

    def judge(self, maximum: Maximum) -> Verdict:
        """What is to be said of the point where its maximisation ended."""
        return Verdict(status=maximum.status)


def no_modes(model: Model, value: Array) -> Term:
    """The term of an objective that does not look for eta."""
    k = eta_size(model)
    return Term(value, jnp.zeros(k), jnp.zeros((k, k)), jnp.asarray(True), {})


def name_subjects(population: Population, which: Bool[np.ndarray, " N"]) -> str:
    """The subjects told by name, five at most."""
    names = [str(population.ids[i]) for i in np.flatnonzero(which)]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"subject {', '.join(names[:5])}{more}"
