"""One person, or several: what their own records say of their random effects, given a fitted model."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from ..base.asked import require_count
from ..base.chance import require_key
from ..base.compiling import compiled
from ..base.labelled import labelled
from ..base.newton import Newton
from ..base.parts import in_parts
from ..curves.encoding import AnyEncoder
from ..data.by_outcome import UNNAMED, as_dict
from ..data.changing import with_room
from ..data.doses import Doses
from ..data.population import Population
from ..data.subject import Subject
from ..fitting.about import final_objective
from ..fitting.fitted import Estimated
from ..model.densities import eta_size
from ..model.mixture import MixtureOfExperts
from ..model.model import Model, model_at
from ..model.numbers import eta_names
from ..model.pitfalls import refuse_other_times, refuse_pitfalls
from ..model.predict import mean_response, on_grid
from ..model.simulate import respond
from ..objectives.laplace import Laplace
from ..objectives.sampled import ImportanceSampling
from .in_classes import Drawn, class_probabilities, drawn_in_classes
from .own_records import Picked, thinned, with_theta_drawn, with_theta_known
from .same_data import already_in

_UNTRUSTED = 0.7  # of Pareto's k: above it the draws are not the posterior
_FOLLOWED = 8  # people whose samples come in one after the other: for more a program of their own is worth it
_CURVES_AT_ONCE = 256  # curves of draws that are made together


@dataclasses.dataclass(frozen=True)
class Individuals:
    """Draws from each person's p(eta | y_i, theta), all counting the same, and what follows from them.

    `eta` is (N, M, K). `effective_sample_size` (N,) says how many independent draws they are worth, `pareto_k` (N,)
    whether they can be trusted (below 0.7), and `remarks` names those who cannot. `model` and `population` are those
    that were asked for, and `fitted_on` is the population of the fit, None where a model was given. `people[i]` is one
    of them alone. Where theta was drawn too, `theta` (N, M) says which of the stack `models` each draw belongs to, and
    all that follows is of the pairs.
    """

    model: Model
    population: Population
    eta: Float[np.ndarray, "N M K"] = dataclasses.field(repr=False)
    effective_sample_size: Float[np.ndarray, " N"]
    pareto_k: Float[np.ndarray, " N"]
    remarks: tuple[str, ...] = ()
    # (N, C), of a mixture of experts: the probability of each class; `eta` holds (u, eta_1, ..., eta_C) then
    responsibilities: Float[np.ndarray, "N C"] | None = dataclasses.field(default=None, repr=False)
    # of a mixture, M draws (N, M, K_c) given each class, however rare it is: densities are averages within classes
    in_class: tuple[np.ndarray, ...] = dataclasses.field(default=(), repr=False)
    key: Any = dataclasses.field(default=None, repr=False)
    fitted_on: Population | None = dataclasses.field(default=None, repr=False)
    models: Model | None = dataclasses.field(default=None, repr=False)
    theta: Int[np.ndarray, "N M"] | None = dataclasses.field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.population)

    def to_xarray(self) -> Any:
        """The draws as an `xarray.Dataset`: `eta` (subject, draw, effect), and `pareto_k` and
        `effective_sample_size` (subject).

        ImportError where xarray is not installed.
        """
        axes = {
            "subject": list(self.population.ids),
            "draw": np.arange(self.eta.shape[1]),
            "effect": list(eta_names(self.model)),
        }
        variables = {
            "eta": (("subject", "draw", "effect"), self.eta),
            "pareto_k": (("subject",), self.pareto_k),
            "effective_sample_size": (("subject",), self.effective_sample_size),
        }
        return labelled(variables, axes, {"model": type(self.model).__name__})

    def __getitem__(self, person: int) -> "Individuals":
        place = range(len(self))[person]
        alone = slice(place, place + 1)
        return dataclasses.replace(
            self,
            population=self.population[[place]],
            eta=self.eta[alone],
            effective_sample_size=self.effective_sample_size[alone],
            pareto_k=self.pareto_k[alone],
            theta=None if self.theta is None else self.theta[alone],
            responsibilities=None if self.responsibilities is None else self.responsibilities[alone],
            in_class=tuple(eta[alone] for eta in self.in_class),
        )

    @property
    def mean(self) -> Float[np.ndarray, "N K"]:
        """The posterior means of the random effects."""
        return self.eta.mean(axis=1)

    @property
    def sd(self) -> Float[np.ndarray, "N K"]:
        """Their posterior SDs."""
        return self.eta.std(axis=1)

    def of(self, quantity: Callable[[Model, Array, Subject], ArrayLike]) -> np.ndarray:
        """Draws (N, M, ...) of any quantity: `people.of(lambda model, eta, subject: model.cl * jnp.exp(eta[1]))`."""
        return np.asarray(_quantities(quantity, self.models_drawn, self.theta, self.eta, self.population.subjects))

    @property
    def models_drawn(self) -> Model:
        """The model; or, where theta was drawn, the stack of models that `theta` counts in."""
        return self.model if self.models is None else self.models

    def curves(
        self,
        time: Float[ArrayLike, "..."] | Sequence | None = None,
        doses: Doses | Sequence[Doses] | None = None,
        covariates: Mapping[str, Any] | None = None,
    ) -> Any:
        """Draws of each person's curve, E[y | theta, eta, x]: (N, M, m), a dict of these for several outcomes.

        `time`: (m,) for all or (N, m); left out, the person's own rows. `doses`: others than their own. `covariates`:
        of those that change in time the value, one for all or (N,), that holds at all these times.
        """
        return self._looked(time, doses, None, covariates)

    def responses(
        self,
        time: Float[ArrayLike, "..."] | Sequence | None = None,
        doses: Doses | Sequence[Doses] | None = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Any:
        """Draws of responses yet to be seen: the curves, and the residual error on each."""
        return self._looked(time, doses, jax.random.split(self.key if key is None else key, self.eta.shape[:2]))

    def bands(
        self,
        time: Float[ArrayLike, "..."] | Sequence | None = None,
        doses: Doses | Sequence[Doses] | None = None,
        *,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        error: bool = False,
    ) -> pd.DataFrame:
        """Quantiles of the curves, or with `error` of responses: a row for each person, outcome and time."""
        draws = self.responses(time, doses) if error else self.curves(time, doses)
        times = np.asarray(self.rows_at(time, doses).time)
        tables = []
        for name, values in sorted(as_dict(draws).items()):
            levels = np.quantile(values, quantiles, axis=1)
            table = pd.DataFrame({"ID": np.repeat(np.asarray(self.population.ids, object), times.shape[1])})
            if name != UNNAMED:
                table["OUTCOME"] = name
            table["TIME"] = times.ravel()
            for quantile, level in zip(quantiles, levels, strict=True):
                table[f"q{100 * quantile:g}"] = level.ravel()
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def _looked(self, time: Any, doses: Any, keys: Any, held: Any = None) -> Any:
        subjects = self.rows_at(time, doses, held)
        rows = subjects.time.shape[1]
        roomy = with_room(subjects, rows=time is None, few_doses=doses is not None)
        curves = _curves(self.models_drawn, self.theta, self.eta, roomy, keys)
        return jax.tree.map(lambda values: np.asarray(values)[..., :rows], curves)

    def rows_at(self, time: Any, doses: Any, held: Any = None) -> Subject:
        """The people with rows at these times, or their own, under these doses, or their own."""
        population = self.population if doses is None else self.population.with_doses(doses)
        if time is None:
            seen = jax.tree.map(lambda mask: np.ones(mask.shape, bool), population.subjects.mask)
            return dataclasses.replace(population.subjects, mask=seen)
        refuse_other_times(self.model, self.population)
        return on_grid(population, jnp.asarray(time, float), held)


def individual(
    fit: Estimated | Model,
    population: Population,
    *,
    draws: int = 1000,
    proposal: AnyEncoder | None = None,
    proposed: int = 4000,
    thetas: int = 100,
    key: PRNGKeyArray,
) -> Individuals:
    """What people's own records say of them: draws from p(eta | y_i, theta) of each person of `population`.

        people = mf.individual(fit, new_people, key=jax.random.key(1))

    For anybody, new people above all: from no sample to many, under their own doses and covariates. Importance
    sampling from a t distribution around each person's mode, or around an encoder's answer: `proposed` draws, of which
    `draws` are picked by their weights, systematically, so that all count the same. People without a sample are
    read by `Population.from_frame(..., drop_unobserved=None)`.

    Of a fit with draws from a posterior (`mf.NUTS`) theta is drawn too, from

        p(theta, eta | y_i, y) ~ p(theta | y) p(y_i, eta | theta),

    so that the person's own records tell of theta as well, each person being the only new one. Who stands in the
    fit's population, with the same id, records and doses, has told it already and does not count twice.

    **Arguments**

    - `fit`: a fit, or a model at its parameters. Theta is taken as known but for a fit with draws.
    - `population`: the people. Their rows say when they were seen; one without a response is known by p(eta) only.
    - `draws`: M, of each person.
    - `proposal`: an encoder, such as `fit.encoder`, in place of a search for each mode.
    - `proposed`: draws from the proposal, twice `draws` at least. Of few the tail of the weights is not seen.
    - `thetas`: how many draws of theta are used, evenly spaced; they share those of the proposal. 0 takes theta as
      known, at `fit.model`.
    - `key`: a `jax.random.key`.

    Of a mixture of experts every draw has a class, by the person's responsibilities, so that these and the random
    effects are both updated by what is seen; a class without random effects has none to draw.

    **Returns:** `Individuals`, with curves, bands and any quantity under any doses.

    **Raises:** ValueError for a model without random effects, an encoder of another size, or no draws.
    """
    require_key(key, "individual")
    for count, least, name in ((draws, 1, "draws"), (proposed, 0, "proposed"), (thetas, 0, "thetas")):
        require_count(count, least, f"individual's {name}")
    model = fit if isinstance(fit, Model) else fit.model
    # one person is asked about again with each new sample; of many the room for it would cost more than it saves
    roomy = with_room(population.subjects) if len(population) <= _FOLLOWED else population.subjects
    refuse_pitfalls(model, dataclasses.replace(population, subjects=roomy))
    if isinstance(model, MixtureOfExperts):
        return _of_mixture(fit, model, population, draws, proposed, proposal, key)
    if eta_size(model) == 0:
        raise ValueError(f"{type(model).__name__} has no random effects, so all people are alike: use mf.predict.")
    key_pick, key_error, key_draws = jax.random.split(key, 3)
    samples = max(proposed, 2 * draws)
    sampling = ImportanceSampling(samples=samples, proposal=proposal, newton=Newton(thorough=True))
    sampling.check(model, population)
    models = None
    if isinstance(fit, Model) or fit.draws is None or thetas == 0:
        picked = with_theta_known(sampling, model, roomy, draws, key_draws, key_pick)
    else:
        models = thinned(fit.draws, thetas)
        each = dataclasses.replace(sampling, samples=-(-samples // min(thetas, len(fit.draws))))
        told_already = already_in(population, fit.population)
        picked = with_theta_drawn(each, models, roomy, told_already, draws, key_draws, key_pick)
    return Individuals(
        model=model,
        population=population,
        eta=picked.eta,
        effective_sample_size=picked.effective_sample_size,
        pareto_k=picked.pareto_k,
        remarks=_remarks(population, picked),
        key=key_error,
        fitted_on=None if isinstance(fit, Model) else fit.population,
        models=models,
        theta=picked.theta,
    )


def _of_mixture(
    fit: Estimated | Model,
    model: MixtureOfExperts,
    population: Population,
    draws: int,
    proposed: int,
    proposal: AnyEncoder | None,
    key: PRNGKeyArray,
) -> Individuals:
    """The draws of each expert by themselves, then those of the mixture."""
    if proposal is not None:
        raise ValueError("an encoder answers for one model, and this is a mixture of several: leave proposal out.")
    key_classes, key_draws, key_error, *keys = jax.random.split(key, 3 + len(model.members))
    objective = None if isinstance(fit, Model) else final_objective(fit.method)
    shares = class_probabilities(objective or Laplace(), model, population, key_classes)
    parts = []
    remarks: tuple[str, ...] = ()
    for k, (expert, own_key) in enumerate(zip(model.experts, keys, strict=True)):
        if eta_size(expert) == 0:
            nothing = np.zeros((len(population), draws, 0))
            parts.append(Drawn(nothing, np.full(len(population), float(draws)), np.full(len(population), -np.inf)))
            continue
        one = individual(expert, population, draws=draws, proposed=proposed, key=own_key)
        parts.append(Drawn(one.eta, one.effective_sample_size, one.pareto_k))
        remarks += tuple(f"in class {k + 1}, {remark}" for remark in one.remarks)
    together = drawn_in_classes(model, population, shares, parts, key_draws)
    return Individuals(
        model=model,
        population=population,
        eta=together.eta,
        effective_sample_size=together.effective_sample_size,
        pareto_k=together.pareto_k,
        remarks=remarks,
        responsibilities=shares,
        in_class=tuple(part.eta for part in parts),
        key=key_error,
        fitted_on=None if isinstance(fit, Model) else fit.population,
    )


def _remarks(population: Population, picked: Picked) -> tuple[str, ...]:
    doubtful = [str(population.ids[i]) for i in np.flatnonzero((picked.pareto_k > _UNTRUSTED) | ~picked.found)]
    if not doubtful:
        return ()
    who = ", ".join(doubtful[:5]) + (f" and {len(doubtful) - 5} more" if len(doubtful) > 5 else "")
    return (
        f"the draws of {who} are not to be trusted: their weights have a heavy tail, no mode was found, or "
        "there are more peaks than the draws cover; take more draws, or another proposal.",
    )


@compiled
def _curves(models: Model, theta: Any, eta: Float[Array, "N M K"], subjects: Subject, keys: Any) -> Any:
    """Means (N, M, m), or with keys (N, M) responses; some draws of everybody after the others."""

    def of_person(turn, eta, subject, key):
        model = model_at(models, turn)
        return mean_response(model, eta, subject) if key is None else respond(model, eta, subject, key)

    def of_draw(one):
        turns, etas, drawn = one
        return jax.vmap(of_person)(turns, etas, subjects, drawn)

    by_draw = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), (theta, eta, keys))
    draws = max(1, _CURVES_AT_ONCE // eta.shape[0])
    return jax.tree.map(lambda values: jnp.swapaxes(values, 0, 1), in_parts(of_draw, by_draw, draws))


@compiled
def _quantities(quantity: Callable, models: Model, theta: Any, eta: Float[Array, "N M K"], subjects: Subject) -> Any:
    def of_draw(turn, eta, subject):
        return quantity(model_at(models, turn), eta, subject)

    return jax.vmap(jax.vmap(of_draw, (0, 0, None)))(theta, eta, subjects)
