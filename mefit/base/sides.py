"""Where else a search for a subject's mode may begin: at points spread over the prior, and to the sides of its mean."""

import numpy as np
from jaxtyping import Float

FAR = 2.0  # SDs of the prior from its mean
_FEW = 4  # random effects, up to which there is a point on both sides along each
_TILT = 0.25  # of a point that stands 1 along one axis, along the others
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
    """Points about so many SDs of the prior from its mean, in these SDs.

    None lies on an axis: where the sign of an effect is not seen, a search that begins at 0 of it stays there. And of
    the four ways in which two effects may be signed, each has a point.
    """
    if k > _FEW:
        return far / FAR * scattered(_MANY, k)
    tilt = np.triu(np.ones((k, k)), 1)
    axes = far * (np.eye(k) + _TILT * (tilt - tilt.T))
    return np.concatenate([axes, -axes])
