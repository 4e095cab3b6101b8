"""Data augmentation: missing responses are drawn, and an encoder is trained on records that are whole."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import numpy as np
import pandas as pd
from jaxtyping import Array

from ..base.compiling import compiled
from ..curves.encoding import AnyEncoder
from ..data.missing import filled, gaps
from ..data.population import Population
from ..effects.augmentation import Completion, completed_anew, first_completion, refuse_dependent_rows
from ..model.densities import eta_size
from ..model.free import prior_of
from ..model.model import Model
from ..model.numbers import labels_of, numbers
from ..model.space import Space
from ..objectives.amortised import Amortised
from ..objectives.evaluation import terms_of
from ..objectives.objective import NOT_ESTIMATED, Objective
from ..objectives.peaks import searched_thoroughly
from ..objectives.sampled import ImportanceSampling
from .adam import Adam
from .maximise import outcome_of
from .method import Augmentation, Ending, Method, Outcome, Problem, State

_BATCH = 100  # subjects of a step, unless it is said
_KERNELS = ("encoder", "walk")


class Memory(NamedTuple):
    """What data augmentation keeps between rounds."""

    training: State  # Adam's, on the completed records of the last round
    completion: Completion
    numbers: tuple[np.ndarray, ...]  # of the table of parameters, after each round
    acceptance: tuple[np.ndarray, ...]


class Augmented(Method):
    """Data augmentation with an encoder: minimise on completed records, then draw what is missing again.

    In each of `rounds`, with y what was seen and u what is missing,

    1. **minimise**: one pass through the subjects by Adam, in steps of `batch` subjects, on the evidence lower bound of
       the completed records (y, u), over theta and the weights of the encoder, which reads whole records only;
    2. **draw** the random effects eta from p(eta | y, theta) by Metropolis-Hastings, `sweeps` times with the encoder's
       answer to (y, u) as independence proposal and then with a random walk, and u from p(u | eta, theta).

    Missing are the responses of rows that are in the data and have none; rows that were left out of the file were never
    planned. Right where they are missing at random, as is `Amortised` on the same data: there the bound is over what
    was seen, nothing is drawn, and its encoder reads records with gaps, which takes far less time. `Augmented` is for
    encoders that cannot read gaps, and to watch the two agree.

    A proposal is one of eta and u together, and the encoder answers to the new u on the way back, which keeps their
    distribution; with the old u on both ways the draws would go wrong as far as the encoder does.

    `encoder`: left out, one that suits the population, as for `Amortised`; `draws` of it make the bound. The learning
    rate falls from `learning_rate` to zero as half a cosine over all rounds. `likelihood_by` gives the log-likelihood
    of what was seen and the standard errors at the end. `fit.augmentation` holds the trained encoder, the trajectory,
    the shares accepted and the last completed population; `mf.completed(fit, m, key=key)` draws as many as you like.

    **Raises:** ValueError where nothing is missing, for rows that depend on each other given eta, and as `Amortised`.
    Sources: Rizopoulos, van Gerwen and Willemsen, deep generalised mixed models; Tanner and Wong (1987), J. Am. Stat.
    Assoc. 82; Delyon, Lavielle and Moulines (1999), Ann. Stat. 27.

        method = mf.Augmented(rounds=100)  # an encoder that suits the population
    """

    encoder: AnyEncoder | None = None
    draws: int = 1
    rounds: int = 300
    sweeps: int = 5
    learning_rate: float = 5e-3
    batch: int | None = None
    likelihood_by: Objective = eqx.field(default=ImportanceSampling(), converter=searched_thoroughly)
    label: ClassVar[str] = "Data augmentation"
    random: ClassVar[bool] = True

    @property
    def iterations(self) -> int:
        return self.rounds

    def init(self, problem: Problem) -> State:
        if min(self.rounds, self.sweeps, self.draws) < 1:
            raise ValueError("Augmented needs one or more rounds, sweeps and draws.")
        if eta_size(problem.model) == 0:
            raise ValueError("Augmented draws random effects, and this model has none: use NaivePooled.")
        if not (isinstance(self.likelihood_by, Objective) and self.likelihood_by.likelihood):
            raise ValueError("Augmented's likelihood_by must be a likelihood of theta, such as ImportanceSampling().")
        _refuse_nothing_missing(problem.population)
        refuse_dependent_rows(problem.model, problem.population, "Augmented")
        self.likelihood_by.rehearse(problem.model, problem.population)
        completion = first_completion(problem.model, problem.population.subjects, _key_of(problem, 0))
        whole = _completed(problem, completion)
        training = self._adam(problem).init(whole)
        return self._state(Memory(training, completion, (np.asarray(_numbers_of(problem.model)),), ()))

    def step(self, problem: Problem, state: State) -> State:
        memory: Memory = state.memory
        adam = self._adam(problem)
        whole = _completed(problem, memory.completion)
        training = adam.step(whole, memory.training)
        if training.ending is Ending.FAILED:
            return dataclasses.replace(state, ending=Ending.FAILED, message=training.message)
        completion, accepted = completed_anew(
            training.model,
            _encoder_of(problem, training),
            problem.population.subjects,
            memory.completion,
            _key_of(problem, state.iteration + 1),
            self.sweeps,
        )
        onward = Memory(
            training=training,
            completion=completion,
            numbers=(*memory.numbers, np.asarray(_numbers_of(training.model))),
            acceptance=(*memory.acceptance, np.asarray(accepted)),
        )
        return self._state(onward)

    def finish(self, problem: Problem, state: State) -> Outcome:
        terms = terms_of(self.likelihood_by, state.model, problem.population, problem.key)
        log_prior = float(prior_of(state.model, problem.fixed))
        outcome = outcome_of(self.likelihood_by, problem, state, terms, log_prior)
        start = problem.space.vector()
        end = np.asarray(state.memory.training.memory.progress.x)[: start.size]
        unmoved = (end == start) & (state.iteration > 0)
        remark = f"log-likelihood of what was seen, and standard errors, by {self.likelihood_by.label}."
        return dataclasses.replace(
            outcome,
            status=tuple(NOT_ESTIMATED if still else "" for still in unmoved),
            remarks=(*outcome.remarks, remark),
            augmentation=self._augmentation(problem, state),
        )

    def unfinished(self, problem: Problem, state: State) -> Outcome:
        outcome = super().unfinished(problem, state)
        return dataclasses.replace(outcome, augmentation=self._augmentation(problem, state))

    def _adam(self, problem: Problem) -> Adam:
        """The training of all rounds, a block of which is a round."""
        count = len(problem.population)
        batch = min(_BATCH, count) if self.batch is None else self.batch
        steps = max(1, count // max(1, batch))
        return Adam(
            Amortised(self.encoder, draws=self.draws),
            steps=self.rounds * steps,
            learning_rate=self.learning_rate,
            batch=batch,
            block=steps,
        )

    def _augmentation(self, problem: Problem, state: State) -> Augmentation:
        memory: Memory = state.memory
        whole = _completed(problem, memory.completion)
        rounds = pd.RangeIndex(len(memory.numbers), name="round")
        return Augmentation(
            encoder=_encoder_of(problem, memory.training),
            trajectory=pd.DataFrame(np.stack(memory.numbers), rounds, labels_of(state.model)),
            acceptance=pd.DataFrame(np.reshape(memory.acceptance, (-1, 2)), rounds[1:], list(_KERNELS)),
            completed=whole.population,
            eta_draws=np.asarray(memory.completion.eta),
        )

    def _state(self, memory: Memory) -> State:
        rounds = len(memory.acceptance)
        accepted = float(memory.acceptance[-1][0]) if rounds else np.nan
        over = memory.training.done
        info = dataclasses.replace(
            memory.training.info,
            measure=accepted,
            measure_name="share of the encoder's proposals that were taken",
            note=f", {accepted:.0%} of the encoder's proposals taken" if rounds else "",
        )
        return State(
            iteration=rounds,
            model=memory.training.model,
            info=info,
            memory=memory,
            ending=Ending.CONVERGED if over else None,
            message=f"minimised and drew again {rounds} times" if over else "",
        )


def _encoder_of(problem: Problem, training: State) -> AnyEncoder:
    """The encoder as it is now."""
    objective = training.memory.objective
    return _trained(objective, Space(problem.model, problem.fixed, objective.guide), training.memory.best)


@compiled
def _trained(objective: Amortised, space: Space, x: Array) -> AnyEncoder | None:
    return objective.guided(space.guide_at(x)).encoder


@compiled
def _numbers_of(model: Model) -> Array:
    """The numbers of the table of parameters."""
    return numbers(model)


def _key_of(problem: Problem, place: int) -> Any:
    """The key of a round; what Adam draws has keys of its own."""
    return jax.random.fold_in(jax.random.fold_in(problem.key, 1), place)


def _completed(problem: Problem, completion: Completion) -> Problem:
    """The problem on records that are whole."""
    subjects = filled(problem.population.subjects, completion.y)
    return dataclasses.replace(problem, population=dataclasses.replace(problem.population, subjects=subjects))


def _refuse_nothing_missing(population: Population) -> None:
    missing = jax.tree.leaves(gaps(population.subjects).mask)
    if not any(np.any(mask) for mask in missing):
        raise ValueError(
            "no response is missing in the rows of this population, so there is nothing to augment: use Amortised, or "
            "keep a row with an empty response wherever one was planned."
        )
