"""How heavy the tail of importance weights is: whether their average can be trusted."""

import numpy as np
from jaxtyping import Float

_FEWEST = 5  # weights in a tail


def pareto_k(log_weight: Float[np.ndarray, " M"]) -> float:
    """The shape k of a generalised Pareto distribution fitted to the largest weights.

    Below 0.5 the weights have a variance; up to 0.7 averages over them are still good; above they are not to be trusted
    and another proposal is needed. The tail are the 3 sqrt(M) largest weights, a fifth of them at most. Minus infinity
    where all of the tail are the same; infinity where a quarter of it is nothing beside the largest, or a weight is no
    number; NaN for fewer than 25 weights, which have too short a tail.
    Sources: Vehtari et al. (2024), J. Mach. Learn. Res. 25(72); the fit: Zhang and Stephens (2009), Technometrics 51.
    """
    count = len(log_weight)
    size = int(min(0.2 * count, 3.0 * np.sqrt(count)))
    if size < _FEWEST:
        return np.nan
    if not np.isfinite(np.max(log_weight)):
        return np.inf
    weights = np.sort(np.exp(log_weight - np.max(log_weight)))
    excess = weights[-size:] - weights[-size - 1]
    if excess[-1] <= 0.0:
        return -np.inf
    return _shape_of(excess)


def _shape_of(x: Float[np.ndarray, " m"]) -> float:
    """Zhang and Stephens' estimate from sorted excesses, drawn a little towards 0.5 as for short tails."""
    size = len(x)
    candidates = 30 + int(np.sqrt(size))
    place = np.arange(1, candidates + 1) - 0.5
    quartile = x[int(size / 4 + 0.5) - 1]
    if quartile <= 0.0:  # a quarter of the tail is nothing beside the largest weights
        return np.inf
    b = (1.0 - np.sqrt(candidates / place)) / (3.0 * quartile) + 1.0 / x[-1]
    k = np.mean(np.log1p(-b[:, None] * x), axis=1)
    log_likelihood = size * (np.log(-b / k) - k - 1.0)
    share = np.exp(log_likelihood - log_likelihood.max())  # from the highest on, so that none overflows
    share = share / share.sum()
    best = float(np.sum(b * share) / np.sum(share))
    shape = float(np.mean(np.log1p(-best * x)))
    return (size * shape + 10.0 * 0.5) / (size + 10.0)
