"""Methods that maximise one function of theta: a sum over subjects plus the log prior.

A final class says, for one subject, what is added to the log-likelihood and where eta ended (`subject`). The base
sums over subjects by `vmap`, in chunks where there are many.
"""

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree
from numpyro.distributions.distribution import validation_enabled

from ..base.bfgs import BFGS, Point
from ..base.compiling import compiled
from ..base.newton import Newton
from ..data.population import Population
from ..data.subject import Subject
from ..effects.modes import empirical_bayes
from ..methods.limits import Limits
from ..methods.method import AT_BOUNDARY, NOT_ESTIMATED, Method, Outcome, Problem, State
from ..model.densities import eta_mean, eta_size, observation_density, refuse_impossible
from ..model.model import Model
from ..model.numbers import entries
from ..model.space import coordinates, free_vector, log_prior, model_at, set_free

_LARGEST_CHUNK = 32  # subjects evaluated at once: more do not fit a core's cache, and all wait for the slowest search


class Term(NamedTuple):
    """What one subject adds to an objective.

    `value` is its (approximate) log-likelihood, `eta` its random effects with minus the Hessian `precision` there,
    `converged` whether its inner search ended, `details` numbers worth reporting for each subject.
    """

    value: Float[Array, ""]
    eta: Float[Array, " K"]
    precision: Float[Array, "K K"]
    converged: Any
    details: dict[str, Array]


class Batches(NamedTuple):
    """A population cut into chunks of equal size; the last is filled up with subjects of weight zero.

    Subjects with many records stand together, so that those with few need not wait for them; `place` (N,) tells where
    each subject of the population stands.
    """

    subjects: Subject
    extras: PyTree
    weights: Array
    place: Array


class Memory(NamedTuple):
    """What an objective keeps between steps."""

    point: Point
    batches: Batches
    limits: Limits


class Objective(Method):
    """Base of the methods that maximise sum_i l_i(theta) + log p(theta) over the free parameters.

    `scale_limit` bounds every positive quantity to that factor below and above its starting value: a parameter
    that gets there shows that the objective has no maximum inside. Up to `forward_up_to` free parameters the gradient
    is taken forward, which compiles faster and, through an ODE, runs faster; with more, as in a network, in reverse.
    """

    finds_modes: ClassVar[bool] = True
    optimiser: BFGS = eqx.field(default=BFGS(), kw_only=True)
    newton: Newton = eqx.field(default=Newton(), kw_only=True)
    scale_limit: float = eqx.field(default=1e6, kw_only=True)
    forward_up_to: int = eqx.field(default=16, kw_only=True)

    @abc.abstractmethod
    def subject(self, model: Model, subject: Subject, extra: PyTree) -> Term:
        """The term of one subject."""

    def extras(self, model: Model, population: Population, key: PRNGKeyArray | None) -> PyTree:
        """What `subject` needs for each subject besides its data: arrays with a leading axis, or None."""

    def evaluations(self, model: Model) -> int:
        """How many times one subject's density is evaluated at once; it bounds the chunk."""
        return 1

    def check(self, problem: Problem) -> None:
        """Raise ValueError where the method cannot serve the model; called before anything is compiled."""

    def rehearse(self, problem: Problem) -> None:
        """Raise what the first evaluation would raise, for methods that evaluate it at their very end."""
        self.check(problem)

    def init(self, problem: Problem) -> State:
        self.check(problem)
        batches = self.batches(problem.model, problem.population, problem.key)
        x = free_vector(problem.model, problem.fixed)
        limits = Limits(coordinates(problem.model, problem.fixed), x, self.scale_limit, len(problem.population))
        point = self.optimiser.init(partial(self._mean_loss, problem, batches), x)
        if not np.isfinite(point.value):
            self._refuse_start(problem, batches, x)
        return self._state(problem, 0, Memory(point, batches, limits))

    def step(self, problem: Problem, state: State) -> State:
        memory: Memory = state.memory
        loss, limits = partial(self._mean_loss, problem, memory.batches), memory.limits
        point = self.optimiser.step(loss, memory.point, limits.bounds)
        if limits.reached(point):
            point, limits = limits.stop(self.optimiser, point, loss)
        elif point.converged and self.likelihood:
            point, limits = limits.look_at_zero(self.optimiser, point, loss)
        if not point.done and state.iteration + 1 >= (most := self.optimiser.max_iterations):
            worst = coordinates(problem.model, problem.fixed)[int(np.argmax(np.abs(point.gradient)))].label
            climbing = f"stopped after {most} iterations, with the objective still climbing in {worst}"
            advice = "start closer, fix a parameter, or allow more iterations"
            point = dataclasses.replace(point, done=True, message=f"{climbing}: {advice}")
        return self._state(problem, state.iteration + 1, memory._replace(point=point, limits=limits))

    def finish(self, problem: Problem, state: State) -> Outcome:
        memory: Memory = state.memory
        _, gradient, prior, terms = evaluate(self, problem.model, problem.fixed, memory.point.x, memory.batches)
        # Where the gradient is exactly zero, the objective does not use the parameter.
        boundary, slopes = memory.limits.boundary, np.asarray(gradient)
        status = [AT_BOUNDARY if i in boundary else "" if slope else NOT_ESTIMATED for i, slope in enumerate(slopes)]
        return self.outcome(problem, state, terms, float(prior), status, tuple(boundary.values()))

    def outcome(
        self, problem: Problem, state: State, terms: Term, prior: float, status: Sequence[str], remarks: tuple = ()
    ) -> Outcome:
        """What is reported of a state's model, given the terms of every subject and the log prior there."""
        terms = jax.tree.map(np.asarray, terms)
        eta, covariance = self.modes(state.model, problem.population, terms)
        if not np.all(terms.converged):
            lost = name_subjects(problem.population, ~terms.converged)
            remarks += (f"the search for the random effects did not end for {lost}.",)
        found, ended = (float(np.sum(terms.value)), prior, eta, covariance), (state.converged, state.message)
        return Outcome(state.model, *found, *ended, tuple(status), remarks, dict(terms.details))

    def information(self, problem: Problem, model: Model) -> Float[np.ndarray, "P P"]:
        """Minus the Hessian of the objective in the free coordinates, by central differences of its exact gradient.

        It reuses the program the fit compiled, so it costs evaluations but no compilation.
        """
        batches = self.batches(model, problem.population, problem.key)
        x = free_vector(model, problem.fixed)
        step = 1e-4 * np.maximum(1.0, 1e-2 * np.abs(x))
        rows = []
        for i, move in enumerate(np.diag(step)):
            up, down = (evaluate(self, model, problem.fixed, at, batches)[1] for at in (x + move, x - move))
            rows.append(-(np.asarray(up) - np.asarray(down)) / (2 * step[i]))
        hessian = np.stack(rows) if rows else np.zeros((0, 0))
        return 0.5 * (hessian + hessian.T)

    def terms(self, model: Model, population: Population, key: PRNGKeyArray | None = None) -> Term:
        """The terms of every subject at given parameters, without derivatives."""
        self.check(Problem(model, population, key, ()))
        return _terms(self, model, self.batches(model, population, key))

    def modes(self, model: Model, population: Population, terms: Term) -> tuple[np.ndarray, np.ndarray]:
        """Empirical Bayes estimates and their covariance: from the terms where they hold them."""
        if self.finds_modes:
            return np.asarray(terms.eta), inverse_precision(np.asarray(terms.precision))
        eta, covariance = empirical_bayes(model, population, self.newton)
        return np.asarray(eta), np.asarray(covariance)

    def batches(self, model: Model, population: Population, key: PRNGKeyArray | None) -> Batches:
        """The population, with its extras, in chunks: leading axes (chunks, subjects of a chunk)."""
        count = len(population)
        chunks, size = self.chunks(model, population, count)
        order = np.arange(count) if chunks == 1 else np.argsort(-_length(population), kind="stable")
        place = jnp.asarray(np.argsort(order))
        order = np.concatenate([order, np.full(chunks * size - count, order[-1])])

        def cut(leaf):  # by NumPy, which compiles nothing
            leaf = leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)
            return jax.device_put(leaf[order].reshape(chunks, size, *leaf.shape[1:]))

        subjects, extras = jax.tree.map(cut, (population.subjects, self.extras(model, population, key)))
        weights = jnp.asarray(np.arange(chunks * size) < count, float).reshape(chunks, size)
        return Batches(subjects, extras, weights, place)

    def chunks(self, model: Model, population: Population, count: int) -> tuple[int, int]:
        """How many chunks `count` of the subjects are cut into, and of how many subjects each."""
        # All of a chunk wait for its longest subject: the longer that is, the fewer.
        largest = min(_LARGEST_CHUNK, _LARGEST_CHUNK * 64 // max(1, int(_length(population).max())))
        chunks = math.ceil(count / max(1, largest // max(1, self.evaluations(model) // 2000)))
        return chunks, math.ceil(count / chunks)

    def _mean_loss(self, problem: Problem, batches: Batches, x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient, _, _ = evaluate(self, problem.model, problem.fixed, x, batches)
        count = len(problem.population)
        loss, slope = -float(value) / count, -np.asarray(gradient, float) / count
        return (loss, slope) if np.all(np.isfinite(slope)) else (np.inf, np.zeros_like(slope))

    def _state(self, problem: Problem, iteration: int, memory: Memory) -> State:
        point, count = memory.point, len(problem.population)
        model = model_at(problem.model, problem.fixed, point.x)
        slope = float(np.max(np.abs(point.gradient), initial=0.0)) * count
        how = point.done, point.converged, point.message
        return State(iteration, model, -point.value * count, slope, point.evaluations, *how, memory)

    def _refuse_start(self, problem: Problem, batches: Batches, x: np.ndarray) -> NoReturn:
        """Say why the objective is not finite at the starting values."""
        _, gradient, prior, terms = evaluate(self, problem.model, problem.fixed, x, batches)
        refuse_start(problem, prior, terms.value)
        worst = coordinates(problem.model, problem.fixed)[int(np.flatnonzero(~np.isfinite(gradient))[0])].label
        where = f"the derivative of the log-likelihood with respect to {worst} is not finite at the starting values"
        raise ValueError(f"{where}: look for a square root, a logarithm or a power at exactly zero in the model.")


def refuse_start(problem: Problem, prior: Array, values: Float[Array, " N"]) -> None:
    """Raise ValueError, saying why, where the log prior or a subject's log-likelihood is not finite at the start."""
    if not np.isfinite(prior):
        raise ValueError("the log prior is not finite at the starting values: start inside the priors' support.")
    bad = np.flatnonzero(~np.isfinite(values))
    if not bad.size:
        return
    who, subject = problem.population.ids[bad[0]], problem.population[int(bad[0])]
    try:  # outside of a compiled program, a solver of differential equations says what went wrong
        with validation_enabled(False):
            observation_density(problem.model, eta_mean(problem.model), subject)
    except ValueError as error:
        at = ", ".join(f"{entry.label} = {float(entry.value(problem.model)):.4g}" for entry in entries(problem.model))
        raise ValueError(f"subject {who}, at {at}: {error}") from None
    refuse_impossible(problem.model, subject, who)
    causes = "an error of zero (proportional, where the prediction is 0), a power or logarithm of 0 (take "
    causes += "jnp.maximum(c, 1e-12)), a response outside the density's support, or a starting value far off"
    where = f"the log-likelihood of subject {who} is not finite at the starting values"
    raise ValueError(f"{where}: look for {causes}.")


def name_subjects(population: Population, which: Bool[np.ndarray, " N"]) -> str:
    """The subjects told by name, five at most."""
    names = [str(population.ids[i]) for i in np.flatnonzero(which)]
    return f"subject {', '.join(names[:5])}" + f" and {len(names) - 5} more" * (len(names) > 5)


def _length(population: Population) -> Int[np.ndarray, " N"]:
    """Rows and doses of each subject: what it costs."""
    return population.rows + np.count_nonzero(np.asarray(population.subjects.doses.amount), axis=1)


def _total(objective: Objective, model: Model, subjects: Subject, extras: PyTree, weights: Array) -> tuple[Array, Term]:
    terms = jax.vmap(lambda subject, extra: objective.subject(model, subject, extra))(subjects, extras)
    return jnp.sum(weights * terms.value), terms


def evaluation(
    objective: Objective, template: Model, fixed: tuple[str, ...], x: Array, batches: Batches
) -> tuple[Array, Array, Array, Term]:
    """Objective, its gradient in the free coordinates, the log prior, and every subject's term: one program."""

    def chunk(x, batch):
        return _total(objective, set_free(template, fixed, x), *batch)

    log_p, slope = jax.value_and_grad(lambda x: log_prior(set_free(template, fixed, x), fixed))(x)
    with_gradient = jax.value_and_grad(chunk, has_aux=True)
    if x.size <= objective.forward_up_to and objective.evaluations(template) == 1:
        with_gradient = _value_and_forward_gradient(chunk)
    if batches.weights.shape[0] == 1:
        (value, terms), gradient = with_gradient(x, jax.tree.map(lambda leaf: leaf[0], batches[:3]))
        return value + log_p, gradient + slope, log_p, terms

    def accumulate(total, batch):
        (value, terms), gradient = with_gradient(x, batch)
        return (total[0] + value, total[1] + gradient), terms

    (value, gradient), terms = jax.lax.scan(accumulate, (log_p, slope), batches[:3])
    return value, gradient, log_p, _join_chunks(terms, batches.place)


def _value_and_forward_gradient(function: Callable) -> Callable:
    """`jax.value_and_grad(function, has_aux=True)` by forward derivatives."""

    def twice(x, *args):
        value, aux = function(x, *args)
        return value, (value, aux)

    return lambda *args: jax.jacfwd(twice, has_aux=True)(*args)[::-1]


evaluate = compiled(evaluation)


@compiled
def _terms(objective: Objective, model: Model, batches: Batches) -> Term:
    terms = jax.lax.map(lambda batch: _total(objective, model, *batch)[1], batches[:3])
    return _join_chunks(terms, batches.place)


def inverse_precision(precision: np.ndarray) -> np.ndarray:
    """Inverse of each matrix; where one is singular, infinite variance: the subject's data say nothing there."""
    out = np.full(precision.shape, np.nan)
    for i, matrix in enumerate(precision):
        try:
            out[i] = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            out[i] = np.diag(np.full(len(matrix), np.inf))
    return out


def _join_chunks(terms: PyTree, place: Array) -> PyTree:
    """The terms in the order of the population, without those that fill up the last chunk."""
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])[place], terms)


def no_modes(model: Model, value: Array) -> Term:
    """The term of a method that does not look for eta."""
    k = eta_size(model)
    return Term(value, jnp.zeros(k), jnp.zeros((k, k)), jnp.asarray(True), {})
