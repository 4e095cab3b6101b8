"""Three mechanisms that templates miss: their curves by SciPy, and what networks and templates make of them."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import mefit as mf
from workshop.studies import flexible_curves as rivals
from workshop.studies import hard_profiles as study

TIME = np.array([0.25, 1.0, 3.9, 4.2, 6.0, 10.5, 24.0])
DOSE = 120.0


def person(dose=DOSE, time=TIME):
    return mf.Subject(
        jnp.asarray(time),
        0 * time,
        time > 0,
        covariates={"dose": np.log(dose / 100.0)},
        doses=mf.Doses.of([dose, 0.0], time=[0.0, 0.0]),
    )


def integrated(rhs, state, begin, times):
    return solve_ivp(rhs, (begin, times[-1]), state, "LSODA", times, rtol=1e-10, atol=1e-12).y


def test_two_inputs_are_a_sum_of_two_absorptions():
    model = study.truth(study.TWO_INPUTS)
    eta = np.array([0.2, -0.3, 0.1, 0.2, -0.1, 0.7])
    ka, late, cl, v, lag, odds = np.asarray(model.typical) * np.exp(eta)

    def one(rate, s):
        k = cl / v
        return np.where(s > 0, DOSE / v * rate / (rate - k) * (np.exp(-k * s) - np.exp(-rate * s)), 0.0)

    expected = (odds * one(ka, TIME) + one(late, TIME - lag)) / (1 + odds)
    np.testing.assert_allclose(model.concentration(jnp.asarray(eta), person()), expected, rtol=1e-10)


def test_bile_comes_back_after_meals():
    model = study.truth(study.RECIRCULATION)
    eta = np.array([0.2, -0.3, 0.4, 0.1, -0.6])
    ka, cl, to_bile, v = np.asarray(model.typical) * np.exp(eta[:4])
    inflow = 0.0

    def rhs(t, y):
        return [inflow - ka * y[0], ka * y[0] - (cl + to_bile) / v * y[1], to_bile / v * y[1] - inflow]

    state = np.array([DOSE, 0.0, 0.0])
    expected = {}
    meals = [meal - 0.6 for meal in study.MEALS]
    edges = [0.0, *(meal + after for meal in meals for after in (0.0, study.EMPTYING)), 30.0]
    for begin, end in zip(edges, edges[1:], strict=False):
        inflow = state[2] / study.EMPTYING if begin in meals else 0.0  # all of that moment's bile
        inside = TIME[(TIME >= begin) & (TIME < end)]
        at = np.unique([begin, *inside, end])
        states = integrated(rhs, state, begin, at)
        expected.update({t: states[1, np.flatnonzero(at == t)[0]] / v for t in inside})
        state = states[:, -1]
    found = model.concentration(jnp.asarray(eta), person())
    np.testing.assert_allclose(found, [expected[t] for t in TIME], rtol=1e-7)


@pytest.mark.slow
def test_a_target_binds_and_removes():
    model = study.truth(study.BINDING)
    eta = np.array([0.2, -0.3, 0.4, 0.1])
    cl, v, target, kint = np.asarray(model.typical) * np.exp(eta)

    def free(total, bound):
        b = total - bound - model.kss
        return 0.5 * (b + np.sqrt(b**2 + 4 * model.kss * total))

    def rhs(t, y):
        c = free(*y)
        taken = y[1] * c / (model.kss + c)
        return [-cl / v * c - kint * taken, model.kdeg * (target - y[1]) - (kint - model.kdeg) * taken]

    states = integrated(rhs, np.array([DOSE / v, target]), 0.0, np.append(0.0, TIME))
    expected = free(states[0, 1:], states[1, 1:])
    found = model.concentration(jnp.asarray(eta), person())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3 * study.BACKGROUND)  # of what is measured at all
    # dose by dose it is far from proportional
    low, high = (float(model.concentration(jnp.zeros(4), person(dose))[-1]) for dose in (50.0, 200.0))
    assert high > 8.0 * low


@pytest.mark.slow
@pytest.mark.parametrize("name", study.TRUTHS)
def test_people_are_as_they_were_meant(name):
    made = study.simulate(name, 300, seed=1)
    truth = study.truth(name)
    sds = np.sqrt(np.diag(np.asarray(truth.omega)))
    np.testing.assert_allclose(made.eta.std(axis=0), sds, rtol=0.15)
    error = np.asarray(made.population.subjects.y) - np.asarray(mf.predict(truth, made.population, made.eta))
    assert error.std() == pytest.approx(study.ERROR, rel=0.05)
    amount = np.asarray(made.population.subjects.doses.amount).max(axis=1)
    assert amount.min() >= study.LOWEST and amount.max() <= study.HIGHEST
    np.testing.assert_allclose(np.asarray(made.population.subjects.covariates["dose"]), np.log(amount / 100.0))


@pytest.mark.slow
def test_a_dose_that_multiplies_is_right_at_any_dose_and_one_that_is_read_is_not():
    people = study.simulate(study.TWO_INPUTS, 20, seed=1).population
    eta = jnp.array([0.3, -0.5, 1.0])
    multiplied = rivals.decoder(study.TWO_INPUTS, people, 3)
    read = rivals.decoder(study.TWO_INPUTS, people, 3, dose_read=True)
    changes = []
    for model in (multiplied, read):
        one, four = (np.log(np.asarray(model.concentration(eta, person(dose)))) for dose in (100.0, 400.0))
        changes.append(four - one)
    np.testing.assert_allclose(changes[0], np.log(4.0), rtol=1e-12)
    assert np.all(np.abs(changes[1] - np.log(4.0)) > 0.5)


def test_a_hybrid_begins_as_its_template():
    people = study.simulate(study.BINDING, 20, seed=1).population
    hybrid = rivals.hybrid(study.BINDING, people, 4)
    plain = rivals.template(study.BINDING, 1)
    eta = jnp.array([0.5, -0.5, 0.2, 0.1])
    begun = np.asarray(hybrid.concentration(eta, person()))
    of_template = np.asarray(plain.concentration(hybrid.sds * eta[:2], person()))
    assert np.max(np.abs(np.log(begun / of_template))) < 0.5


@pytest.mark.parametrize("compartments", [1, 2])
def test_templates_are_closed_forms(compartments):
    oral = rivals.template(study.TWO_INPUTS, compartments)
    bolus = rivals.template(study.BINDING, compartments)
    if compartments == 1:
        expected = mf.pk.oral_one_compartment(person(), ka=1.0, cl=3.0, v=30.0)
        injected = mf.pk.iv_bolus_one_compartment(person(), cl=3.0, v=30.0)
    else:
        expected = mf.pk.oral_two_compartment(person(), ka=1.0, cl=3.0, v1=25.0, q=2.0, v2=20.0)
        injected = mf.pk.infusion_two_compartment(person(), cl=3.0, v1=25.0, q=2.0, v2=20.0)
    np.testing.assert_allclose(oral.concentration(jnp.zeros(3), person()), expected)
    np.testing.assert_allclose(bolus.concentration(jnp.zeros(2), person()), injected)


ALIKE = (study.TWO_INPUTS, study.RECIRCULATION)  # kinetics are linear in the dose


@pytest.mark.slow
@pytest.mark.parametrize("name", study.TRUTHS)
def test_who_fails_where(name):
    """Two hundred people to learn from, and as many to judge by: one and two compartments, a MeNet, an autoencoder by
    either bound, a template times a network, networks in an equation, and the mechanism."""
    table, _ = rivals.contest(name)
    print(f"\n{name}\n{table.round(3).to_string()}")
    own, low, high = "AUC", f"AUC at {rivals.LOW:g} mg", f"AUC at {rivals.HIGH:g} mg"
    assert table["not judged"].max() <= 4  # of 200
    flexible = table.loc["autoencoder, 8 draws"]
    assert flexible["log L"] > table.loc["1-cpt", "log L"] + 1.5
    right = table.loc["right mechanism"]
    assert right["curve"] == table["curve"].min() and right["log L"] == table["log L"].max()
    assert right["sigma"] == pytest.approx(study.ERROR, abs=0.01)
    if name in ALIKE:
        multiplied = table.drop(index="autoencoder that reads the dose")
        np.testing.assert_allclose(multiplied[low], multiplied[own], rtol=1e-6)
        np.testing.assert_allclose(multiplied[high], multiplied[own], rtol=1e-6)
        assert table.loc["autoencoder that reads the dose", high] > 1.5 * table.loc["autoencoder", own]
        assert table.loc["2-cpt", "log L"] < table.loc["1-cpt", "log L"] + 1.0
        return
    for template in ("1-cpt", "2-cpt"):
        assert table.loc[template, low] > 0.5 and table.loc[template, high] > 1.0
    for label in (low, high):
        assert right[label] == table[label].min()
    # a network of the state, and not of the dose, is at other doses where it was at earlier or later times
    equation = table.loc["network in an equation, 8 draws"]
    assert equation["log L"] > flexible["log L"] - 0.8
    for label in ("curve", f"curve at {rivals.LOW:g} mg", f"curve at {rivals.HIGH:g} mg"):
        assert right[label] < equation[label] < 1.05 * flexible[label]
