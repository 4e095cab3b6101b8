"""An encoder taught by a fitted model: trained on people that are simulated from it, whose random effects are known."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.chance import require_key
from ..base.compiling import compiled
from ..base.parts import in_parts
from ..base.small_matrices import half_log_det
from ..data.population import Population
from ..data.subject import Subject
from ..effects.gaussian import gaussian_effects
from ..effects.model_encoder import ModelEncoder
from ..fitting.fitted import Estimated
from ..model.densities import sample_random_effects
from ..model.model import Model
from ..model.simulate import respond

_AT_ONCE = 128  # people who are simulated, or looked at, together
_FADING = 1e-4  # of a weight, at each step
_STEEPEST = 10.0  # a longer gradient is cut to this


class Lessons(NamedTuple):
    """Simulated people: what the network reads of them, and their true random effects as it should answer them."""

    features: Float[Array, "N F"]
    answer: Float[Array, "N K"]  # from the centre of the look, in units of its root


def taught_encoder(
    fit: Estimated | Model,
    population: Population | None = None,
    *,
    people: int = 5000,
    steps: int = 1500,
    learning_rate: float = 5e-3,
    batch: int = 128,
    hidden: Sequence[int] = (32,),
    looks: int = 2,
    key: PRNGKeyArray,
) -> ModelEncoder:
    """An encoder for a model that one has already, taught by people that are simulated from it.

        encoder = mf.taught_encoder(fit, key=key)
        people = mf.individual(fit, patients, proposal=encoder, key=key)

    eta ~ p(eta | theta) and y ~ p(y | theta, eta), at the doses, times and covariates of people drawn from
    `population`, each with a random share of their responses, from none to all; the network then maximises

        sum_i log q(eta_i | y_i),

    which is highest where q is the posterior (as near as a Gaussian comes): no likelihood is searched, theta does not
    move, and nothing can collapse. Importance weights make up for what the encoder lacks, as in `mf.individual`.

    **Arguments**

    - `fit`: a fit, or a model at its parameters, which are taken as known.
    - `population`: whose doses, times and covariates are used: those of the fit, unless given. What lies far from
      them the network has not learned; what the model itself knows of it stays right.
    - `people`, `steps`, `learning_rate`, `batch`: how many are simulated, and Adam's steps on them, falling to nothing
      by a cosine.
    - `hidden`, `looks`: as of `ModelEncoder`.
    - `key`: a `jax.random.key`.

    **Raises:** ValueError for a model whose random effects are not Gaussian, or no population.
    Source: the loss is that of Papamakarios and Murray (2016), Adv. Neural Inf. Process. Syst. 29, eq. 4.
    """
    require_key(key, "taught_encoder")
    model = fit if isinstance(fit, Model) else fit.model
    designs = population if population is not None else getattr(fit, "population", None)
    if designs is None:
        raise ValueError("taught_encoder needs people whose doses and times are simulated: give it population=.")
    if min(people, steps, batch) < 1 or learning_rate <= 0.0:
        raise ValueError("taught_encoder needs people, steps and batch of 1 or more, and a learning_rate above 0.")
    encoder = ModelEncoder(model, hidden, looks=looks)
    encoder.check(designs)
    key_who, key_people, key_batches = jax.random.split(key, 3)
    who = np.asarray(jax.random.randint(key_who, (people,), 0, len(designs)))
    subjects = jax.tree.map(lambda leaf: np.asarray(leaf)[who], _uncensored(designs.subjects))
    lessons = _lessons(encoder, subjects, jax.random.split(key_people, people))
    sound = jnp.all(jnp.isfinite(lessons.features), axis=1) & jnp.all(jnp.isfinite(lessons.answer), axis=1)
    if not bool(jnp.all(sound)):
        raise ValueError(
            f"the model is not finite for {int(jnp.sum(~sound))} of {people} people that were simulated from it: look "
            "at its parameters, and at the solver."
        )
    batches = jax.random.randint(key_batches, (steps, min(batch, people)), 0, people)
    return encoder.with_weights(_trained(encoder, lessons, batches, jnp.asarray(float(learning_rate))))


def _uncensored(subjects: Subject) -> Subject:
    """What is simulated is seen as it is."""
    return dataclasses.replace(subjects, censored=None, limit=None)


@compiled
def _lessons(encoder: ModelEncoder, subjects: Subject, keys: Any) -> Lessons:
    model = encoder.constants["model"]
    law = gaussian_effects(model)

    def of_person(one: Any) -> Lessons:
        subject, key = one
        key_eta, key_y, key_share, key_kept = jax.random.split(key, 4)
        eta = sample_random_effects(model, 1, key_eta)[0]
        kept = jax.random.uniform(key_kept, subject.time.shape) < jax.random.uniform(key_share)
        mask = jax.tree.map(lambda seen: seen & kept, subject.mask)
        shown = dataclasses.replace(subject, mask=mask)
        look = encoder.look(dataclasses.replace(shown, y=respond(model, eta, shown, key_y)))
        z = solve_triangular(law.lower, eta - law.mean, lower=True)
        return Lessons(encoder.features(look), solve_triangular(look.root, z - look.centre, lower=True))

    return in_parts(of_person, (subjects, keys), _AT_ONCE)


@compiled
def _trained(encoder: ModelEncoder, lessons: Lessons, batches: Array, learning_rate: Array) -> Any:
    """The weights after one step of Adam for each batch."""
    import optax  # it takes a tenth of a second to import

    rates = optax.cosine_decay_schedule(learning_rate, len(batches))
    adam = optax.chain(optax.clip_by_global_norm(_STEEPEST), optax.adamw(rates, weight_decay=_FADING))

    def loss(weights: Any, batch: Lessons) -> Array:
        taught = encoder.with_weights(weights)

        def of_person(features: Array, answer: Array) -> Array:
            shift, factor = taught.bent(features)
            away = solve_triangular(factor, answer - shift, lower=True)
            return 0.5 * jnp.sum(away**2) + half_log_det(factor)

        return jnp.mean(jax.vmap(of_person)(*batch))

    def step(state: Any, which: Array) -> tuple[Any, None]:
        weights, moments = state
        gradient = jax.grad(loss)(weights, jax.tree.map(lambda leaf: leaf[which], lessons))
        move, moments = adam.update(gradient, moments, weights)
        return (eqx.apply_updates(weights, move), moments), None

    begun = encoder.weights
    (weights, _), _ = jax.lax.scan(step, (begun, adam.init(begun)), batches)
    return weights
