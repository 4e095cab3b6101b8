"""Fixtures of the suite: populations, and fits that many tests look at, made once a session; and its order."""

import ctypes
import functools
import gc
import math
import mmap
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

from notebook_warnings import NotebookWarnings  # noqa: E402

import mefit as mf  # noqa: E402
from mefit.base import compiling  # noqa: E402

# The files that take longest, longest first; of the others each takes less than half a minute.
LONG_FILES = (
    "test_browser.py",
    "test_laws.py",
    "test_units.py",
    "test_reference.py",
    "test_saem.py",
    "test_storage.py",
    "test_dynamics.py",
    "test_fit.py",
    "test_diagnostics.py",
    "test_phenomena.py",
    "test_outcomes.py",
    "test_pk.py",
    "test_sampling.py",
    "test_mechanisms.py",
    "test_diagnostic_plots.py",
    "test_checks.py",
    "test_uncertainty.py",
    "test_influence.py",
    "test_covariate_search.py",
    "test_report_page.py",
    "test_exercises.py",
)
SMALL = 1_000_000_000  # bytes


def pytest_configure(config):
    """The quick tests wait for compiling more than for anything else: LLVM leaves their programs as they are, which
    takes a third off. The digits are the same. Slow tests, notebooks and other processes run what learners run."""
    if config.option.markexpr == "not slow":
        compiling.OPTIONS[compiling.LEVEL] = 0
    config.pluginmanager.register(NotebookWarnings())


def pytest_collection_modifyitems(items):
    """Notebooks come first: each has a kernel beside its worker, which holds no programs yet. Then the long files, so
    that no worker begins one when the other has nothing left to do."""

    def place(item):
        if item.path.suffix == ".ipynb":
            return -1
        return LONG_FILES.index(item.path.name) if item.path.name in LONG_FILES else len(LONG_FILES)

    items.sort(key=place)


def pytest_collection_finish():
    """Tracing a program makes many small objects, among which Python looks for cycles again and again: a fifth of the
    time of these tests. It looks less often, and not among what was imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def memory() -> float:
    """Bytes that this process holds, where the system has them at hand; else infinite."""
    pages = pathlib.Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * mmap.PAGESIZE if pages.exists() else math.inf


@pytest.fixture
def compiled_meanwhile():
    """What JAX compiles, down to the smallest program."""
    names = []

    def listen(event, seconds, **facts):
        if event.endswith("backend_compile_duration"):
            names.append(facts.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="module", autouse=True)
def programs_of_other_files_are_forgotten():
    """A worker keeps every program that it has compiled: some 6 GB by the end. Once it has grown large it lets them go
    after a file; what the next file shares with this one comes back from the folder of compiled programs."""
    yield
    if memory() > SMALL:
        jax.clear_caches()
        gc.collect()
        if sys.platform == "linux":
            hand_back = getattr(ctypes.CDLL(None), "malloc_trim", lambda keep: 0)  # glibc keeps freed memory otherwise
            hand_back(0)


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
