"""Uncertainty by drawing again: the bootstrap over subjects, and sampling importance resampling
(SIR).

Both evaluate many (theta, subject) pairs at once, through one program that is compiled once for a
model.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, PRNGKeyArray

from ..base.asked import require_count, require_share
from ..base.chance import numpy_generator, require_key
from ..base.stopping import Bar, is_interrupt, to_the_end, why_stopped
from ..fitting.result import Fit
from ..model.numbers import labels_of
from .many import ENDED, TOLERANCE, Maxima, maximise_many
from .pairs import Pairs
from .standard_errors import Uncertainty, covariance, natural, refuse_one_subject, tabulate

_PAIRS_A_GROUP = 4096  # what is done between two looks at the progress bar, at most
_FIRST = 50  # replicates: of a slow model a group takes long enough with so many
_SOON = 0.5  # seconds


def bootstrap(
    fit: Fit,
    replicates: int = 500,
    *,
    key: PRNGKeyArray | None = None,
    level: float | int = 0.95,
    progress: bool = True,
) -> Uncertainty:
    """Bootstrap over subjects: each replicate draws N subjects with replacement and maximises the
    objective anew.

        boot = mf.bootstrap(fit, 50, key=jax.random.key(1))
        boot.table

    A replicate is a weight for each subject. All of a group are refitted together, by BFGS from the
    estimates, the observed information telling how far to go; a replicate ends where its gradient
    is below 0.001 for a move of one standard error. Intervals are percentiles. Replicates that
    stalled below 0.05 are kept, counted in `details["stalled"]`, and said; others that did not
    converge are left out, counted in `details["failed"]`, and said. Interrupting, or an error,
    returns those that are done. ValueError for a single subject, which is drawn the same every
    time.
    Source: Efron (1979), Ann. Statist. 7; over subjects, Ette (1997), J. Clin. Pharmacol. 37.
    """
    rng = _generator(key, "bootstrap")
    require_share(level)
    require_count(replicates, 2, "bootstrap's replicates")
    refuse_one_subject(fit, "a bootstrap over subjects draws the same one every time")
    root = np.linalg.cholesky(covariance(fit))
    pairs = Pairs(fit)
    centre = fit.space.vector()
    count = len(fit.population)
    weights = rng.multinomial(count, np.full(count, 1.0 / count), size=replicates)

    def refit(group: slice) -> Maxima:
        return maximise_many(pairs, centre, root, weights[group])

    groups, why = in_groups(refit, replicates, *_group_sizes(count), "bootstrap", progress)
    x = np.concatenate([refits.x for refits in groups])
    gradient = np.concatenate([refits.gradient for refits in groups])
    kept = gradient <= ENDED
    failed = int(np.sum(~kept))
    stalled = int(np.sum(kept & (gradient > TOLERANCE)))
    remarks = said_of_interrupt(why, len(x), replicates, "replicates")
    if failed:
        remarks += (f"{failed} of {len(kept)} replicates did not converge and are left out.",)
    if stalled:
        remarks += (
            f"{stalled} of {len(kept)} replicates stalled short of the tolerance of {TOLERANCE:g}, "
            f"below {ENDED:g} for a move of one standard error, and are kept.",
        )
    details = {"replicates": len(x), "failed": failed, "stalled": stalled, "weights": weights[: len(x)][kept]}
    return to_the_end(lambda: _from_draws(fit, "Bootstrap over subjects", x[kept], level, remarks, details))


def sir(
    fit: Fit,
    samples: int = 2000,
    resamples: int = 500,
    *,
    key: PRNGKeyArray | None = None,
    inflation: float | int = 1.0,
    level: float | int = 0.95,
    progress: bool = True,
) -> Uncertainty:
    """Sampling importance resampling: the likelihood, read as a density of the free coordinates, by
    weighted draws.

    `samples` vectors come from q = N(estimate, inflation x covariance), each with weight L(x)
    p(theta) / q(x), and `resamples` of them are drawn without replacement in proportion.
    `details["effective_sample_size"]` is (sum w)^2 / sum w^2; where it is small the proposal is
    poor, and a remark says so. Interrupting, or an error, leaves those samples that are done, and
    where they are fewer than `resamples`, as large a share of them.
    Source: Dosne, Bergstrand, Harling and Karlsson (2016), J. Pharmacokinet. Pharmacodyn. 43.

        spread = mf.sir(fit, key=key)
        spread.table
    """
    rng = _generator(key, "sir")
    require_share(level)
    require_count(samples, 2, "sir's samples")
    require_count(resamples, 2, "sir's resamples")
    if not 0.0 < inflation < np.inf:
        raise ValueError(f"sir's inflation widens the proposal, a positive factor such as 2; it is {inflation:g}.")
    root = np.linalg.cholesky(covariance(fit))
    pairs = Pairs(fit)
    if resamples > samples:
        raise ValueError(f"sir cannot draw {resamples} of {samples} without replacement: give more samples.")
    count = len(fit.population)
    normal = rng.standard_normal((samples, len(root)))
    x = fit.space.vector() + np.sqrt(inflation) * normal @ root.T

    def log_ratio(group: slice) -> Float[np.ndarray, " R"]:
        everyone_once = np.ones((len(x[group]), count))
        return 0.5 * np.sum(normal[group] ** 2, 1) - pairs.total(x[group], everyone_once).value

    groups, why = in_groups(log_ratio, samples, *_group_sizes(count), "SIR", progress)
    log_weight = np.concatenate(groups)
    done = len(log_weight)
    asked = resamples
    if done < resamples:
        resamples = max(2, done * resamples // samples)
    log_weight = np.where(np.isfinite(log_weight), log_weight, -np.inf)
    weight = np.exp(log_weight - np.max(log_weight))
    effective = float(np.sum(weight) ** 2 / np.sum(weight**2))
    # Without replacement, in proportion to the weights: the largest of log w + Gumbel noise.
    chosen = np.argsort(-log_weight - rng.gumbel(size=len(log_weight)))[:resamples]
    remarks = said_of_interrupt(why, done, samples, "samples")
    if len(chosen) < asked:
        remarks += (f"{len(chosen)} in place of {asked} are resampled.",)
    if effective < resamples:
        remarks += (
            f"only {effective:.0f} of {len(log_weight)} samples count, fewer than resampled: "
            f"take more samples, or a wider proposal such as inflation={2 * inflation:g}.",
        )
    details = {"effective_sample_size": effective, "log_weights": log_weight}
    return to_the_end(lambda: _from_draws(fit, "Sampling importance resampling", x[chosen], level, remarks, details))


def _group_sizes(subjects: int) -> tuple[int, int]:
    """How many replicates make the first group, and how many a later one at most."""
    most = max(1, _PAIRS_A_GROUP // subjects)
    return min(_FIRST, most), most


class Groups(NamedTuple):
    """What was made of replicates, group by group."""

    done: list
    why: str  # it was stopped; empty where it was not


def in_groups(work: Callable[[slice], Any], total: int, size: int, most: int, label: str, progress: bool) -> Groups:
    """What `work` makes of one group after another; where it is stopped, what is done so far.

    The first group is of `size`. After one that took no time the next is four times as large, up to `most`: so fewer
    calls of a program leave some of their room empty, and there is enough to share out among devices.
    """
    done: list[Any] = []
    end = 0
    with Bar(label, total=total, shown=progress) as bar:
        try:
            while end < total:
                begun = time.monotonic()
                group = slice(end, min(end + size, total))
                done.append(work(group))
                end = group.stop
                bar.update(group.stop - group.start)
                if time.monotonic() - begun < _SOON:
                    size = min(4 * size, most)
        except (KeyboardInterrupt, Exception) as error:
            if end >= 2:  # one draw has no spread
                return Groups(done, why_stopped(error))
            if not is_interrupt(error):
                raise
            raise KeyboardInterrupt("interrupted during the first group: there is no result yet") from None
    return Groups(done, "")


def said_of_interrupt(why: str, done: int, asked: int, unit: str) -> tuple[str, ...]:
    """A sentence where it was stopped."""
    return (f"{why}: {done} of {asked} {unit} were done.",) if why else ()


def _generator(key: Any, caller: str) -> np.random.Generator:
    require_key(key, caller)
    return numpy_generator(key)


def _from_draws(fit: Fit, method: str, x: np.ndarray, level: float | int, remarks: tuple, details: dict) -> Uncertainty:
    """The result of vectors of free coordinates, x (R, P), that are alike likely."""
    if len(x) < 2:
        raise ValueError(f"{method}: fewer than two draws converged, which gives no spread; look at the fit first.")
    estimate = np.asarray(natural(fit.space, fit.space.vector()[None]))[0]
    draws = np.asarray(natural(fit.space, x))
    low, high = np.quantile(draws, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
    return tabulate(
        fit,
        method,
        estimate=estimate,
        covariance=np.atleast_2d(np.cov(draws, rowvar=False)),
        low=low,
        high=high,
        draws=pd.DataFrame(draws, columns=labels_of(fit.model, fit.fixed)),
        remarks=remarks,
        details=details,
    )
