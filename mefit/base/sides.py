"""Where else a search for a subject's mode may begin: at points spread over the prior, and to the sides of its mean."""

import numpy as np
from jaxtyping import Float

FAR = 2.0  # SDs of the prior from its mean
_FEW = 4  # random effects, up to which there is a point on both sides along each
_MANY = 8  # points spread over the prior for more of them


def scattered(count: int, k: int) -> Float[np.ndarray, "count K"]:
    """Points drawn from the prior, the same every time, in its SDs.

    SciPy's Halton sequence is a little more even, and takes a third of a second to import.
    """
    return np.random.default_rng(0).standard_normal((count, k))


def count_of_sides(k: int) -> int:
    """How many points `sides` gives for `k` random effects."""
    return 2 * k if k <= _FEW else _MANY


def sides(k: int, far: float = FAR) -> Float[np.ndarray, "D K"]:
    """Points about so many SDs of the prior from its mean, in these SDs."""
    if k > _FEW:
        return far / FAR * scattered(_MANY, k)
    axes = far * np.eye(k)
    return np.concatenate([axes, -axes])
