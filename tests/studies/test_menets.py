"""The MeNet exercise: what a network with random effects reaches on a study whose best possible answers are known."""

import numpy as np
import pytest

import mefit as mf
from workshop.studies import saturation

_AGQ = mf.AGQ(nodes=9)


def judged(seed, dials=(1.0, 1.0)):
    """(sigma, held-out log-likelihood a person) of one trained MeNet."""
    fit = saturation.train(saturation.simulate(100, 1000 + seed), dials, seed)
    people = saturation.simulate(200, 2000 + seed)
    return float(fit.model.sigma), mf.log_likelihood(fit.model, people, _AGQ) / len(people)


@pytest.mark.slow
def test_one_seed():
    sigma, held_out = judged(0)
    oracle = saturation.oracle(saturation.simulate(200, 2000), 0.05).mean()
    assert 0.045 < sigma < 0.055
    assert 27.3 < held_out < oracle
    fewer_sigma, fewer = judged(0, (1.0, 0.0))
    assert 0.065 < fewer_sigma < 0.080 and fewer < held_out - 3


@pytest.mark.slow
def test_ten_seeds():
    two = np.array([judged(seed) for seed in range(10)])
    one = np.array([judged(seed, (1.0, 0.0)) for seed in range(10)])
    print(two, one, sep="\n")
    assert two[:, 1].mean() > 27.8 and two[:, 1].min() > 27.3
    assert np.all((two[:, 0] > 0.045) & (two[:, 0] < 0.055))
    assert np.all((one[:, 0] > 0.065) & (one[:, 0] < 0.080))
    assert np.all(one[:, 1] < two[:, 1] - 3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_with_less_noise_one_random_effect_visibly_fails(seed):
    people, new = (saturation.simulate(n, s + seed, 0.02) for n, s in ((100, 1000), (200, 2000)))
    fits = [saturation.train(people, dials, seed) for dials in ((1.0, 1.0), (1.0, 0.0))]
    two, one = (mf.log_likelihood(fit.model, new, _AGQ) / 200 for fit in fits)
    assert float(fits[0].model.sigma) < 0.025 and float(fits[1].model.sigma) > 0.045
    assert one < two - 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_maximising_random_effects_fits_better_and_predicts_worse(seed):
    """Section 4 of the lesson over seeds, with five measurements a person and with all of them."""
    whole, new = saturation.simulate(100, 1000 + seed), saturation.simulate(200, 2000 + seed)
    joint_map = mf.Adam(mf.JointMAP(), steps=1000)
    for people, worse in ((saturation.thinned(whole, 5, seed), 5.0), (whole, 0.5)):
        held_out, missed, spread, sigma = [], [], [], []
        for method in (joint_map, saturation.ADAM):
            fit = mf.fit(saturation.start(seed=seed), people, method, fixed="dials", progress=False)
            eta, _ = mf.empirical_bayes(fit.model, people, mf.Newton(looks=2000))
            mask = np.asarray(people.subjects.mask)
            error = np.asarray(people.subjects.y - mf.predict(fit.model, people, eta))[mask]
            held_out.append(mf.log_likelihood(fit.model, new, _AGQ) / 200)
            missed.append(np.sqrt(np.mean(error**2)))
            spread.append(float(eta.std(0).mean()))
            sigma.append(float(fit.model.sigma))
        print(seed, held_out, missed, spread, sigma)
        assert held_out[0] < held_out[1] - worse
        if people is not whole:  # with all measurements both come about as close to their own dots
            assert missed[0] < missed[1] and sigma[0] < sigma[1]
        assert spread[0] < 0.75 * spread[1]
