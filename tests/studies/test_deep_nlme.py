"""What lesson 09 claims: its studies are what they say, and over seeds a network inside an equation predicts a new
regimen, and covariates predict the better the more people taught them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from test_explorers_09 import MODEL, DeepNLME

import mefit as mf
from workshop.studies import effect_study as study


def by_scipy(time, ka, v, kout, smax, sc50, kin, doses):
    """Drug and response by SciPy's integrator, in plain floats: it asks for the right-hand side thousands of times."""
    ka, v, kout, smax, sc50, kin = map(float, (ka, v, kout, smax, sc50, kin))
    given = np.asarray(doses.time)
    amount = np.asarray(doses.amount)

    def drug(t):
        since = np.maximum(t - given, 0.0)
        return float(np.sum(amount * ka / (v * ka - 1.0) * (np.exp(-since / v) - np.exp(-ka * since))))

    def rate(t, y):
        x = (max(drug(t), 0.0) / sc50) ** 1.5
        return [kin * (1 + smax * x / (1 + x)) - kout * y[0]]

    out = solve_ivp(rate, (0, time[-1]), [kin / kout], t_eval=time, rtol=1e-8, atol=1e-10, max_step=0.2)
    return np.array([drug(t) for t in time]), out.y[0]


def test_the_first_study_solves_its_equations():
    people, eta = study.first_study(3, seed=5)
    means = mf.predict(study.truth(), people, eta)
    for i in range(3):
        ka, v, kout, smax, sc50 = np.asarray(study.truth().typical * jnp.exp(eta[i]))
        drug, response = by_scipy(study.DAY, ka, v, kout, smax, sc50, 0.8, people[i].doses)
        np.testing.assert_allclose(means["drug"][i], drug, atol=1e-8)
        np.testing.assert_allclose(means["response"][i], response, atol=0.02)
    assert np.std(np.asarray(people.subjects.y["response"] - means["response"])) == pytest.approx(0.1, rel=0.25)


def test_the_covariate_study_solves_its_equations():
    made = study.covariate_study(3, seed=5)
    means, typical = mf.predict(study.true_mechanism(), made.people, made.eta), study.true_mechanism().typical
    for i in range(3):
        smax, sc50, ka, v, kout = np.asarray(typical * jnp.exp(made.eta[i]))
        r_eq, *c = made.x[i]
        drug, response = by_scipy(study.EVERY_TWO_HOURS, ka, v, kout, smax, sc50, r_eq * kout, made.people[i].doses)
        np.testing.assert_allclose(means["drug"][i], drug, atol=1e-8)
        np.testing.assert_allclose(means["response"][i], response, rtol=0.045)  # three steps in two hours
        expected = [np.log(1.2 + 3 * c[0] / (12 + c[0])), 0.2 * (c[1] / 20) ** 0.75, 0.3 * c[2] * c[3], 0.3 * c[2]]
        np.testing.assert_allclose(made.expected[i], [*expected, 0.3 * c[4] / (c[4] + c[5])], rtol=1e-12)
        np.testing.assert_allclose(study.truth_of_covariates(jnp.asarray(made.x[i, 1:])), made.expected[i], rtol=1e-12)


def test_to_follow_is_to_solve():
    time = jnp.linspace(0.0, 12.0, 25)
    found = study.follow(lambda c, r: 2.0 * c - 0.7 * r, 1.0, lambda time: jnp.sin(time), time, 12)
    out = solve_ivp(lambda t, y: [2 * np.sin(t) - 0.7 * y[0]], (0, 12), [1.0], t_eval=time, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found, out.y[0], atol=2e-3)


def test_a_network_moves_the_mean_of_the_effects():
    made, net = study.covariate_study(3, seed=5), study.network(seed=2)
    with_net = study.Known(typical=study.true_mechanism().typical, omega=0.05 * jnp.eye(5), sigma=study.SIGMA, net=net)
    moved = jax.vmap(net)(made.x[:, 1:])
    a, b = mf.predict(with_net, made.people), mf.predict(study.true_mechanism(), made.people, moved)
    np.testing.assert_allclose(a["response"], b["response"], rtol=1e-9)


def test_the_same_person_many_times():
    people, _ = study.first_study(3, seed=5)
    many = study.copies(people, 1, 4)
    assert len(many) == 4 and np.all(many.subjects.doses.time[:, 1] == people.subjects.doses.time[1, 1])


# ------------------------------------------------------------------------------------ over seeds


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_new_regimen_is_predicted(seed):
    ten, _ = study.first_study(10, seed)
    twelve, truly = study.first_study(12, 100 + seed)
    net = mf.networks.MLP(5, (7, 7), last=0.01, centre=(0.2, 0.8, 0.0, 0.0, 0.0), spread=(0.2, 0.5, 1.0, 1.0, 1.0))
    start = DeepNLME(
        net=net, typical=jnp.array([1.0, 1.0, 0.5, 1.0]), sd=jnp.full(3, 0.3), sigma=jnp.array([0.05, 0.5])
    )
    fit = mf.fit(start, ten, mf.Adam(mf.FOCE(newton=study.SEARCH), steps=250), progress=False)
    eta, _ = mf.empirical_bayes(fit.model, twelve, study.SEARCH)
    new = study.design([study.NEW_REGIMEN] * 12, study.NEW_TIMES)
    for people, most in ((twelve, 0.35), (new, 0.65)):
        true = mf.predict(study.truth(), people, truly)["response"]
        error = jnp.sqrt(jnp.mean((mf.predict(fit.model, people, eta)["response"] - true) ** 2))
        assert error < most * jnp.sqrt(jnp.mean((true - true.mean(0)) ** 2))
    np.testing.assert_allclose(fit.model.sigma, study.SIGMA, rtol=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_more_people_teach_the_covariates_the_better(seed):
    small, large, new = (study.covariate_study(n, s) for n, s in ((50, seed), (1000, 100 + seed), (20, 200 + seed)))
    plain = mf.fit(study.no_covariates(), small.people, study.METHOD, progress=False)
    ideal = mf.predict(study.true_mechanism(), new.people, new.expected)["response"]

    def error(eta=None):
        return float(jnp.mean(jnp.abs(mf.predict(plain.model, new.people, eta)["response"] - ideal)))

    left = [error()]
    for fit in (plain, study.for_others(plain, large.people)):
        prior = mf.networks.L2(5.0)
        stage = mf.learn_effects(fit, study.network(), study.COVARIATES[1:], prior=prior, progress=False)
        left.append(error(jax.vmap(stage.model.network)(new.x[:, 1:])))
    assert left[0] > left[1] > left[2] and left[2] < 0.5 * left[0]


def test_the_model_of_the_tests_is_that_of_the_lesson():
    """Or the slow tests would prove something else."""
    from pathlib import Path

    import nbformat

    lesson = nbformat.read(Path(study.__file__).parents[1] / "09_deep_nlme.ipynb", 4)
    (written,) = [c.source for c in lesson.cells if c.source.startswith("class DeepNLME(")]
    here = (Path(__file__).parents[1] / "workshop" / "test_explorers_09.py").read_text(encoding="utf-8")
    body = written.split("observations(self, eta, subject):\n")[1].strip()
    assert body in here and MODEL.net.size == 106
