"""Large calls of LAPACK: no two wait for each other, and their numbers are those of one matrix after the other."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.scipy.linalg import solve_triangular

from mefit.base import lapack
from mefit.base.compiling import compiled
from mefit.base.xla import installed_jaxlib

HOME = Path(__file__).resolve().parents[2]
AT_ONCE = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jax.scipy.linalg import solve_triangular

import mefit as mf
from mefit.base.compiling import compiled
from mefit.base.devices import AXIS, mesh_of, using

if sys.argv[1] == "plainly":
    from mefit.base import lapack

    lapack.waits_for_itself = lambda jaxlib: False
with using(2):
    mesh = mesh_of(2, 1)
dealt = PartitionSpec(AXIS)


def solved(matrices):
    right = jnp.ones((len(matrices), 3, 1000))
    return jnp.sum(solve_triangular(jnp.linalg.cholesky(matrices), right, lower=True))[None]


@compiled
def both(matrices):
    return jax.shard_map(solved, mesh=mesh, in_specs=(dealt,), out_specs=dealt)(matrices)


for _ in range(300):
    found = both(np.tile(4.0 * np.eye(3), (2000, 1, 1)))
print(np.asarray(found))
"""


def on_two_devices(how, seconds):
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "JAX_NUM_CPU_DEVICES": "2", "NPROC": "1"}
    command = [sys.executable, "-c", AT_ONCE, how]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=seconds).stdout


def test_two_devices_that_solve_at_once_come_to_an_end():
    assert on_two_devices("kept small", 300).split() == ["[1500000.", "1500000.]"]  # 1000 x 3 x 1000 / 2


@pytest.mark.slow
@pytest.mark.skipif(not lapack.waits_for_itself(installed_jaxlib()), reason="this jaxlib does not")
def test_without_it_they_wait_for_ever():
    with pytest.raises(subprocess.TimeoutExpired):
        on_two_devices("plainly", 60)


def matrices(*shape):
    a = np.random.default_rng(3).normal(size=shape)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


MANY = matrices(7, 300, 4, 4)  # more than a call may take


@pytest.mark.parametrize(
    ("ours", "numpys", "many"),
    [
        (jnp.linalg.cholesky, np.linalg.cholesky, MANY),
        (jnp.linalg.inv, np.linalg.inv, MANY),
        (jnp.linalg.eigvalsh, np.linalg.eigvalsh, MANY),
        (lambda a: jnp.linalg.svd(a, compute_uv=False), lambda a: np.linalg.svd(a, compute_uv=False), MANY),
        (lambda a: jnp.abs(jnp.linalg.qr(a)[1]), lambda a: np.abs(np.linalg.qr(a)[1]), MANY),
        (lambda a: jnp.sort(jnp.linalg.eigvals(a).real), lambda a: np.sort(np.linalg.eigvals(a).real), MANY),
        (jnp.linalg.cholesky, np.linalg.cholesky, matrices(3, 100, 100)),
    ],
    ids=["cholesky", "inverse", "eigenvalues", "singular values", "QR", "of any matrix", "three large ones"],
)
def test_numbers_are_numpys(ours, numpys, many):
    np.testing.assert_allclose(compiled(ours)(many), numpys(many), rtol=1e-9, atol=1e-10)


def test_a_band_is_solved():
    ones = np.ones((7, 300, 5))
    right = np.random.default_rng(1).normal(size=(7, 300, 5, 2))
    solved = compiled(lambda b: jax.lax.linalg.tridiagonal_solve(0.2 * ones, 3.0 * ones, 0.1 * ones, b))(right)
    band = np.outer([0.1, 3.0, 0.2], np.ones(5))  # above, on and below the diagonal
    for i in (0, 6):
        expected = scipy.linalg.solve_banded((1, 1), band, right[i, 299])
        np.testing.assert_allclose(solved[i, 299], expected, rtol=1e-12, atol=1e-12)


def test_many_matrices_without_a_row_are_nothing():
    assert compiled(jnp.linalg.cholesky)(np.zeros((20_000, 0, 0))).shape == (20_000, 0, 0)


def test_derivatives_pass_through():
    """The gradient of log|A| is A^-1, forward and in reverse, inside other transformations too."""

    def log_det(a):
        lower = jnp.linalg.cholesky(a)
        return 2.0 * jnp.sum(jnp.log(jnp.diagonal(lower)))

    slope = compiled(lambda a: jax.vmap(jax.vmap(jax.grad(log_det)))(a))(MANY)
    symmetric = 0.5 * (slope + jnp.swapaxes(slope, -1, -2))
    np.testing.assert_allclose(symmetric, np.linalg.inv(MANY), rtol=1e-8, atol=1e-10)
    forward = compiled(lambda a: jax.vmap(jax.vmap(jax.jacfwd(log_det)))(a))(MANY)
    np.testing.assert_allclose(forward, slope, rtol=1e-8, atol=1e-10)


def test_draws_of_many_people_are_solved_bit_by_bit_as_those_of_one():
    lower = np.linalg.cholesky(MANY[0])
    draws = np.random.default_rng(2).normal(size=(300, 4, 200))

    def solve(a, b):
        return solve_triangular(a, b, lower=True)

    together = compiled(jax.vmap(solve))(lower, draws)
    for i in (0, 7, 299):
        np.testing.assert_array_equal(together[i], compiled(solve)(lower[i], draws[i]))


def test_how_many_go_at_once():
    assert lapack.at_once(1, [(4, 4)]) == 1000  # half of 2,032, from which jaxlib 0.10.2 cuts
    assert lapack.at_once(10, [(16, 16)]) == 2  # less than 6, singular values
    assert lapack.at_once(1, [(100, 100)]) == 1
    assert lapack.at_once(1, [(3, 3), (3, 1000)]) == 5
    assert lapack.at_once(1, [(0, 0)]) > 1


def test_versions_that_are_known_to_wait():
    assert lapack.waits_for_itself("0.10.2") and lapack.waits_for_itself("0.11.1")
    assert not lapack.waits_for_itself("0.11.2") and not lapack.waits_for_itself("0.12.0.1")
