"""From a fitted model and one new patient in a file to a dose with its risks and the next sample, in six lines."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array

import mefit as mf

PATIENT = "ID,TIME,AMT,DV\n7,0,100,.\n7,2,.,2.5\n7,24,.,0.4\n"
SEEN = "ID,TIME,AMT,DV\n" + "".join(f"{i},0,100,.\n{i},2,.,{2.4 + 0.2 * i}\n{i},24,.,0.3\n" for i in range(3))


class Equations(mf.Model):
    """One compartment by mouth as differential equations."""

    cl: Array = mf.positive()
    omega: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        def rates(t, amount):
            return [-1.2 * amount[0], 1.2 * amount[0] - self.cl * jnp.exp(eta) / 30.0 * amount[1]]

        concentration = mf.dynamics.solve(rates, [0.0, 0.0], subject)[:, 1] / 30.0
        return dist.LogNormal(jnp.log(jnp.maximum(concentration, 1e-9)), 0.2)


class Network(mf.Model):
    """The curve of a unit dose by a network of what is left of it; its level is the person's own."""

    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(0.1))
    omega: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        left = mf.networks.time_features(subject.time, 1.0, 6.0)
        shape = jax.vmap(self.net)(left) - 4.0 - eta - 0.08 * subject.time
        return dist.LogNormal(jnp.log(subject.doses.amount[0]) + shape, 0.2)


class Menet(mf.Model):
    """The same curve by a network that reads the person's own random effect."""

    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(0.1))
    omega: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        left = mf.networks.time_features(subject.time, 1.0, 6.0)
        shape = jax.vmap(lambda row: self.net(row, eta))(left) - 4.0 - eta - 0.08 * subject.time
        return dist.LogNormal(jnp.log(subject.doses.amount[0]) + shape, 0.2)


class Closed(mf.Model):
    """One compartment by mouth in closed form."""

    cl: Array = mf.positive()
    omega: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        curve = mf.pk.oral_one_compartment(subject, ka=1.2, cl=self.cl * jnp.exp(eta), v=30.0)
        return dist.LogNormal(jnp.log(curve), 0.2)


SLOW, FAST = (Closed(cl=jnp.asarray(cl), omega=jnp.asarray(0.2)) for cl in (1.5, 4.0))
MODELS = {
    "equations": Equations(cl=jnp.asarray(3.0), omega=jnp.asarray(0.3)),
    "network": Network(net=mf.networks.MLP(2, (4,)), omega=jnp.asarray(0.3)),
    "menet": Menet(net=mf.networks.MLP(3, (4,), last=0.3), omega=jnp.asarray(0.3)),
    "mixture": mf.MixtureOfExperts((SLOW, FAST)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS])
def test_a_dose_and_the_next_sample_in_six_lines(name, tmp_path):
    (tmp_path / "patient.csv").write_text(PATIENT)
    (tmp_path / "seen.csv").write_text(SEEN)
    seen = mf.Population.read_csv(tmp_path / "seen.csv")
    held = tuple(mf.parameters(MODELS[name]))
    fit = mf.fit(MODELS[name], seen, mf.FO(), fixed=held, progress=False)

    patient = mf.Population.read_csv(tmp_path / "patient.csv", drop_unobserved=None)
    people = mf.individual(fit, patient, draws=200, proposed=400, key=jax.random.key(1))
    goal = mf.dosing.Goal(time=np.linspace(0.1, 24, 25), target=(25, 40), quantity="auc")
    doses = {f"{dose} mg": mf.regimen(dose) for dose in (50, 100, 200)}
    choice = mf.dosing.choose(people, doses, goal)
    after = mf.dosing.next_time(people, [1, 8, 12], goal, regimens=doses, outcomes=20)

    table = choice.table.set_index("regimen")
    assert choice.chosen[7] in doses and choice.chosen[7] == table.loss.idxmin()
    # all are linear in the dose, and the risks of too much rise with it
    np.testing.assert_allclose(table["median"] / table["median"]["100 mg"], [0.5, 1.0, 2.0], rtol=1e-4)
    assert list(table.above) == sorted(table.above)
    assert [bool(text) for text in table.beyond] == [True, False, True]
    assert after.best[7] in ((), (1.0,), (8.0,), (12.0,))
    assert after.table.sd[1:].max() < after.table.sd[0]
    assert people.remarks == ()
