"""Fixtures of the suite: populations, and fits that many tests look at, made once a session."""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import jaxtyping._import_hook as hook
import numpy as np
import pytest

# Python 3.15 hands the hook that checks shapes and types one argument more, and takes one less from it, than
# jaxtyping 0.3.11 knows of. With a jaxtyping that knows, this can go.
if sys.version_info >= (3, 15):
    _place = hook.cache_from_source
    _compile = hook._JaxtypingLoader.source_to_code
    hook.cache_from_source = lambda path, _=None, **options: _place(path, **options)
    hook._JaxtypingLoader.source_to_code = lambda self, data, path, *_, **options: _compile(self, data, path, **options)

sys.path.insert(0, str(pathlib.Path(__file__).parent))

# Checks of exercises try a learner's function on fresh random inputs. In the tests these are the same in every run.
_generator = np.random.default_rng
np.random.default_rng = lambda seed=20260101: _generator(seed)

import mefit as mf  # noqa: E402


@pytest.fixture(scope="session")
def theophylline():
    """Dose in mg/kg, 132 rows."""
    return mf.datasets.theophylline()


@pytest.fixture(scope="session")
def theophylline_mg():
    """Dose in mg, 132 rows."""
    return mf.datasets.theophylline(per_kg=False)


@pytest.fixture(scope="session")
def fitted(theophylline):
    """fitted(method) is the theophylline model of the lessons fitted by that method, once a session."""
    from models import theophylline_model

    @functools.cache
    def fit(method):
        return mf.fit(theophylline_model(), theophylline, method, key=jax.random.key(1), progress=False)

    return fit


@pytest.fixture
def key():
    return jax.random.key(20260101)


@pytest.fixture(scope="session")
def linear_population():
    """Five subjects on a line, with unequal numbers of rows and one missing response."""
    import pandas as pd

    rng = np.random.default_rng(7)
    rows = []
    for subject in range(5):
        b0, b1 = 250 + 20 * rng.normal(), 10 + 5 * rng.normal()
        for time in range(4 + subject):
            rows.append((subject + 1, float(time), b0 + b1 * time + 15 * rng.normal()))
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DV"])
    frame.loc[6, "DV"] = np.nan
    return mf.Population.from_frame(frame)


@pytest.fixture(scope="session")
def line_model():
    from models import Line

    return Line(beta=jnp.array([245.0, 9.0]), omega=jnp.array([[400.0, 20.0], [20.0, 30.0]]), sigma=14.0)
