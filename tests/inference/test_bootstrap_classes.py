"""Is one class more than chance? The bootstrap of the likelihood ratio holds its level, and sees what is there."""

import dataclasses

import jax
import numpy as np
import pytest
from experts import KEY
from models import Means
from scipy.stats import kstest

import mefit as mf

ROWS = 3


def levels(mu: np.ndarray, seed: int) -> mf.Population:
    """y_ij = mu_i + eta_i + e_ij, both SDs 1."""
    rng = np.random.default_rng(seed)
    y = mu[:, None] + rng.normal(size=(mu.size, 1)) + rng.normal(size=(mu.size, ROWS))
    subjects = [mf.Subject(time=np.arange(float(ROWS)), y=one, mask=np.ones(ROWS, bool)) for one in y]
    return mf.Population.from_subjects(subjects)


def both(population: mf.Population) -> tuple[mf.Fit, mf.Fit]:
    """One class, and two with means of their own."""
    first, second = (Means(mu=mu, omega=1.0, sigma=1.0) for mu in (-1.0, 1.0))
    start = mf.MixtureOfExperts((first, second), shared=("omega", "sigma"))
    one = mf.fit(Means(mu=0.0, omega=1.0, sigma=1.0), population, mf.Laplace(), progress=False)
    return one, mf.fit(start, population, mf.EM(starts=3), key=KEY, progress=False)


@pytest.mark.slow
def test_two_classes_far_apart_are_seen():
    population = levels(np.where(np.arange(40) < 20, -4.0, 4.0), seed=1)
    one, two = both(population)
    test = mf.bootstrap_classes(one, two, replicates=19, starts=2, key=KEY, progress=False)
    assert test.classes == (1, 2) and test.replicates.shape == (19,)
    assert test.statistic == pytest.approx(2.0 * (two.log_likelihood - one.log_likelihood))
    assert test.p_value == 0.05 and test.statistic > 20.0 > test.replicates.max()  # the least that 19 can say
    assert "2 classes against 1" in str(test)


@pytest.mark.slow
def test_it_refuses_what_cannot_be_compared():
    population = levels(np.zeros(20), seed=2)
    one, two = both(population)
    with pytest.raises(ValueError, match="1 and 1 classes"):
        mf.bootstrap_classes(one, one, key=KEY)
    with pytest.raises(ValueError, match="key"):
        mf.bootstrap_classes(one, two)
    with pytest.raises(ValueError, match="one or more replicates"):
        mf.bootstrap_classes(one, two, replicates=0, key=KEY)
    with pytest.raises(ValueError, match="different responses"):
        mf.bootstrap_classes(both(levels(np.zeros(20), seed=3))[0], two, key=KEY)
    by_foce = mf.fit(one.model, population, mf.FOCE(), progress=False)
    with pytest.raises(ValueError, match="different objectives"):
        mf.bootstrap_classes(by_foce, two, key=KEY)


def test_more_classes_that_fit_worse_are_not_at_their_maximum():
    """A model that contains another cannot have less likelihood: neither a p of 1 nor a BIC is told of it."""
    population = levels(np.where(np.arange(20) < 10, -4.0, 4.0), seed=1)
    one = mf.fit(Means(mu=0.0, omega=1.0, sigma=1.0), population, mf.Laplace(), progress=False)
    first, second = (Means(mu=mu, omega=4.0, sigma=1.0) for mu in (0.2, -0.2))
    two = mf.fit(mf.MixtureOfExperts((first, second)), population, mf.Laplace(), progress=False)
    missed = dataclasses.replace(two, log_likelihood=one.log_likelihood - 3.0)
    with pytest.raises(ValueError, match=r"-2 log L with 2 classes is 6 above that with 1.* more starts"):
        mf.bootstrap_classes(one, missed, key=KEY)
    table = mf.how_many_classes({"one": one, "two": missed})
    assert "more starts" in table.remark["two"] and "more starts" not in table.remark["one"]
    assert "more starts" not in mf.how_many_classes({"one": one, "two": two}).remark["two"]
    with pytest.raises(ValueError, match="no chi-squared distribution: take mf.bootstrap_classes"):
        mf.likelihood_ratio_test(one, two)
    other = mf.fit(one.model, population, mf.FOCE(), progress=False)
    with pytest.raises(ValueError, match="one by FOCE.*, two by Laplace.*fit all by the same"):
        mf.how_many_classes({"one": other, "two": two})
    few, many = (mf.fit(one.model, population, mf.AGQ(nodes), progress=False) for nodes in (3, 9))
    with pytest.raises(ValueError, match=r"few by AGQ \(nodes=3,.*many by AGQ \(nodes=9,"):
        mf.how_many_classes({"few": few, "many": many})


def test_people_without_a_response_do_not_count_in_bic():
    y = np.random.default_rng(4).normal(size=(20, ROWS))
    seen = [mf.Subject(time=np.arange(float(ROWS)), y=row, mask=np.ones(ROWS, bool)) for row in y]
    unseen = [mf.Subject(time=np.arange(float(ROWS)), y=row, mask=np.zeros(ROWS, bool)) for row in y]
    bic = []
    for people in (seen, seen + unseen):
        model = Means(mu=0.0, omega=1.0, sigma=1.0)
        fit = mf.fit(model, mf.Population.from_subjects(people), mf.FO(), progress=False)
        bic.append(mf.how_many_classes({1: fit}).BIC[1])
    assert bic[1] == pytest.approx(bic[0], abs=1e-6)


@pytest.mark.slow
def test_where_there_is_one_class_its_p_values_are_uniform():
    """40 studies of one class, 39 replicates each: p is uniform on 1/40, ..., 1, which Kolmogorov and Smirnov's test
    sees within 0.26 at its 1% level; and 5% lie below 0.05 within the error of 40."""
    found = []
    for seed in range(40):
        one, two = both(levels(np.zeros(40), seed=100 + seed))
        test = mf.bootstrap_classes(one, two, replicates=39, starts=3, key=jax.random.key(seed), progress=False)
        found.append(test.p_value)
    p = np.array(found)
    assert kstest(p - 0.0125, "uniform").pvalue > 0.01
    assert np.mean(p <= 0.05) <= 0.15 and abs(p.mean() - 0.5) < 0.15
