"""Grids with names for their axes, for xarray, where that is installed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def labelled(
    variables: Mapping[str, tuple[Sequence[str], Any]],
    axes: Mapping[str, Any],
    about: Mapping[str, str],
) -> Any:
    """An `xarray.Dataset`: each variable with the names of its axes, the values along these, and words about it.

    ImportError, in one sentence, where xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise ImportError("to_xarray needs xarray, which is not installed: pip install xarray.") from None
    made = {name: (tuple(names), np.asarray(values)) for name, (names, values) in variables.items()}
    return xarray.Dataset(made, coords=dict(axes), attrs=dict(about))
