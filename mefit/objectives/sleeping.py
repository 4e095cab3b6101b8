"""What an encoder's fit is worth: the bound, what it lacks, of new people too, and which random effects sleep."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ..base.compiling import compiled
from ..base.plainly import Refusal
from ..curves.encoding import AnyEncoder, Gaussian
from ..curves.set_encoder import SetEncoder
from ..data.population import Population
from ..data.subject import Subject
from ..model.densities import gaussian_law_of
from ..model.model import Model
from ..model.normals import GaussianLaw
from ..model.simulate import simulate
from .amortised import Amortised
from .evaluation import terms_of

ASLEEP = 0.01  # nats a subject: a direction that says less than this of anybody is its prior
_DRAWS = 200  # from q, for the gap that is told
_NEW = 1000  # people simulated at most
_BY_HEART = 0.5  # nats a person that new people lack more than the encoder's own


@dataclasses.dataclass(frozen=True, kw_only=True)
class Amortisation:
    """What training an encoder leaves beside the estimates.

    `bound` is the evidence lower bound of all subjects and `gap` what it lacks of the log-likelihood, per subject: the
    mean of KL(q || p(eta | y)), by log mean w - mean log w over draws from q with weights w = p(y, eta) / q(eta).
    `gap_of_new` is the same of people whom the encoder has not met, simulated from the fitted model at the times, doses
    and covariates of the data (1,000 at most): what its answers for new people lack at the least, since real people
    differ from the model too. NaN where the model cannot be simulated.
    `divergence` (K,) are the mean KL(q || p(eta)) per subject, dimension by dimension: of the random effects themselves
    where q is diagonal, else along the principal axes of the encoder's means, the rows of `directions` in whitened
    random effects; largest first there. They add up to the whole less what correlations within q add. Where p(eta) is
    not Gaussian they are NaN.
    """

    encoder: AnyEncoder = dataclasses.field(repr=False)
    bound: float
    gap: float
    divergence: Float[np.ndarray, " K"]
    directions: Float[np.ndarray, "K K"] = dataclasses.field(repr=False)
    remarks: tuple[str, ...] = ()
    gap_of_new: float = np.nan


def account(
    trained: Amortised, model: Model, population: Population, key: PRNGKeyArray, log_likelihood: float
) -> Amortisation:
    """The account of a trained encoder; the gaps by 200 draws per subject."""
    assert trained.encoder is not None, "training has made one"
    gap = _gap(trained, model, population, key)
    strangers = _strangers(model, population, jax.random.fold_in(key, 1))
    gap_of_new = np.nan if strangers is None else _gap(trained, model, strangers, key)
    divergence, directions = divergence_over(trained.encoder, model, population)
    return Amortisation(
        encoder=trained.encoder,
        bound=log_likelihood - gap * len(population),
        gap=gap,
        divergence=divergence,
        directions=directions,
        remarks=(*_sleepers(divergence, directions), *_by_heart(trained.encoder, gap, gap_of_new)),
        gap_of_new=gap_of_new,
    )


def _gap(trained: Amortised, model: Model, population: Population, key: PRNGKeyArray) -> float:
    """What the bound lacks, per person."""
    many = dataclasses.replace(trained, draws=_DRAWS)
    return float(np.mean(np.asarray(terms_of(many, model, population, key).details["shortfall"])))


def _strangers(model: Model, population: Population, key: PRNGKeyArray) -> Population | None:
    """People simulated from the model, seen as those of the population are; None where that cannot be."""
    count = len(population)
    whose = population if count <= _NEW else population[np.linspace(0, count - 1, _NEW).astype(int)]
    try:
        return simulate(model, whose, key)
    except (Refusal, NotImplementedError):
        return None


def _by_heart(encoder: AnyEncoder, gap: float, gap_of_new: float) -> tuple[str, ...]:
    """A sentence for an encoder that answers well for its own people alone."""
    if not gap_of_new - gap > _BY_HEART:
        return ()
    remedy = "more people to train on" if isinstance(encoder, SetEncoder) else "mf.networks.SetEncoder or more people"
    return (
        f"the encoder knows its own people by heart: its answers lack {gap:.2g} nats for one of them, and "
        f"{gap_of_new:.2g} for somebody new, simulated from this model. The likelihood is by the former and holds; ask "
        f"of new people by mf.individual without a proposal, which searches. What helps the encoder: {remedy}.",
    )


def divergence_over(
    encoder: AnyEncoder, model: Model, population: Population
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "K K"]]:
    """`divergence_by_dimension` of an encoder's answers for a population; NaN where p(eta) is not Gaussian."""
    law = gaussian_law_of(model)
    if law is None:
        return np.full(encoder.effects, np.nan), np.eye(encoder.effects)
    return divergence_by_dimension(jax.tree.map(np.asarray, _encoded(encoder, population.subjects)), law)


@compiled
def _encoded(encoder: AnyEncoder, subjects: Subject) -> Gaussian:
    return jax.vmap(encoder)(subjects)


def divergence_by_dimension(q: Gaussian, law: GaussianLaw) -> tuple[np.ndarray, np.ndarray]:
    """Mean KL from the prior, dimension by dimension, and the directions, in which p(eta) is N(0, I).

    Of q with a diagonal covariance and independent random effects, the dimensions are the random effects; else the
    principal axes of the means. The sum is the whole KL less what correlations within q add, which is little along
    these axes.
    """
    mean = np.asarray(law.mean, float)
    lower = np.asarray(law.lower, float)
    centred = np.linalg.solve(lower, (np.asarray(q.mean) - mean).T).T
    roots = np.linalg.solve(lower, np.asarray(q.lower))
    covariances = roots @ np.swapaxes(roots, 1, 2)
    directions = np.eye(mean.size)
    if np.any(covariances[:, ~np.eye(mean.size, dtype=bool)] != 0.0):
        directions = np.linalg.eigh(np.cov(centred, rowvar=False, bias=True).reshape(mean.size, -1))[1].T[::-1]
    along = centred @ directions.T
    variance = np.einsum("ka,nab,kb->nk", directions, covariances, directions)
    divergence = 0.5 * np.mean(along**2 + variance - 1.0 - np.log(variance), axis=0)
    order = np.argsort(-divergence) if np.any(directions != np.eye(mean.size)) else np.arange(mean.size)
    return divergence[order], directions[order]


def _sleepers(divergence: np.ndarray, directions: np.ndarray) -> tuple[str, ...]:
    """A sentence for random effects whose posterior is the prior for everybody."""
    asleep = np.flatnonzero(divergence < ASLEEP)
    if asleep.size == 0:
        return ()
    if np.any(directions != np.eye(len(directions))):
        who = f"{asleep.size} of {divergence.size} directions of the random effects"
    else:
        names = ", ".join(str(i + 1) for i in asleep)
        who = f"random effect{'s' if asleep.size > 1 else ''} {names}"
    sleep = "sleep" if asleep.size > 1 else "sleeps"
    return (
        f"collapsed: {who} {sleep}, the encoder's answer being the prior for everybody. The data may say nothing of "
        "it; or a diagonal q or an early optimum hides it: try full=True, another seed, or fewer random effects.",
    )
