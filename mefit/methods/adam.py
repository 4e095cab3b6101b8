"""Training: Adam on a marginal likelihood, for models with a network in them."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from ..base.adam_steps import steps_of_adam
from ..base.chance import seed_of
from ..base.devices import count_of, mesh_of, on_each, on_none
from ..base.newton import ModeSearch, Newton
from ..data.population import Population
from ..effects.gauss_newton import GaussNewton
from ..model.densities import eta_mean
from ..model.free import prior_of
from ..model.space import Space
from ..objectives.amortised import Amortised
from ..objectives.evaluation import batches_of, chunks_of, terms_of
from ..objectives.linearised import FOCE
from ..objectives.natural_scale import training_scale
from ..objectives.objective import NOT_ESTIMATED, Objective
from ..objectives.sampled import ImportanceSampling
from ..objectives.sleeping import account
from .adam_block import Setting, block
from .maximise import Maximise, outcome_of, unused_coordinates
from .method import Ending, Info, Method, Outcome, Problem, State, Training

_CHUNKS_THAT_PAY = 1  # for each device: a step of two chunks took 1.2 to 1.6 times as long on one device as on two


class Progress(NamedTuple):
    """What one step hands to the next: all that is needed to go on as if it had not stopped."""

    x: Float[Array, " P"]
    sound: Float[Array, " P"]  # the last x at which the objective was a number
    moments: Any  # Adam's
    starts: Float[Array, "N K"]  # the last modes, from which the next are searched
    done: Array  # steps


class Memory(NamedTuple):
    """What a training keeps."""

    progress: Progress
    objective: Objective  # made ready for the model, with what it learns besides at its start
    best: np.ndarray  # the coordinates that were best on held-out subjects, or else the last
    scale: np.ndarray  # of each coordinate: the unit of its steps
    best_score: float = -np.inf
    best_step: int = 0
    curve: tuple[tuple[int, float, float], ...] = ()  # step, objective, held-out log-likelihood: a row a block
    skipped: int = 0  # steps that met a value that is no number
    mesh: Any = None  # the devices that the chunks of a step are dealt out to; None where there is one
    settled: tuple[Problem, Setting] | None = None  # what all blocks of this problem have in common


class _Warm(Objective):
    """The objective with every mode searched by few steps; `extras` are its own, and the points to begin at one of."""

    inner: Objective

    def guided(self, guide):
        return dataclasses.replace(self, inner=self.inner.guided(guide))

    def subject(self, model, subject, extra):
        own, starts = extra
        newton = dataclasses.replace(self.newton, starts=starts)
        return dataclasses.replace(self.inner, newton=newton).subject(model, subject, own)


class Adam(Method):
    """Maximise a marginal likelihood (plus log prior) by Adam, many steps to one compiled program.

    `objective` is what is maximised: `FOCE()`, `Laplace()`, `AGQ()`, `Variational()` ... A step moves the free
    coordinates at a rate that falls from `learning_rate` to zero as half a cosine over `steps`. Each subject's mode is
    searched by the few steps of `newton` (None: three Gauss-Newton steps for FOCE, six of `Newton` for others) from
    where it was a step ago, or from one of a few points of the prior that change from step to step, where one of them
    is better. Where a result is reported it is searched afresh, to the objective's own tolerance. A step onto a value
    that is not a number is taken back, by three quarters at a time, and counted.

    `batch` subjects make a step (None: all); in every pass each is drawn once, and their sum counts N / batch fold.
    `held_out` is a population that is not trained on. Its log-likelihood is evaluated every `block` steps, the model
    that was best on it is the one kept, and training ends after `patience` blocks without a better one. For `Amortised`
    it is by draws around each mode, not around the encoder's answer: theta is judged, and not what the encoder knows.
    To go on to the very maximum by quasi-Newton steps, fit again from `fit.model` by the objective itself.
    `resume` is an earlier fit by this method, interrupted: training goes on from it exactly as if it had not stopped.

    `fit.curve` is a data frame: step, objective (log-likelihood plus log prior) and the mean log-likelihood of a
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
    newton: ModeSearch | None = None
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

    @property
    def likelihood_by(self) -> Objective | None:
        return self.objective.reported if self.objective.likelihood else None

    @property
    def iterations(self) -> int:
        return self.steps

    def init(self, problem: Problem) -> State:
        count = len(problem.population)
        if min(self.steps, self.block, self.patience) < 1 or self.learning_rate <= 0:
            raise ValueError("Adam needs one or more steps, in blocks of one or more, and a positive learning_rate.")
        if self.batch is not None and not 1 <= self.batch <= count:
            raise ValueError(f"Adam's batch of {self.batch} subjects must be between 1 and {count}, which is all.")
        self.objective.check(problem.model, problem.population)
        objective = self.objective.prepared(problem.model, problem.population)
        space = _space(problem, objective)
        x = jnp.asarray(space.vector())
        starts = jnp.tile(eta_mean(problem.model), (count, 1))
        progress = Progress(
            x=x,
            sound=x,
            moments=steps_of_adam().init(x),
            starts=starts,
            done=jnp.zeros((), int),
        )
        scale = training_scale(space, problem.population)
        chunks, _ = chunks_of(self.objective, problem.model, problem.population, self.batch or count)
        mesh = mesh_of(chunks, _CHUNKS_THAT_PAY)
        memory = Memory(progress, objective, best=np.asarray(x), scale=scale, mesh=mesh)
        if self.resume is not None:
            memory = self.resume.training.memory._replace(objective=objective, mesh=mesh)
            if memory.progress.x.shape != x.shape or memory.progress.starts.shape != starts.shape:
                raise ValueError("Adam cannot resume a fit of another model or population: leave resume out.")
        memory = memory._replace(
            # Where the first block leaves it for the second, which would else be another program.
            progress=on_each(mesh, memory.progress),
            settled=(problem, self._setting(problem, memory)),
        )
        return self._state(problem, memory)

    def step(self, problem: Problem, state: State) -> State:
        memory: Memory = state.memory
        done = int(memory.progress.done)
        schedule = self._schedule(problem, done, count_of(memory.mesh))
        settled = memory.settled
        setting = settled[1] if settled and settled[0] is problem else self._setting(problem, memory)
        progress, values = block(setting, memory.progress, *schedule)
        values = np.asarray(values)[: self.steps - done]
        if done == 0 and not np.isfinite(values[0]):
            Maximise(memory.objective).init(problem)  # which says what is wrong with the start
        if not np.any(np.isfinite(values)):
            message = f"stopped after {state.iteration} steps: the objective is not a number; lower learning_rate"
            return dataclasses.replace(state, ending=Ending.FAILED, message=message)
        score = self._held_out_score(problem, memory.objective, progress)
        if self.held_out is None or score > memory.best_score:
            memory = memory._replace(best=np.asarray(progress.sound), best_score=score, best_step=int(progress.done))
        objective = float(np.nanmean(values) if self.batch else values[-1])
        memory = memory._replace(
            progress=progress,
            curve=(*memory.curve, (int(progress.done), objective, score)),
            skipped=memory.skipped + int(np.sum(~np.isfinite(values))),
        )
        return self._state(problem, memory)

    def finish(self, problem: Problem, state: State) -> Outcome:
        memory: Memory = state.memory
        trained = _learned(problem, memory.objective, memory.best)
        terms = terms_of(trained.reported, state.model, problem.population, problem.key)
        prior = float(prior_of(state.model, problem.fixed))
        outcome = outcome_of(trained.reported, problem, state, terms, prior)
        start = problem.space.vector()
        end = np.asarray(memory.progress.x)[: start.size]  # without what is learned beside the model
        unmoved = end == start
        if np.any(unmoved):  # it may only have begun where it is best
            batches = batches_of(trained, problem.model, problem.population, problem.key)
            unmoved &= unused_coordinates(trained, problem, batches, end)
        remarks = outcome.remarks
        if memory.skipped:
            remarks += (
                f"{memory.skipped} steps met a value that is not a number, and were taken back: "
                "lower learning_rate if they are many.",
            )
        told = self._amortised(problem, trained, outcome)
        if told:
            remarks += told["amortised"].remarks
        return dataclasses.replace(
            outcome,
            status=tuple(NOT_ESTIMATED if still else "" for still in unmoved),
            remarks=remarks,
            training=_training(memory),
            **told,
        )

    def _amortised(self, problem: Problem, trained: Objective, outcome: Outcome) -> dict[str, Any]:
        """What an outcome says besides, where an encoder was trained."""
        if not isinstance(trained, Amortised):
            return {}
        told = account(trained, outcome.model, problem.population, problem.key, outcome.log_likelihood)
        method = dataclasses.replace(self, objective=trained)
        return {"amortised": told, "method": method}

    def unfinished(self, problem: Problem, state: State) -> Outcome:
        return dataclasses.replace(super().unfinished(problem, state), training=_training(state.memory))

    def _setting(self, problem: Problem, memory: Memory) -> Setting:
        gauss = isinstance(self.objective, FOCE) and self.objective.interaction
        newton = self.newton or (GaussNewton() if gauss else Newton(tolerance=1e-4, max_steps=6))
        setting = Setting(
            objective=_Warm(inner=memory.objective, newton=newton),
            space=_space(problem, memory.objective),
            subjects=problem.population.subjects,
            extras=self.objective.extras(problem.model, problem.population, problem.key),
            scale=memory.scale,
            mesh=memory.mesh,
        )
        return on_each(memory.mesh, setting)

    def _held_out_score(self, problem: Problem, objective: Objective, progress: Progress) -> float:
        """The mean log-likelihood of a held-out subject."""
        if self.held_out is None:
            return np.nan
        x = np.asarray(progress.sound)
        model = _space(problem, objective).model_at(x)
        ruler = _learned(problem, objective, x).reported
        if isinstance(ruler, ImportanceSampling):
            # what an encoder says of people whom it has not met is no measure of theta
            ruler = dataclasses.replace(ruler, proposal=None)
        return float(np.mean(terms_of(ruler, model, self.held_out, problem.key).value))

    def _schedule(self, problem: Problem, done: int, devices: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each step of the next block: the rate, the subjects in chunks, and what each of them counts.

        There are as many chunks for each device; those that fill up count for nothing.
        """
        count = len(problem.population)
        size = self.batch or count
        ahead = np.arange(done, done + self.block)  # all blocks are one program: past the last step, rates are 0
        rates = self.learning_rate * 0.5 * (1.0 + np.cos(np.pi * np.minimum(ahead / self.steps, 1.0)))
        chosen = np.tile(np.arange(count), (len(ahead), 1))
        if self.batch is not None:
            chosen = self._drawn(problem, ahead, size)
        chunks, of_each = chunks_of(self.objective, problem.model, problem.population, size)
        shape = (devices * -(-chunks // devices), of_each)
        filled = np.resize(np.arange(size), shape[0] * shape[1])
        weights = np.where(np.arange(filled.size) < size, count / size, 0.0).reshape(shape)
        return rates, chosen[:, filled].reshape(-1, *shape), weights

    def _drawn(self, problem: Problem, steps: np.ndarray, size: int) -> np.ndarray:
        """The subjects of each step: in every pass through the population, each is drawn once."""
        count = len(problem.population)
        steps_of_a_pass = count // size
        seed = seed_of(problem.key)
        orders = {}
        for number in np.unique(steps // steps_of_a_pass).tolist():
            orders[number] = np.random.default_rng([*seed, number]).permutation(count)
        turns = steps % steps_of_a_pass * size
        return np.stack(
            [orders[step // steps_of_a_pass][turn:][:size] for step, turn in zip(steps, turns, strict=True)]
        )

    def _state(self, problem: Problem, memory: Memory) -> State:
        done = int(memory.progress.done)
        waited = (done - memory.best_step) // self.block
        stopped = self.held_out is not None and waited >= self.patience
        over = stopped or done >= self.steps
        message = f"trained for {done} steps"
        note = ""
        if self.held_out is not None:
            message += f"; the best on held-out subjects came at step {memory.best_step}"
            note = f", held out: {memory.curve[-1][2]:.4f} per subject" if memory.curve else ""
        info = Info(
            objective=memory.curve[-1][1] if memory.curve else np.nan,
            measure=np.nan,
            measure_name="",
            evaluations=done,
            note=note,
        )
        return State(
            iteration=done,
            model=_space(problem, memory.objective).model_at(memory.best),
            info=info,
            memory=memory,
            ending=Ending.CONVERGED if over else None,
            message=message if over else "",
        )


def _space(problem: Problem, objective: Objective) -> Space:
    """What moves: the parameters, and what is learned beside them."""
    return Space(problem.model, problem.fixed, objective.guide)


def _learned(problem: Problem, objective: Objective, x: Float[np.ndarray, " P"]) -> Objective:
    """The objective with what was learned at x."""
    return objective.guided(_space(problem, objective).guide_at(x))


def _training(memory: Memory) -> Training:
    """What is kept of a memory: nothing that hangs on the devices of this process, which a file could not hold."""
    curve = pd.DataFrame(list(memory.curve), columns=["step", "objective", "held_out"]).set_index("step")
    progress = on_none(memory.mesh, memory.progress)
    return Training(curve=curve, memory=memory._replace(progress=progress, mesh=None, settled=None))
