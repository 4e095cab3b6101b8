"""Many cases: in the order that was asked for, none lost and none doubled, though a worker is killed."""

import os
import signal
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from models import Line

import mefit as mf

HOME = Path(__file__).resolve().parents[2]
CASES = (4, 1, 4, 2, 6, 3)  # of equal ones each is computed
MODEL = Line(beta=jnp.array([245.0, 9.0]), omega=jnp.array([[400.0, 20.0], [20.0, 30.0]]), sigma=14.0)


def estimate(seed):
    """The intercept that a fit finds in data simulated with this seed."""
    data = mf.simulate(MODEL, mf.datasets.sleepstudy()[:6], jax.random.key(seed))
    return float(mf.fit(MODEL, data, mf.FO(), progress=False).model.beta[0])


class DeadlyOnce:
    """`estimate`, which kills its worker at the first try of one case; notes every try in a folder."""

    def __init__(self, folder, deadly):
        self.folder = folder
        self.deadly = deadly

    def __call__(self, seed):
        tries = len(list(self.folder.glob(f"{seed}-*")))
        (self.folder / f"{seed}-{os.getpid()}").touch()
        if seed == self.deadly and tries == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return estimate(seed)


def test_here_one_after_the_other():
    done = []
    assert mf.for_each(lambda case: done.append(case) or -case, iter(CASES), progress=False) == [-c for c in CASES]
    assert done == list(CASES)


def test_an_error_names_its_case():
    with pytest.raises(ZeroDivisionError) as caught:
        mf.for_each(lambda case: 1 / case, [1, 0, 2], progress=False)
    assert caught.value.__notes__ == ["It was raised for the case 0."]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_two_workers_one_of_which_is_killed(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    paths = (str(HOME), str(HOME / "tests"), str(HOME / "tests/base"), os.environ.get("PYTHONPATH"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dask's own, of ports and of the worker that is gone
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50)
        with cluster, distributed.Client(cluster) as client:
            found = mf.for_each(DeadlyOnce(tmp_path, 2), CASES, client=client, progress=False)
            with pytest.raises(ZeroDivisionError) as caught:
                mf.for_each(inverse, [1, 0], client=client, progress=False)
    assert caught.value.__notes__ == ["It was raised for the case 0."]
    assert found == [estimate(case) for case in CASES]
    assert len(list(tmp_path.glob("2-*"))) == 2  # the first try, and the one that counts


def inverse(case):
    return 1 / case
