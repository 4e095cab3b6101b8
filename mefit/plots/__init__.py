"""Pictures of a population and of a fit: axes in, axes out. The core of the library does not import
them, and works without matplotlib."""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ModuleNotFoundError as _missing:
    if _missing.name != "matplotlib":
        raise  # matplotlib is there, and something that it needs is not
    raise ModuleNotFoundError(
        "Pictures and mf.report need matplotlib, which is not installed: pip install matplotlib.", name="matplotlib"
    ) from None

from .decisions import doses, next_sample
from .diagnoses import (
    convergence,
    correlation,
    discrepancies,
    effects_against_covariates,
    goodness_of_fit,
    histogram,
    profile,
    regimens,
    vpc,
)
from .fits import (
    compare_fits,
    history,
    individual_fits,
    observed,
    population_curves,
    posterior,
    random_effects,
    time_grid,
)
from .subjects import forest, influence

__all__ = [
    "compare_fits",
    "convergence",
    "correlation",
    "discrepancies",
    "doses",
    "effects_against_covariates",
    "forest",
    "goodness_of_fit",
    "histogram",
    "history",
    "individual_fits",
    "influence",
    "next_sample",
    "observed",
    "population_curves",
    "posterior",
    "profile",
    "random_effects",
    "regimens",
    "time_grid",
    "vpc",
]
