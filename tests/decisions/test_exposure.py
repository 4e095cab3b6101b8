"""What curves come to: against Phoenix WinNonlin and PKNCA, closed forms, and what has no answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

import mefit as mf

LOG_DOWN = "linear up, log down"
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


@pytest.fixture(scope="module")
def samples(theophylline):
    subjects = theophylline.subjects
    return np.asarray(subjects.time), np.asarray(subjects.y)


def test_theophylline_by_phoenix_winnonlin(samples):
    """To the six decimals that are published; subject 6 has seven points, the others from three to nine."""
    straight = mf.exposure(*samples)
    curved = mf.exposure(*samples, rule=LOG_DOWN)
    names = ((straight, "half_life"), (straight, "auc_last"), (straight, "auc_inf"))
    names += ((curved, "auc_last"), (curved, "auc_inf"))
    for column, (found, name) in zip(WINNONLIN.T, names, strict=True):
        np.testing.assert_allclose(found[name], column, atol=2e-6)
    np.testing.assert_allclose(100 * straight["auc_extrapolated"], EXTRAPOLATED, atol=2e-6)
    assert straight["half_life_points"].tolist()[:6:5] == [3, 7]
    assert straight["half_life_r2"][0] == pytest.approx(0.9999995, abs=1e-7)  # NonCompart's, subject 1
    np.testing.assert_array_equal(straight["tlast"], samples[0].max(1))
    np.testing.assert_array_equal(straight["clast"], straight["trough"])


def test_no_unit_matters(samples):
    time, y = samples
    base = mf.exposure(*samples, rule=LOG_DOWN, above=5.0)
    for k, q in ((1e-6, 1e7), (3600.0, 1e-9)):
        found = mf.exposure(k * time + 1e9 * k, q * y, rule=LOG_DOWN, above=5.0 * q)
        for name, size in (("half_life", k), ("auc_inf", k * q), ("time_above", k), ("half_life_points", 1)):
            np.testing.assert_allclose(found[name], size * base[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("rule", "area"),
    # the first by hand; the second by PKNCA
    [("linear", 1875.0), (LOG_DOWN, 1702.037)],
)
def test_pknca_areas(rule, area):
    time = np.array([0.0, 1.5, 5.0, 10.0, 20.0])
    found = mf.exposure(time, np.array([700.0, 300.0, 100.0, 20.0, 5.0]), rule=rule)
    assert found["auc"] == pytest.approx(area, abs=5e-4) and found["auc_last"] == found["auc"]


def test_pknca_half_lives():
    """With the peak left out: three points, and all four where the fourth is as good; by hand, of log 2 a unit."""
    found = mf.exposure(np.arange(4.0), np.array([1.0, 0.5, 0.25, 0.1251]))
    assert found["half_life"] == pytest.approx(1.000577, abs=1e-6) and found["half_life_points"] == 3
    found = mf.exposure(np.arange(-1.0, 4.0), np.array([2.0, 1.0, 0.5, 0.25, 0.1251]))
    assert found["half_life"] == pytest.approx(1.000346, abs=1e-6) and found["half_life_points"] == 4


def test_an_exponential_is_exact_whatever_the_samples():
    """c = a e^(-k t): log down has its area, to infinity too, from any samples; trapezoids have more."""
    time = np.array([0.0, 0.5, 3.0, 3.0 + 1e-7, 8.0, 30.0])
    a, k = 7.0, 0.2
    found = mf.exposure(time, a * np.exp(-k * time), rule=LOG_DOWN, above=1.0)
    assert found["auc"] == pytest.approx(a / k * (1 - np.exp(-30 * k)), rel=1e-12)
    assert found["auc_inf"] == pytest.approx(a / k, rel=1e-9)
    assert found["auc_extrapolated"] == pytest.approx(np.exp(-30 * k), rel=1e-9)
    assert found["half_life"] == pytest.approx(np.log(2) / k, rel=1e-9)
    assert found["time_above"] == pytest.approx(np.log(a) / k, rel=1e-12)
    assert mf.exposure(time, a * np.exp(-k * time))["auc"] > 1.1 * found["auc"]


@pytest.mark.slow
def test_an_oral_curve_against_quadrature():
    ka, cl, v = 1.2, 3.0, 20.0
    ke = cl / v

    def curve(t):
        return 100.0 * ka / v / (ka - ke) * (np.exp(-ke * t) - np.exp(-ka * t))

    time = np.linspace(0.0, 24.0, 2401)
    above = brentq(lambda t: curve(t) - 2.0, 3.0, 20.0) - brentq(lambda t: curve(t) - 2.0, 0.0, 1.0)
    for rule in ("linear", LOG_DOWN):
        found = mf.exposure(time, curve(time), rule=rule, above=2.0)
        assert found["auc"] == pytest.approx(quad(curve, 0.0, 24.0)[0], rel=1e-5)
        assert found["time_above"] == pytest.approx(above, rel=1e-5)
        assert found["trough"] == curve(24.0) and found["cmin"] == 0.0
    tail = mf.exposure(time[1200:], curve(time[1200:]), rule=LOG_DOWN)  # a grid that begins in the terminal phase
    assert tail["half_life"] == pytest.approx(np.log(2) / ke, rel=1e-4)


def test_values_below_the_limit_stand_as_zeros():
    """A zero at the end counts for the whole area, not for the last value, the half-life or the area to infinity."""
    time = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    c = np.array([0.0, 8.0, 4.0, 2.0, 1.0, 0.0])
    found = mf.exposure(time, c, rule=LOG_DOWN)
    assert (found["clast"], found["tlast"], found["trough"]) == (1.0, 4.0, 0.0)
    last = 4.0 + 7.0 / np.log(2)
    assert found["auc_last"] == pytest.approx(last) and found["auc"] == pytest.approx(last + 1.0)
    assert found["half_life"] == pytest.approx(1.0) and found["half_life_points"] == 3
    assert found["auc_inf"] == pytest.approx(last + 1.0 / np.log(2))


def test_a_table_says_why_there_is_no_half_life():
    time = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    curves = np.array(
        [
            [0.0, 8.0, 4.0, 2.0, 1.0],
            [0.0, 1.0, 2.0, 3.0, 4.0],  # still rising
            [0.0, 8.0, 1.0, 2.0, 4.0],  # rises again
            [9.0, 2.0, 2.0, 2.0, 2.0],  # level
            [0.0, 8.0, 4.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0],
        ]
    )
    table = mf.exposure_table(time, curves, ids=list("abcdef"), above=1.5)
    few = "no half-life: fewer than 3 positive concentrations after the highest"
    up = "no half-life: the end of the curve does not fall"
    assert table.remark.to_dict() == {"a": "", "b": few, "c": up, "d": up, "e": few, "f": few}
    assert table.half_life.notna().tolist() == table.auc_inf.notna().tolist() == [True] + [False] * 5
    assert table.half_life_points.tolist() == [3, 0, 0, 0, 0, 0]
    assert table.loc["f", "auc_last"] == 0.0 and np.isnan(table.loc["f", "clast"])
    assert table.time_above.tolist() == pytest.approx([3.3125, 2.5, 1.9285714 - 0.1875 + 1.5, 4.0, 2.4375, 0.0])
    assert len(mf.exposure_table(time, curves[0])) == 1
    with pytest.raises(ValueError, match="2 ids for 6 curves"):
        mf.exposure_table(time, curves, ids=["a", "b"])


def test_quantities_can_be_compiled_and_derived(samples):
    time, y = samples
    every = mf.exposure(time, y, rule=LOG_DOWN, above=5.0)
    one_by_one = jax.jit(jax.vmap(lambda t, c: mf.exposure(t, c, rule=LOG_DOWN, above=5.0)))(time, y)
    for name, values in every.items():
        np.testing.assert_allclose(one_by_one[name], values, rtol=1e-12)

    def of(factor):
        found = mf.exposure(time[0], factor * jnp.asarray(y[0]), rule=LOG_DOWN)
        return jnp.stack([found["auc_inf"], found["half_life"]])

    slopes = jax.jit(jax.jacfwd(of))(1.0)
    np.testing.assert_allclose(slopes, [every["auc_inf"][0], 0.0], atol=1e-8)


def test_what_cannot_be_asked(samples):
    with pytest.raises(ValueError, match='the rule is .log.; choose "linear" or "linear up, log down"'):
        mf.exposure.__wrapped__(*samples, rule="log")
    with pytest.raises(ValueError, match=r"above has shape \(2,\); give one level"):
        mf.exposure.__wrapped__(*samples, above=np.ones(2))
