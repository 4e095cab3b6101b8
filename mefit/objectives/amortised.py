"""The evidence lower bound by an encoder: one network for everybody in place of a search for each."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..base.newton import hold_constant
from ..curves.encoding import AnyEncoder, Gaussian
from ..curves.networks import encoder_for
from ..data.population import Population
from ..data.subject import Subject
from ..effects.encoded import divergence, log_prior_of, log_q, precision_of
from ..effects.standard import finite_sd
from ..model.densities import eta_mean, eta_size, log_conditional
from ..model.model import Model
from .objective import Objective, Term
from .sampled import ImportanceSampling


class Chance(NamedTuple):
    """What is drawn for one subject at one step, and what the divergence counts there."""

    key: PRNGKeyArray
    weight: Float[Array, ""]
    normal: Float[Array, "M K"] | None = None  # what the key draws, where it has been drawn


class Amortised(Objective):
    """The evidence lower bound with q(eta | y) from an `encoder`, which is learned together with theta.

        log L_i >= E_q[log p(y_i | theta, eta)] - KL(q || p(eta | theta)),    q = encoder(subject i),

    the first part by `draws` from q, m + C e, new ones at each step; KL in closed form where p(eta) is Gaussian,

        KL = 1/2 (tr(S^-1 C C') + (m - m0)' S^-1 (m - m0) - K + log|S| - log|C C'|),

    else by the same draws. The bound falls short of log L_i by KL(q || p(eta | y)). It is trained by `Adam`:

        method = mf.Adam(mf.Amortised(encoder), steps=3000, learning_rate=5e-3, batch=100)
        fit = mf.fit(model, population, method, key=key)

    and `mf.fit(model, population, mf.Amortised(encoder), key=key)` is short for that. The log-likelihood of the fit is
    never the bound but importance sampling with the encoder as proposal, `samples` a subject. `fit.encoder` is the
    trained encoder, and `fit.amortised` tells the bound, what it lacks, for new people too, and which random effects
    sleep.

    `encoder`: left out, `Encoder(population, effects)` where people share planned times, and else `SetEncoder`.
    `annealing`: steps over which KL counts less than it should, from nothing; it delays a collapse and cures none.
    `cut_records`: each step also shows the encoder the subject's record up to a row drawn at random, and theta is held
    there: for predictions while the data come in. It changes what the encoder learns and no likelihood.
    `importance`: the tighter bound E log (1/draws) sum p(y, eta) / q(eta), of two or more draws, in place of the above.
    Sources: Kingma and Welling (2014), ICLR, eq. 3; importance-weighted: Burda, Grosse and Salakhutdinov (2016), ICLR.

    **Raises:** ValueError for an encoder of another number of random effects, or that cannot read the population.
    """

    encoder: AnyEncoder | None = None
    draws: int = 1
    annealing: int = 0
    importance: bool = False
    cut_records: bool = False
    samples: int = 1000
    label: ClassVar[str] = "Amortised"
    random: ClassVar[bool] = True
    looks_for_peaks: ClassVar[bool] = False
    at_once: ClassVar[int] = 64  # a network answers many sooner together than in parts; two cores share a batch of 100

    def check(self, model: Model, population: Population) -> None:
        if self.draws < 1 or self.annealing < 0 or self.samples < 1:
            raise ValueError("Amortised needs one or more draws and samples, and annealing of 0 or more steps.")
        if self.importance and (self.draws < 2 or self.annealing):
            raise ValueError("Amortised with importance=True needs draws of 2 or more, and no annealing.")
        self.reported.check(model, population)

    def evaluations(self, model: Model) -> int:
        return self.draws

    def extras(self, model, population, key):
        count = len(population)
        return Chance(jax.random.split(key, count), jnp.ones(count))

    def fresh(self, extra: Chance, step: Array) -> Chance:
        key = jax.random.fold_in(extra.key, step)
        share = jnp.minimum(1.0, step / self.annealing) if self.annealing else 1.0
        return Chance(key, extra.weight * share, self._normal(key))

    def _normal(self, key: PRNGKeyArray) -> Float[Array, "M K"]:
        return jax.random.normal(key, (self.draws, self._encoder.effects))

    @property
    def guide(self) -> PyTree:
        return None if self.encoder is None else self.encoder.weights

    def guided(self, guide: PyTree) -> "Amortised":
        if guide is None or self.encoder is None:
            return self
        return dataclasses.replace(self, encoder=self.encoder.with_weights(guide))

    def prepared(self, model: Model, population: Population) -> "Amortised":
        encoder = self.encoder or encoder_for(population, eta_size(model))
        return dataclasses.replace(self, encoder=encoder.for_effects(eta_mean(model), finite_sd(model)))

    @property
    def reported(self) -> ImportanceSampling:
        return ImportanceSampling(samples=self.samples, proposal=self.encoder)

    def subject(self, model: Model, subject: Subject, extra: Chance) -> Term:
        q = self._encoder(subject)
        normal = self._normal(extra.key) if extra.normal is None else extra.normal
        value, shortfall = self._bound(model, subject, q, normal, extra.weight)
        if self.cut_records:
            value = value + self._lesson_of_a_cut(model, subject, extra)
        return Term(value, q.mean, precision_of(q), jnp.asarray(True), {"shortfall": shortfall})

    @property
    def _encoder(self) -> AnyEncoder:
        if self.encoder is None:
            raise ValueError(
                "Amortised has no encoder before it is trained: fit by it, or give it one, as fit.encoder."
            )
        return self.encoder

    def _bound(
        self, model: Model, subject: Subject, q: Gaussian, normal: Float[Array, "M K"], weight: Array
    ) -> tuple[Array, Array]:
        """The bound, and by how much the mean of the draws' log weights falls short of the log of their mean."""
        etas = q.mean + normal @ q.lower.T
        log_p = jax.vmap(lambda eta: log_conditional(model, eta, subject))(etas)
        log_weight = log_p + log_prior_of(model, etas) - log_q(q, normal)
        tighter = logsumexp(log_weight) - np.log(self.draws)
        # of the draws themselves: never negative, and KL(q || p(eta | y)) as their number grows
        shortfall = tighter - jnp.mean(log_weight)
        value = tighter if self.importance else jnp.mean(log_p) - weight * divergence(model, q, normal)
        return value, shortfall

    def _lesson_of_a_cut(self, model: Model, subject: Subject, extra: Chance) -> Array:
        """Nothing, with the gradient that the bound of a shorter record has for the encoder."""
        key_cut, key_normal = jax.random.split(jax.random.fold_in(extra.key, 1))
        count = jnp.sum(subject.real)
        last = jnp.sort(jnp.where(subject.real, subject.time, jnp.inf))[jax.random.randint(key_cut, (), 0, count)]
        early = subject.time <= last
        cut = dataclasses.replace(subject, mask=jax.tree.map(lambda mask: mask & early, subject.mask))
        q = self._encoder(cut)
        value, _ = self._bound(hold_constant(model), cut, q, self._normal(key_normal), extra.weight)
        return value - jax.lax.stop_gradient(value)
