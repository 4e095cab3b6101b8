"""What lesson 06 brings along: a simulated study as the field writes it, and the picture of a mechanism."""

import numpy as np
import pytest

import mefit as mf
from mefit import style
from workshop.studies import antibiotic, compartments, newborns


def test_the_study_is_what_its_script_writes():
    assert antibiotic.FILE.read_text(encoding="utf-8") == antibiotic.text()


def test_the_study_is_read_whole():
    study = mf.Population.read_csv(antibiotic.FILE, covariates=["WT", "CRCL", "SEX"])
    doses = study.subjects.doses
    assert len(study) == 40 and study.n_doses == 160 and study.n_observations == 320
    assert np.unique(doses.time).tolist() == [0, 12, 24, 36] and np.unique(doses.duration).tolist() == [1]
    censored = np.asarray(study.subjects.censored) == 1
    assert 10 < censored.sum() < 40
    assert np.all(np.asarray(study.subjects.y)[censored] == antibiotic.LIMIT)
    assert np.asarray(study.subjects.y)[~censored].min() >= antibiotic.LIMIT


def test_its_concentrations_are_those_of_the_library():
    times = np.linspace(0.1, 60, 240)
    doses = mf.regimen(500.0, every=12, count=4, duration=1.0)
    person = mf.Subject(times, 0 * times, times > 0, doses=doses)
    by_library = mf.pk.infusion_one_compartment(person, cl=4.2, v=27.0)
    np.testing.assert_allclose(antibiotic.concentration(times, 4.2, 27.0), by_library, rtol=1e-9)


def test_another_seed_is_another_study():
    assert antibiotic.study(1, 3).equals(antibiotic.study(1, 3))
    assert not antibiotic.study(1, 3).equals(antibiotic.study(2, 3))


def test_a_mechanism_is_drawn_and_said_in_words():
    picture = compartments.draw(
        {"gut": (0, 1), "blood": (3, 1), "response": (6, 0)},
        [("", "gut", "dose"), ("gut", "blood", "$k_a$"), ("blood", "", "$CL$"), ("", "response", "in")],
        acts=[("blood", "response", "stops it")],
    )
    assert picture.alt.startswith("Compartments gut, blood, response, with arrows: outside to gut (dose), gut to blood")
    assert "blood acts on what comes into response" in picture.alt and "$" not in picture.alt
    texts = [t.get_text() for t in picture.axes[0].texts]
    assert {"gut", "blood", "response", "dose", "$k_a$", "$CL$", "in", "stops it"} == set(texts)
    assert len(picture.axes[0].patches) == 3 + 4 + 1
    assert len(style.png(picture)) > 5000


def test_the_model_for_newborns_scales_with_weight():
    model = newborns.start((0.75, 1.0))
    infants = mf.datasets.phenobarbital()
    light = mf.predict(model, infants)[0]
    assert float(model.power[0]) == 0.75 and np.all(np.isfinite(light))
    by_hand = infants[0]
    wt = float(by_hand.covariates["wt"])
    curve = mf.pk.iv_bolus_one_compartment(by_hand, cl=0.007 * (wt / 1.5) ** 0.75, v=wt)
    np.testing.assert_allclose(light[: curve.size], curve, rtol=1e-12)


@pytest.mark.slow
def test_the_truth_of_the_study_is_recovered():
    import jax.numpy as jnp
    import numpyro.distributions as dist
    from jaxtyping import Array

    class Kidneys(mf.Model):
        cl: Array = mf.positive()
        v: Array = mf.positive()
        renal: Array = mf.real()
        omega: Array = mf.diagonal_covariance(names=("cl", "v"))
        proportional: Array = mf.positive()
        additive: Array = mf.positive()

        def random_effects(self):
            return dist.MultivariateNormal(jnp.zeros(2), self.omega)

        def observations(self, eta, subject):
            cl = self.cl * (subject.covariates["CRCL"] / 80) ** self.renal * jnp.exp(eta[0])
            v = self.v * subject.covariates["WT"] / 70 * jnp.exp(eta[1])
            c = mf.pk.infusion_one_compartment(subject, cl=cl, v=v)
            return dist.Normal(c, jnp.hypot(self.proportional * c, self.additive))

    study = mf.Population.read_csv(antibiotic.FILE, covariates=["WT", "CRCL"])
    start = Kidneys(cl=3.0, v=20.0, renal=0.0, omega=0.1 * jnp.eye(2), proportional=0.2, additive=0.2)
    table = mf.fit(start, study, mf.Laplace(), progress=False).table
    truth = antibiotic.TRUTH | {"omega[cl]": antibiotic.TRUTH["sd_cl"], "omega[v]": antibiotic.TRUTH["sd_v"]}
    for name, row in table.iterrows():
        assert abs(row.estimate - truth[name]) < 3.5 * row.se, name
