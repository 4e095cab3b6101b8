"""Curves without a model: against closed forms, and numbers that programs of noncompartmental analysis print."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mefit as mf


def test_a_measured_curve_as_other_programs_have_it(theophylline):
    """R's Theoph, subject 1: NonCompart 0.7 (AUCLST, AUCIFO, LAMZ, LAMZHL, AUCPEO), with either rule."""
    subject = theophylline[0]
    time, c = np.asarray(subject.time), np.asarray(subject.y)
    linear = mf.noncompartmental(time, c, log_down=False)
    falling = mf.noncompartmental(time, c)
    assert (linear.cmax, linear.tmax, linear.clast, linear.tlast) == (10.5, 1.12, 3.28, 24.37)
    assert linear.points == falling.points == (9.05, 12.12, 24.37)
    assert linear.lambda_z == pytest.approx(0.0484570, rel=1e-5)
    assert linear.half_life == pytest.approx(14.3043776, rel=1e-8)
    assert linear.auc == pytest.approx(148.92305, rel=1e-8)
    assert linear.auc_infinity == pytest.approx(216.61193, rel=1e-7)
    assert linear.extrapolated == pytest.approx(0.3124892, rel=1e-6)
    assert falling.auc == pytest.approx(147.2347485, rel=1e-8)
    assert falling.auc_infinity == pytest.approx(214.9236316, rel=1e-8)


def test_linear_up_and_logarithmic_down():
    """pknca #134: 1702.037 from 0 to 20, of which the linear rule makes 1875."""
    time = np.array([0.0, 1.5, 5.0, 10.0, 20.0])
    c = np.array([700.0, 300.0, 100.0, 20.0, 5.0])
    assert mf.exposure(time, c, log_down=True)["auc"] == pytest.approx(1702.037, abs=5e-4)
    assert mf.exposure(time, c)["auc"] == 1875.0
    both = mf.exposure(time, np.stack([c, np.full(5, 3.0)]), log_down=True)
    np.testing.assert_allclose(both["auc"], [mf.exposure(time, c, log_down=True)["auc"], 60.0])
    np.testing.assert_allclose(both["trough"], [5.0, 3.0])


def test_an_exponential_is_exact_by_logarithms():
    time = np.array([0.0, 1.0, 4.0, 10.0])
    c = 8.0 * np.exp(-0.3 * time)
    found = mf.exposure(time, c, log_down=True, above=1.0)
    assert found["auc"] == pytest.approx((8.0 - c[-1]) / 0.3, rel=1e-12)
    assert found["time_above"] == pytest.approx(np.log(8.0) / 0.3, rel=1e-12)
    whole = mf.noncompartmental(time, c)
    assert whole.half_life == pytest.approx(np.log(2.0) / 0.3, rel=1e-12)
    assert whole.auc_infinity == pytest.approx(8.0 / 0.3, rel=1e-12)
    assert whole.extrapolated == pytest.approx(np.exp(-3.0), rel=1e-12)
    slope = jax.jit(jax.grad(lambda k: mf.exposure(time, jnp.exp(-k * jnp.asarray(time)), log_down=True)["auc"]))(0.3)
    exact = -(1.0 - np.exp(-3.0)) / 0.09 + 10.0 * np.exp(-3.0) / 0.3
    assert slope == pytest.approx(exact, rel=1e-10)


def test_the_time_above_a_level_of_straight_lines():
    time = np.array([0.0, 2.0, 4.0, 8.0])
    c = np.array([0.0, 4.0, 4.0, 0.0])
    for level, exact in ((1.0, 1.5 + 2.0 + 3.0), (3.0, 0.5 + 2.0 + 1.0), (5.0, 0.0), (-1.0, 8.0)):
        assert mf.exposure(time, c, above=level)["time_above"] == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    ("time", "c", "sentence"),
    [
        ([0.0, 1.0, 2.0], [1.0, 3.0, 2.0], "a half-life needs 3 concentrations after the peak at 1"),
        ([0.0, 1.0, 2.0, 3.0], [9.0, 1.0, 2.0, 4.0], "the last 3 concentrations do not fall"),
        ([0.0, 2.0, 1.0, 3.0], [4.0, 3.0, 2.0, 1.0], "times must rise"),
        ([0.0, 1.0, 2.0, 3.0], [4.0, -3.0, 2.0, 1.0], "none of them below 0"),
        ([0.0, 1.0], [4.0], "time has shape"),
    ],
)
def test_what_has_no_terminal_phase_is_refused(time, c, sentence):
    with pytest.raises(ValueError, match=sentence):
        mf.noncompartmental.__wrapped__(np.array(time), np.array(c))
