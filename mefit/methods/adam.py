"""Training: Adam on a marginal likelihood, for models with a network in them."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Float

from ..base.chance import seed_of
from ..base.compiling import compiled
from ..base.newton import Newton
from ..data.population import Population
from ..effects.gauss_newton import GaussNewton
from ..effects.starts import spread_over_prior
from ..model.densities import eta_mean
from ..model.model import Model
from ..model.space import free_vector, model_at, prior_of
from ..objectives.linearised import FOCE
from ..objectives.objective import Batches, Objective, evaluation
from .method import NOT_ESTIMATED, Method, Outcome, Problem, State

_LOOKS = 4  # other places than its last mode where a subject's search may begin, at every step


class Progress(NamedTuple):
    """What one step hands to the next: all that is needed to go on as if it had not stopped."""

    x: Float[Array, " P"]
    sound: Float[Array, " P"]  # the last x at which the objective was a number
    moments: Any  # Adam's
    starts: Float[Array, "N K"]  # the last modes, from which the next are searched
    done: Array  # steps


class Memory(NamedTuple):
    """What a training keeps: where it is, the best so far, and (step, objective, held-out log-likelihood) a block."""

    progress: Progress
    best: np.ndarray
    best_score: float = -np.inf
    best_step: int = 0
    curve: tuple[tuple[int, float, float], ...] = ()
    skipped: int = 0


class _Warm(Objective):
    """The objective with every mode searched by few steps; `extras` are its own, and the points to begin at one of."""

    inner: Objective

    def subject(self, model, subject, extra):
        own, starts = extra
        newton = dataclasses.replace(self.newton, starts=starts)
        return dataclasses.replace(self.inner, newton=newton).subject(model, subject, own)


class Adam(Method):
    """Maximise a marginal likelihood (plus log prior) by Adam, many steps to one compiled program.

    `objective` is what is maximised: `FOCE()`, `Laplace()`, `AGQ()`, `Variational()` ... A step moves the free
    coordinates at a rate that falls from `learning_rate` to zero as half a cosine over `steps`. Each subject's mode is
    searched by the few steps of `newton` (None: three of `GaussNewton` for FOCE, five of `Newton` for others) from
    where it was a step ago, or from one of a few points of the prior that change from step to step, where one of them
    is better. Where a result is reported it is searched afresh, to the objective's own tolerance. A step onto a value
    that is not a number is taken back, by three quarters at a time, and counted.

    `batch` subjects make a step (None: all); in every pass each is drawn once, and their sum counts N / batch fold.
    `held_out` is a population that is not trained on. Its log-likelihood is evaluated every `block` steps, the model
    that was best on it is the one kept, and training ends after `patience` blocks without a better one.
    To go on to the very maximum by quasi-Newton steps, fit again from `fit.model` by the objective itself.
    `resume` is an earlier fit by this method, interrupted: training goes on from it exactly as if it had not stopped.

    `details["curve"]` is a data frame: step, objective (log-likelihood plus log prior) and the mean log-likelihood of a
    held-out subject. Raises ValueError where the objective cannot serve the model, or a number is out of range.
    Sources: Kingma and Ba (2015), ICLR, algorithm 1; the cosine: Loshchilov and Hutter (2017), ICLR.
    """

    objective: Objective = FOCE()
    steps: int = 1000
    learning_rate: float = 0.02
    batch: int | None = None
    held_out: Population | None = None
    patience: int = 10
    block: int = 50
    newton: Newton | None = None
    resume: Any = None

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"{self.objective.label} by Adam"

    @property
    def likelihood(self) -> bool:  # type: ignore[override]
        return self.objective.likelihood

    @property
    def random(self) -> bool:  # type: ignore[override]
        return self.objective.random or self.batch is not None

    def init(self, problem: Problem) -> State:
        count = len(problem.population)
        if min(self.steps, self.block, self.patience) < 1 or self.learning_rate <= 0:
            raise ValueError("Adam needs one or more steps, in blocks of one or more, and a positive learning_rate.")
        if self.batch is not None and not 1 <= self.batch <= count:
            raise ValueError(f"Adam's batch of {self.batch} subjects must be between 1 and {count}, which is all.")
        self.objective.check(problem)
        x = jnp.asarray(free_vector(problem.model, problem.fixed))
        starts = jnp.tile(eta_mean(problem.model), (count, 1))
        memory = Memory(Progress(x, x, optax.scale_by_adam().init(x), starts, jnp.zeros((), int)), np.asarray(x))
        if self.resume is not None:
            memory = self.resume.details["training"]
            if memory.progress.x.shape != x.shape or memory.progress.starts.shape != starts.shape:
                raise ValueError("Adam cannot resume a fit of another model or population: leave resume out.")
        return self._state(problem, memory)

    def step(self, problem: Problem, state: State) -> State:
        memory: Memory = state.memory
        model, population, done = problem.model, problem.population, int(memory.progress.done)
        data = population.subjects, self.objective.extras(model, population, problem.key)
        gauss = isinstance(self.objective, FOCE) and self.objective.interaction
        newton = self.newton or (GaussNewton() if gauss else Newton(tolerance=1e-4, max_steps=6))
        about = _Warm(inner=self.objective, newton=newton), model, problem.fixed, data
        progress, values = _block(about, memory.progress, *self._schedule(problem, done))
        values = np.asarray(values)[: self.steps - done]
        if done == 0 and not np.isfinite(values[0]):
            self.objective.init(problem)  # which says what is wrong with the start
        if not np.any(np.isfinite(values)):
            message = f"stopped after {state.iteration} steps: the objective is not a number; lower learning_rate"
            return dataclasses.replace(state, done=True, message=message)
        held_out = np.nan
        if self.held_out is not None:
            model = model_at(problem.model, problem.fixed, progress.sound)
            held_out = float(np.mean(self.objective.terms(model, self.held_out, problem.key).value))
        if self.held_out is None or held_out > memory.best_score:
            memory = memory._replace(best=np.asarray(progress.sound), best_score=held_out, best_step=int(progress.done))
        row = (int(progress.done), float(np.nanmean(values) if self.batch else values[-1]), held_out)
        skipped = memory.skipped + int(np.sum(~np.isfinite(values)))
        memory = memory._replace(progress=progress, curve=(*memory.curve, row), skipped=skipped)
        return self._state(problem, memory)

    def finish(self, problem: Problem, state: State) -> Outcome:
        memory: Memory = state.memory
        terms = self.objective.terms(state.model, problem.population, problem.key)
        unmoved = np.asarray(memory.progress.x) == free_vector(problem.model, problem.fixed)
        status = [NOT_ESTIMATED if still else "" for still in unmoved]
        prior = float(prior_of(state.model, problem.fixed))
        outcome = self.objective.outcome(problem, state, terms, prior, status)
        curve = pd.DataFrame(list(memory.curve), columns=["step", "objective", "held_out"]).set_index("step")
        details = outcome.details | {"curve": curve, "training": memory}
        remarks = outcome.remarks
        if memory.skipped:
            steps = f"{memory.skipped} steps met a value that is not a number, and were taken back"
            remarks += (f"{steps}: lower learning_rate if they are many.",)
        return dataclasses.replace(outcome, remarks=remarks, details=details)

    def information(self, problem: Problem, model: Model) -> Float[np.ndarray, "P P"]:
        return self.objective.information(problem, model)

    def _schedule(self, problem: Problem, done: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each step of the next block: the rate, the subjects in chunks, and what each of them counts."""
        count, size = len(problem.population), self.batch or len(problem.population)
        ahead = np.arange(done, done + self.block)  # all blocks are one program: past the last step, rates are 0
        rates = self.learning_rate * 0.5 * (1.0 + np.cos(np.pi * np.minimum(ahead / self.steps, 1.0)))
        chosen = np.tile(np.arange(count), (len(ahead), 1))
        if self.batch is not None:
            seed = seed_of(problem.key)
            a_pass = count // size
            orders = {p: np.random.default_rng([*seed, p]).permutation(count) for p in {*(ahead // a_pass)}}
            chosen = np.stack([orders[s // a_pass][(s % a_pass) * size :][:size] for s in ahead])
        shape = self.objective.chunks(problem.model, problem.population, size)
        filled = np.resize(np.arange(size), shape[0] * shape[1])
        weights = np.where(np.arange(filled.size) < size, count / size, 0.0).reshape(shape)
        return rates, chosen[:, filled].reshape(-1, *shape), weights

    def _state(self, problem: Problem, memory: Memory) -> State:
        done = int(memory.progress.done)
        waited = (done - memory.best_step) // self.block
        stopped = self.held_out is not None and waited >= self.patience
        message, note = f"trained for {done} steps", ""
        if self.held_out is not None:
            message += f"; the best on held-out subjects came at step {memory.best_step}"
            note = f", held out: {memory.curve[-1][2]:.4f} a subject" if memory.curve else ""
        over = stopped or done >= self.steps
        model = model_at(problem.model, problem.fixed, memory.best)
        value = memory.curve[-1][1] if memory.curve else np.nan
        return State(done, model, value, np.nan, done, over, over, message if over else "", memory, note)


@compiled
def _block(about: tuple, progress: Progress, rates: Array, chosen: Array, weights: Array) -> tuple[Progress, Array]:
    """One step of Adam for each rate: the progress, and the objective before each step."""
    objective, template, fixed, data = about
    adam, looks = optax.scale_by_adam(), spread_over_prior(template, 64 * _LOOKS)

    def step(progress, inputs):
        rate, at = inputs
        subjects, extras = jax.tree.map(lambda leaf: leaf[at], data)
        # A mode may be a lesser peak: every step looks at a few other places, a few more each time.
        others = jax.lax.dynamic_slice_in_dim(looks, progress.done * _LOOKS % (len(looks) - _LOOKS + 1), _LOOKS)
        others = jnp.broadcast_to(others, (*at.shape, *others.shape))
        starts = jnp.concatenate([progress.starts[at][..., None, :], others], -2)
        batches = Batches(subjects, (extras, starts), weights, jnp.arange(at.size))
        value, gradient, _, terms = evaluation(objective, template, fixed, progress.x, batches)
        move, moments = adam.update(-gradient, progress.moments)
        sound = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
        found = jnp.where(jnp.isfinite(terms.eta), terms.eta, progress.starts[at.reshape(-1)])
        starts = progress.starts.at[at.reshape(-1)].set(found)
        onward = Progress(progress.x - rate * move, progress.x, moments, starts, progress.done)
        back = progress._replace(x=progress.sound + 0.25 * (progress.x - progress.sound))
        new = jax.tree.map(lambda a, b: jnp.where(sound, a, b), onward, back)
        new = jax.tree.map(lambda a, b: jnp.where(rate > 0.0, a, b), new, progress)
        return new._replace(done=progress.done + (rate > 0.0)), jnp.where(sound, value, jnp.nan)

    return jax.lax.scan(step, progress, (jnp.asarray(rates), jnp.asarray(chosen)))
