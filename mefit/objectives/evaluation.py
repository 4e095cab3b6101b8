"""Objectives summed over subjects: values, gradients and information, in chunks where there are many."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..base import devices
from ..base.compiling import compiled_for_devices
from ..base.dealing import dealt_out
from ..base.scales import measure_curvature
from ..base.sides import sides
from ..base.small_matrices import inverse_precision
from ..data.population import Population
from ..data.subject import Subject
from ..effects.modes import modes
from ..model.densities import eta_size
from ..model.model import Model
from ..model.space import Space
from . import mixture
from .natural_scale import natural_scale
from .objective import Objective, Term
from .peaks import searched_thoroughly
from .turns import with_turns

# Subjects evaluated at once. On a core the objective says: more do not fit its cache, and all wait for the slowest
# search. On a GPU: what it does at once costs next to nothing, and each chunk the same (FOCE, 1,000 subjects in chunks
# of 32: 181 microseconds a subject and evaluation; 100,000 in chunks of 32,768: 1.3; one H200).
_LARGEST_CHUNK_ON_A_GPU = 32_768
_CHUNKS_THAT_PAY = 8  # for each device
_UNROLLED = 8  # chunks, whose numbers are added without a loop: a loop takes longer than so few additions

_NEARBY = 0.25  # SDs of the prior from its mean, where a search begins that ended on another peak than the fit's
_JUMP = 0.01  # nats: what slopes do not explain of the move of an objective
_BENT = 0.1  # of what the change of its slope explains

Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]


class Batches(NamedTuple):
    """A population cut into chunks of equal size; the last is filled up with subjects of weight zero.

    Subjects with many records stand together, so that those with few need not wait for them.
    """

    subjects: Subject
    extras: PyTree
    weights: Array  # how often each subject counts
    place: Array  # (N,), where each subject of the population stands
    # (K,), how far beside the mean of the random effects the searches for modes begin, in SDs; the mean itself
    aside: Any = None
    mesh: Any = None  # the devices that the chunks are dealt out to; None where there is one


def batches_of(
    objective: Objective,
    model: Model,
    population: Population,
    key: PRNGKeyArray | None,
    weights: Float[np.ndarray, " N"] | None = None,
) -> Batches:
    """The population, with the objective's extras, in chunks: leading axes (chunks, subjects of a chunk).

    `weights` say how often each subject counts: once, unless given. Where several devices pay, they are dealt the
    chunks one after the other, so that each has its share of long and short subjects.
    """
    count = len(population)
    chunks, size = chunks_of(objective, model, population, count)
    mesh = devices.mesh_of(chunks, _CHUNKS_THAT_PAY)
    dealt = devices.count_of(mesh)
    chunks = dealt * math.ceil(chunks / dealt)
    order = np.arange(count) if chunks == 1 else np.argsort(-_length(population), kind="stable")
    place = jnp.asarray(np.argsort(order))
    dealing = dealing_of(chunks, mesh)
    stands = np.arange(chunks * size).reshape(chunks, size)[dealing].ravel()  # which of all subjects, in their order
    filled = order[np.minimum(stands, count - 1)]

    def cut(leaf):  # by NumPy, which compiles nothing
        leaf = leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)
        return devices.shared_out(mesh, leaf[filled].reshape(chunks, size, *leaf.shape[1:]))

    extras = mixture.extras_of(objective, model, population, key)
    given = np.ones(count) if weights is None else np.asarray(weights, float)
    return Batches(
        subjects=jax.tree.map(cut, population.subjects),
        extras=jax.tree.map(cut, extras),
        weights=devices.shared_out(mesh, np.where(stands < count, given[filled], 0.0).reshape(chunks, size)),
        place=place,
        aside=np.zeros(eta_size(model)),
        mesh=mesh,
    )


def dealing_of(chunks: int, mesh: Any) -> Int[np.ndarray, " chunks"]:
    """Which chunk stands where, so that those side by side are dealt out among the devices one after the other."""
    return np.arange(chunks).reshape(-1, devices.count_of(mesh)).T.ravel()


def _of_chunks(batches: Batches, work: Callable[[Any, Any], Any], everywhere: Any) -> Any:
    """`work(everywhere, chunk)` for one chunk after the other, on each device for those that it was dealt.

    What comes out has the chunks in their order, however many devices there are, so that sums over them are the same.
    """

    def dealt(everywhere: Any, chunks: Any) -> Any:
        return jax.lax.map(lambda chunk: work(everywhere, chunk), chunks)

    outcome = dealt_out(batches.mesh, dealt, everywhere, batches[:3], together=True)
    if batches.mesh is None:
        return outcome
    count = devices.count_of(batches.mesh)

    def in_order(leaf):
        return leaf.reshape(count, leaf.shape[0] // count, *leaf.shape[1:]).swapaxes(0, 1).reshape(leaf.shape)

    return jax.tree.map(in_order, outcome)


def _added(start: Any, numbers: Any) -> Any:
    """`start` and the numbers of all chunks, one after the other."""
    chunks = len(jax.tree.leaves(numbers)[0])
    unroll = chunks if chunks <= _UNROLLED else 1
    return jax.lax.scan(lambda a, b: (jax.tree.map(jnp.add, a, b), None), start, numbers, unroll=unroll)[0]


def _beginning(objective: Objective, batches: Batches) -> Objective:
    """The objective, its searches for modes beginning where the batches say."""
    if batches.aside is None:
        return objective
    return dataclasses.replace(objective, newton=dataclasses.replace(objective.newton, aside=batches.aside))


def chunks_of(objective: Objective, model: Model, population: Population, count: int) -> tuple[int, int]:
    """How many chunks `count` of the subjects are cut into, and of how many subjects each."""
    # All of a chunk wait for its longest subject: the longer that is, the fewer.
    longest = max(1, int(_length(population).max()))
    most = objective.at_once if jax.default_backend() == "cpu" else _LARGEST_CHUNK_ON_A_GPU
    largest = min(most, most * 64 // longest)
    crowded = max(1, mixture.evaluations_of(objective, model) // 2000)
    chunks = math.ceil(count / max(1, largest // crowded))
    return chunks, math.ceil(count / chunks)


def _length(population: Population) -> Int[np.ndarray, " N"]:
    """Rows and doses of each subject: what it costs."""
    return population.rows + np.count_nonzero(np.asarray(population.subjects.doses.real), axis=1)


def evaluation(
    objective: Objective,
    space: Space,
    x: Float[Array, " P"],
    batches: Batches,
    told: Callable[[Term], Any] = lambda term: term,
) -> tuple[Float[Array, ""], Float[Array, " P"], Float[Array, ""], Any]:
    """Objective, its gradient in the free coordinates, the log prior, and what is `told` of every subject's term."""
    objective = _beginning(objective, batches)

    def of_chunk(*args: Any) -> tuple[Array, Any]:
        value, terms = _of_chunk(*args)
        return value, told(terms)

    with_gradient = value_and_gradient(objective, space, x.size)(of_chunk)
    log_p, slope = jax.value_and_grad(space.log_prior)(x)
    if batches.weights.shape[0] == 1:
        (value, terms), gradient = with_gradient(x, objective, space, jax.tree.map(lambda leaf: leaf[0], batches[:3]))
        return value + log_p, gradient + slope, log_p, terms

    def work(everywhere: Any, chunk: Any) -> Any:
        objective, space, x = everywhere
        (value, terms), gradient = with_gradient(x, objective, space, chunk)
        return (value, gradient), terms

    numbers, terms = _of_chunks(batches, work, (objective, space, x))
    value, gradient = _added((log_p, slope), numbers)
    return value, gradient, log_p, _join_chunks(terms, batches.place)


evaluate = compiled_for_devices(evaluation)


def prepare(objective: Objective, space: Space, population: Population, key: PRNGKeyArray | None) -> Batches:
    """What a later `evaluate` needs of the population. Meanwhile that begins to be compiled."""
    batches = batches_of(objective, space.template, population, key)
    evaluate.ahead(objective, space, space.vector(), batches)
    return batches


def _of_chunk(x: Array, objective: Objective, space: Space, chunk: Any) -> tuple[Array, Term]:
    return _total(objective.guided(space.guide_at(x)), space.at(x), *chunk)


def _total(objective: Objective, model: Model, subjects: Subject, extras: PyTree, weights: Array) -> tuple[Array, Term]:
    terms = jax.vmap(lambda subject, extra: mixture.term(objective, model, subject, extra))(subjects, extras)
    return jnp.sum(weights * terms.value), terms


def total(objective: Objective, model: Model, batches: Batches) -> Float[Array, ""]:
    """The objective without the prior, to be derived by others; the subjects one chunk after the other."""
    objective = _beginning(objective, batches)
    values = jax.lax.map(lambda batch: _total(objective, model, *batch)[0], batches[:3])
    return jnp.sum(values)


def value_and_gradient(objective: Objective, space: Space, size: int) -> Callable[[Callable], Callable]:
    """`jax.value_and_grad(..., has_aux=True)` of an objective in `size` free coordinates, the way that compiles faster.

    Scores by Laplace on theophylline: 2.5 CPU seconds forward, 4.6 in reverse.
    """
    if size <= objective.forward_up_to and mixture.evaluations_of(objective, space.template) == 1:
        return _value_and_forward_gradient
    return lambda function: jax.value_and_grad(function, has_aux=True)


def _value_and_forward_gradient(function: Callable) -> Callable:
    """`jax.value_and_grad(function, has_aux=True)` by forward derivatives."""

    def twice(x, *args):
        value, aux = function(x, *args)
        return value, (value, aux)

    return lambda *args: jax.jacfwd(twice, has_aux=True)(*args)[::-1]


def mean_loss(objective: Objective, space: Space, batches: Batches, count: int) -> Loss:
    """Minus the objective over the number of subjects, and its gradient: infinite, and flat, where it is no number."""

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient, _, _ = evaluate(objective, space, x, batches)
        slope = -np.asarray(gradient, float) / count
        if not np.all(np.isfinite(slope)):
            return np.inf, np.zeros_like(slope)
        return -float(value) / count, slope

    return loss


def information(
    objective: Objective, space: Space, population: Population, key: PRNGKeyArray | None
) -> Float[np.ndarray, "P P"]:
    """Minus the Hessian of the objective at the space's template.

    By automatic derivatives where nothing is searched, so that they are exact; else by central differences of the exact
    gradient, which reuse the program that a fit compiled, and so cost evaluations but no compilation. The steps are a
    small part of each coordinate's scale, whatever its unit. Where a subject's joint density has several peaks, a small
    step may send its search to another: such a step is taken again, the searches beginning elsewhere.
    """
    count = len(population)
    x = space.vector()
    batches = batches_of(objective, space.template, population, key)
    if objective.derived_twice:
        hessian = np.asarray(_hessian(objective, space, x, batches))
        return -0.5 * (hessian + hessian.T)
    loss = mean_loss(objective, space, batches, count)
    value, gradient = loss(x)
    directions = [np.zeros(eta_size(space.template)), *sides(eta_size(space.template), _NEARBY)]
    begun = [mean_loss(objective, space, batches._replace(aside=aside), count) for aside in directions]
    loss = _without_jumps(begun, x, value, gradient, _JUMP / count)
    sizes = space.sizes._replace(measured=np.ones(x.size, bool))
    curvature = measure_curvature(loss, x, gradient, sizes, central=True)
    if np.any(curvature.flat & np.isinf(sizes.most)):  # a number with a unit, whose estimate is close to zero
        sizes = sizes._replace(guess=natural_scale(space, population))
        curvature = measure_curvature(loss, x, gradient, sizes, central=True)
    return count * curvature.matrix


def _without_jumps(losses: list[Loss], x: np.ndarray, value: float, slope: np.ndarray, jump: float) -> Loss:
    """Of losses that differ in where searches for modes begin, at each place the first that comes there from x without
    a jump: which moves by the mean of its slopes at both ends, as a smooth function does. Where all jump, the first."""

    def loss(moved: np.ndarray) -> tuple[float, np.ndarray]:
        step = moved - x
        found = [losses[0](moved)]
        for other in [*losses[1:], None]:
            there, steeper = found[-1]
            unexplained = abs(there - value - 0.5 * step @ (slope + steeper))
            if unexplained <= jump + _BENT * abs(step @ (steeper - slope)):
                return found[-1]
            if other is not None:
                found.append(other(moved))
        return found[0]

    return loss


@compiled_for_devices
def _hessian(objective: Objective, space: Space, x: Array, batches: Batches) -> Float[Array, "P P"]:
    """The Hessian of the objective and the prior: a chunk after the other and a column after the other, so that the
    memory is that of a gradient."""

    def columns(slope: Callable[[Array], Array], x: Array) -> Array:
        return jax.lax.map(lambda direction: jax.jvp(slope, (x,), (direction,))[1], jnp.eye(x.size))

    def work(everywhere: Any, chunk: Any) -> Array:
        objective, space, x = everywhere
        return columns(jax.grad(lambda x: _of_chunk(x, objective, space, chunk)[0]), x)

    return _added(columns(jax.grad(space.log_prior), x), _of_chunks(batches, work, (objective, space, x)))


def terms_of(objective: Objective, model: Model, population: Population, key: PRNGKeyArray | None = None) -> Term:
    """The terms of every subject at given parameters, without derivatives; modes are searched thoroughly."""
    objective = searched_thoroughly(objective)
    mixture.check(objective, model, population)
    batches = batches_of(objective, model, population, key)
    terms = _terms(objective, model, batches)
    return with_turns(objective, terms, batches, lambda turned: _terms(objective, model, turned))


@compiled_for_devices
def _terms(objective: Objective, model: Model, batches: Batches) -> Term:
    objective = _beginning(objective, batches)
    terms = _of_chunks(batches, lambda known, chunk: _total(*known, *chunk)[1], (objective, model))
    return _join_chunks(terms, batches.place)


def modes_of(
    objective: Objective, model: Model, population: Population, terms: Term
) -> tuple[Float[np.ndarray, "N K"], Float[np.ndarray, "N K K"], np.ndarray]:
    """Empirical Bayes estimates, their covariance, and which searches ended: from the terms where they hold them."""
    if objective.finds_modes:
        covariance = inverse_precision(np.asarray(terms.precision))
        return np.asarray(terms.eta), covariance, np.asarray(terms.converged)
    thorough = dataclasses.replace(objective.newton, thorough=True)
    mode = jax.tree.map(np.asarray, modes(model, population.subjects, thorough))
    return mode.eta, inverse_precision(mode.precision), np.asarray(terms.converged) & mode.converged


def _join_chunks(terms: Any, place: Array) -> Any:
    """The terms in the order of the population, without those that fill up the last chunk."""

    def join(leaf):
        return leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])[place]

    return jax.tree.map(join, terms)
