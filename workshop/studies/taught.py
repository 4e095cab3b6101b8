"""An encoder taught by a model that is known: how near its posteriors come to those by a search and importance weights.

People and model are those of `one_person.py`; what is to be known is log AUC = log(dose / CL).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import mefit as mf
from mefit.data.changing import with_room

from . import one_person

DESIGNS = ((4.0,), (24.0,), (2.0, 24.0), (1.0, 4.0, 24.0), (0.5, 1.0, 2.0, 4.0, 12.0, 24.0))
_PLANNED = 200  # people whose doses and times the encoder is taught with
_MOST = 6  # samples


class Nearness(NamedTuple):
    """One way to everybody's posterior of log AUC, beside the exact one."""

    error: float  # root mean square of the posterior mean less the truth, over that of the exact posterior
    distance: float  # of the posterior means, in exact posterior SDs, root mean square
    spread: float  # mean posterior SD, over the exact one's
    cover: float  # share of people whose true log AUC lies within 1.645 posterior SDs of the mean
    effective: float  # share of the proposed draws that count; 1 without weights


def planned(seed: int) -> mf.Population:
    """People with up to six samples at random times, and 50, 100 or 200 mg; their responses are not looked at."""
    rng = np.random.default_rng(seed)
    subjects = []
    for _ in range(_PLANNED):
        time = np.sort(np.exp(rng.uniform(np.log(0.25), np.log(30.0), rng.integers(1, _MOST + 1))))
        doses = mf.regimen(float(rng.choice([50.0, 100.0, 200.0])))
        unseen = jnp.ones(time.size)
        subjects.append(mf.Subject(jnp.asarray(time), unseen, unseen > 0.0, {}, doses))
    return mf.Population.from_subjects(subjects)


def taught(seed: int, looks: int = 2) -> mf.ModelEncoder:
    """The encoder, on 5,000 simulated people."""
    return mf.taught_encoder(one_person.truth(), planned(seed), looks=looks, key=jax.random.key(seed))


class Known(NamedTuple):
    """Posterior mean and SD of everybody's log AUC."""

    mean: Float[np.ndarray, " N"]
    sd: Float[np.ndarray, " N"]
    effective: float = 1.0


def alone(encoder: mf.ModelEncoder, people: mf.Population) -> Known:
    """The encoder's answer as it is."""
    q = _answers(encoder, with_room(people.subjects))
    return Known(-np.asarray(q.mean)[:, 1], np.sqrt(np.sum(np.asarray(q.lower)[:, 1] ** 2, axis=1)))


def weighed(people: mf.Population, samples: int, seed: int, encoder: mf.ModelEncoder | None = None) -> Known:
    """By importance weights, from the encoder's answer, or else from a search for each mode."""
    sampling = mf.ImportanceSampling(samples=samples, proposal=encoder)
    keys = jax.random.split(jax.random.key(seed), len(people))
    found = _drawn(sampling, one_person.truth(), with_room(people.subjects), keys)
    share = np.asarray(jax.nn.softmax(found.log_weight, axis=1))
    log_auc = -np.asarray(found.etas)[:, :, 1]
    mean = np.sum(share * log_auc, axis=1)
    sd = np.sqrt(np.sum(share * (log_auc - mean[:, None]) ** 2, axis=1))
    return Known(mean, sd, float(np.mean(1.0 / np.sum(share**2, axis=1)) / samples))


@eqx.filter_jit
def _answers(encoder: mf.ModelEncoder, subjects: mf.Subject) -> Any:
    return jax.vmap(encoder)(subjects)


@eqx.filter_jit
def _drawn(sampling: mf.ImportanceSampling, model: mf.Model, subjects: mf.Subject, keys: Any) -> Any:
    return jax.vmap(lambda subject, key: sampling.weighted(model, subject, key))(subjects, keys)


def nearness(encoder: mf.ModelEncoder, count: int, times: tuple[float, ...], seed: int) -> dict[str, Nearness]:
    """The exact posterior (a search and 4,000 draws), the encoder alone, and the encoder with 300 draws."""
    patients = one_person.patients(count, times, seed)
    true = -np.log(patients.clearance / one_person.TYPICAL[1])
    exact = weighed(patients.population, 4000, seed)
    ways = {
        "exact": exact,
        "encoder": alone(encoder, patients.population),
        "encoder, weighed": weighed(patients.population, 300, seed + 1, encoder),
    }

    def error(known: Known) -> float:
        return float(np.sqrt(np.mean((known.mean - true) ** 2)))

    return {
        name: Nearness(
            error=error(known) / error(exact),
            distance=float(np.sqrt(np.mean(((known.mean - exact.mean) / exact.sd) ** 2))),
            spread=float(np.mean(known.sd / exact.sd)),
            cover=float(np.mean(np.abs(known.mean - true) < 1.645 * known.sd)),
            effective=known.effective,
        )
        for name, known in ways.items()
    }
