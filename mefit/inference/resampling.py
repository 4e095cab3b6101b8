"""Uncertainty by drawing again: the bootstrap over subjects, and sampling importance resampling (SIR).

Both evaluate many (theta, subject) pairs at once, through one program that is compiled once for a model.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray
from tqdm.auto import tqdm

from ..base.chance import numpy_generator, require_key
from ..fitting.result import Fit
from ..model.numbers import labels_of
from ..model.space import free_vector
from .pairs import Pairs
from .standard_errors import Uncertainty, covariance, natural, tabulate

_PAIRS_A_GROUP = 4096  # what is done between two looks at the progress bar


def bootstrap(
    fit: Fit, replicates: int = 500, *, key: PRNGKeyArray | None = None, level: float = 0.95, progress: bool = True
) -> Uncertainty:
    """Bootstrap over subjects: each replicate draws N subjects with replacement and maximises the objective anew.

    A replicate is a weight for each subject. All of a group are refitted together, by BFGS from the estimates, the
    observed information telling how far to go; a replicate ends where its gradient is below 0.001 for a move of one
    standard error. Intervals are percentiles. Replicates that did not converge are left out, counted in
    `details["failed"]`, and said. Interrupting returns those that are done.
    Source: Efron (1979), Ann. Statist. 7; over subjects, Ette (1997), J. Clin. Pharmacol. 37.
    """
    rng, root, pairs = _generator(key, "bootstrap"), np.linalg.cholesky(covariance(fit)), Pairs(fit)
    count, centre = len(fit.population), free_vector(fit.model, fit.fixed)
    weights = rng.multinomial(count, np.full(count, 1.0 / count), size=replicates)
    done = _in_groups(lambda some: _refit(pairs, centre, root, weights[some]), replicates, count, "bootstrap", progress)
    x, kept = (np.concatenate(part) for part in zip(*done, strict=True))
    remarks = _interrupted(len(x), replicates, "replicates")
    if not np.all(kept):
        remarks += (f"{np.sum(~kept)} of {len(kept)} replicates did not converge and are left out.",)
    details = {"replicates": len(x), "failed": int(np.sum(~kept)), "weights": weights[: len(x)][kept]}
    return _from_draws(fit, "Bootstrap over subjects", x[kept], level, remarks, details)


def sir(
    fit: Fit,
    samples: int = 2000,
    resamples: int = 500,
    *,
    key: PRNGKeyArray | None = None,
    inflation: float = 1.0,
    level: float = 0.95,
    progress: bool = True,
) -> Uncertainty:
    """Sampling importance resampling: the likelihood, read as a density of the free coordinates, by weighted draws.

    `samples` vectors come from q = N(estimate, inflation x covariance), each with weight L(x) p(theta) / q(x), and
    `resamples` of them are drawn without replacement in proportion. `details["effective_sample_size"]` is
    (sum w)^2 / sum w^2; where it is small the proposal is poor, and a remark says so.
    Source: Dosne, Bergstrand, Harling and Karlsson (2016), J. Pharmacokinet. Pharmacodyn. 43.
    """
    rng, root, pairs = _generator(key, "sir"), np.linalg.cholesky(covariance(fit)), Pairs(fit)
    if not 1 < resamples <= samples:
        raise ValueError(f"sir cannot draw {resamples} of {samples} without replacement: give more samples.")
    count, normal = len(fit.population), rng.standard_normal((samples, len(root)))
    x = free_vector(fit.model, fit.fixed) + np.sqrt(inflation) * normal @ root.T

    def log_ratio(some):
        return 0.5 * np.sum(normal[some] ** 2, 1) - pairs.total(x[some], np.ones((len(x[some]), count)))[0]

    log_weight = np.concatenate(_in_groups(log_ratio, samples, count, "SIR", progress))
    if len(log_weight) < resamples:
        raise KeyboardInterrupt(f"interrupted before {resamples} samples: there is no result yet")
    log_weight = np.where(np.isfinite(log_weight), log_weight, -np.inf)
    weight = np.exp(log_weight - np.max(log_weight))
    effective = float(np.sum(weight) ** 2 / np.sum(weight**2))
    # Without replacement, in proportion to the weights: the largest of log w + Gumbel noise.
    chosen = np.argsort(-log_weight - rng.gumbel(size=len(log_weight)))[:resamples]
    remarks = _interrupted(len(log_weight), samples, "samples")
    if effective < resamples:
        advice = f"take more samples, or a wider proposal such as inflation={2 * inflation:g}"
        remarks += (f"only {effective:.0f} of {len(log_weight)} samples count, fewer than resampled: {advice}.",)
    details = {"effective_sample_size": effective, "log_weights": log_weight}
    return _from_draws(fit, "Sampling importance resampling", x[chosen], level, remarks, details)


def _in_groups(work: Callable[[slice], Any], total: int, subjects: int, label: str, progress: bool) -> list:
    """What `work` makes of one group after another; where it is interrupted, what is done so far."""
    size, done = max(1, min(50, _PAIRS_A_GROUP // subjects)), []
    with tqdm(total=total, desc=label, disable=not progress, leave=False) as bar:
        try:
            for begin in range(0, total, size):
                end = min(begin + size, total)
                done.append(work(slice(begin, end)))
                bar.update(end - begin)
        except KeyboardInterrupt:
            if not done:
                raise KeyboardInterrupt("interrupted during the first group: there is no result yet") from None
    return done


def _interrupted(done: int, asked: int, what: str) -> tuple[str, ...]:
    return () if done == asked else (f"interrupted: {done} of {asked} {what} were done.",)


def _generator(key: Any, who: str) -> np.random.Generator:
    require_key(key, who)
    return numpy_generator(key)


def _from_draws(fit: Fit, method: str, x: np.ndarray, level: float, remarks: tuple, details: dict) -> Uncertainty:
    if len(x) < 2:
        raise ValueError(f"{method}: fewer than two draws converged, which gives no spread; look at the fit first.")
    estimate = np.asarray(natural(fit.model, fit.fixed, free_vector(fit.model, fit.fixed)[None]))[0]
    draws = np.asarray(natural(fit.model, fit.fixed, x))
    low, high = np.quantile(draws, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
    frame = pd.DataFrame(draws, columns=labels_of(fit.model, fit.fixed))
    facts = {"draws": frame, "remarks": remarks, "details": details}
    return tabulate(fit, method, estimate, np.atleast_2d(np.cov(draws, rowvar=False)), low, high, **facts)


def _refit(
    pairs: Pairs, centre: np.ndarray, root: np.ndarray, weights: np.ndarray, tolerance: float = 1e-3, most: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the weighted objective of every replicate at once: BFGS in u, x = centre + root u, one trial a round.

    Returns x (R, P) and which replicates converged. Source: Nocedal and Wright (2006), algorithm 6.1, backtracking.
    """
    u, eye = np.zeros((len(weights), len(centre))), np.eye(len(centre))
    inverse = np.tile(eye, (len(u), 1, 1))

    def total(u, weights):
        value, slope = pairs.total(centre + u @ root.T, weights)
        return value, slope @ root

    (value, gradient), length = total(u, weights), np.ones(len(u))
    for _ in range(most):
        going = np.flatnonzero((np.max(np.abs(gradient), 1) > tolerance) & (length > 1e-6))
        if not going.size:
            break
        g = gradient[going]
        direction = -np.einsum("rpq,rq->rp", inverse[going], g)
        norm_ = np.linalg.norm(direction, axis=1, keepdims=True)
        step = length[going, None] * direction * np.minimum(1.0, 5.0 / norm_)  # at most five standard errors
        with np.errstate(all="ignore"):
            (trial, slope), expected = total(u[going] + step, weights[going]), np.sum(g * step, 1)
            good = np.isfinite(trial) & np.all(np.isfinite(slope), 1)
            good &= trial <= value[going] + 1e-4 * expected + 1e-9
            shorter = np.clip(np.nan_to_num(-0.5 * expected / (trial - value[going] - expected)), 0.1, 0.5)
        length[going] = np.where(good, 1.0, length[going] * shorter)
        won, change, bend = going[good], step[good], (slope - g)[good]
        curved = np.sum(change * bend, 1)
        keep = curved > 1e-8 * np.linalg.norm(change, axis=1) * np.linalg.norm(bend, axis=1)
        rho = np.where(keep, 1.0 / np.where(keep, curved, 1.0), 0.0)[:, None, None]
        left = eye - rho * change[:, :, None] * bend[:, None, :]
        inverse[won] = left @ inverse[won] @ np.swapaxes(left, 1, 2) + rho * change[:, :, None] * change[:, None, :]
        u[won], value[won], gradient[won] = u[won] + change, trial[good], slope[good]
    return centre + u @ root.T, np.max(np.abs(gradient), 1) <= 10 * tolerance
