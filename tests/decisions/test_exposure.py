"""Curves without a model: against closed forms, and numbers that programs of noncompartmental analysis print."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mefit as mf

# Phoenix WinNonlin on the theophylline data, subjects 1 to 12, as published with R's NonCompart (its validation):
# half-life (h); AUC to the last sample and to infinity (mg h/L) by trapezoids, and by linear up, log down.
WINNONLIN = np.array(
    [
        (14.304378, 148.923050, 216.611933, 147.234748, 214.923632),
        (6.659342, 91.526800, 100.173459, 88.731275, 97.377935),
        (6.766087, 99.286500, 109.535971, 95.878198, 106.127668),
        (6.981247, 106.796300, 118.378881, 102.633623, 114.216205),
        (8.002264, 121.294400, 139.419778, 118.179354, 136.304732),
        (7.894998, 73.775550, 84.254418, 71.697015, 82.175883),
        (7.846668, 90.753400, 103.771802, 87.969227, 100.987629),
        (8.510038, 88.559950, 103.906687, 86.806563, 102.153300),
        (8.405999, 86.326150, 99.908718, 83.937436, 97.520004),
        (9.246916, 138.368100, 170.652061, 135.576070, 167.860031),
        (7.261237, 80.093600, 89.102745, 77.893472, 86.902617),
        (6.286508, 119.977500, 130.588832, 115.220208, 125.831540),
    ]
)
EXTRAPOLATED = np.array(  # per cent of the AUC to infinity by trapezoids
    [
        31.248917,
        8.631687,
        9.357173,
        9.784331,
        13.000579,
        12.437174,
        12.545221,
        14.769730,
        13.594978,
        18.918002,
        10.110962,
        8.125757,
    ]
)


def test_theophylline_by_phoenix_winnonlin(theophylline):
    """To the six decimals that are published; subject 1 has three points, subject 6 seven."""
    people = [theophylline[i] for i in range(12)]
    straight = [mf.noncompartmental(one.time, one.y, log_down=False) for one in people]
    curved = [mf.noncompartmental(one.time, one.y) for one in people]
    found = [(a.half_life, a.auc, a.auc_infinity, b.auc, b.auc_infinity) for a, b in zip(straight, curved, strict=True)]
    np.testing.assert_allclose(found, WINNONLIN, atol=2e-6)
    np.testing.assert_allclose([100 * a.extrapolated for a in straight], EXTRAPOLATED, atol=2e-6)
    assert [len(straight[i].points) for i in (0, 5)] == [3, 7]


@pytest.mark.parametrize(
    ("c", "half_life", "points"),
    [([1.0, 0.5, 0.25, 0.1251], 1.000577, 3), ([2.0, 1.0, 0.5, 0.25, 0.1251], 1.000346, 4)],
)
def test_half_lives_by_pknca(c, half_life, points):
    """The peak itself is no point of the terminal phase; a fourth point that is as good is taken."""
    found = mf.noncompartmental(np.arange(float(len(c))), np.array(c))
    assert found.half_life == pytest.approx(half_life, abs=1e-6) and len(found.points) == points


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
