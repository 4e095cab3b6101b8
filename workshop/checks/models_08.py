"""The judges of exercise 08.3: a MeNet with three random effects, its fit, and what the third one was worth."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions.distribution import validation_enabled

import mefit as mf
from mefit.model.densities import eta_size, log_random_effects, observation_density
from workshop.checks.engine import StillOpen, Wrong, called
from workshop.studies import saturation


@validation_enabled(False)
def judge_model(answer: Any) -> None:
    """`model`: a network of time and three random effects, each behind its dial, with an SD of its own."""
    if isinstance(answer, type):
        raise Wrong("This is the class. Give it values: model = ThreeDials(net=..., sigma=0.2, dials=[1, 1, 1]).", 2)
    model: Any = answer
    if not isinstance(answer, mf.Model):
        raise Wrong("A model is asked for: model = ThreeDials(net=..., sigma=0.2, dials=[1, 1, 1]).", 2)
    for name in ("net", "sigma", "dials"):
        if not hasattr(answer, name):
            raise Wrong(f"{name} is not declared: the three fields are those of the lesson's MeNet.", 1)
    if not isinstance(model.net, mf.networks.MLP):
        raise Wrong("net is a network, mf.networks.MLP(inputs, hidden, ...).", 1)
    inputs = len(model.net.centre)
    if inputs == 3:
        raise Wrong("The network has three inputs, time and two more. Time and three random effects make four.", 1)
    if inputs != 4:
        raise Wrong("The network has another number of inputs than time and three random effects need.", 1)
    _judge_scales(model.net)
    if np.shape(model.dials) != (3,):
        raise Wrong("dials holds one number for each of the three random effects.", 2)
    _judge_effects(answer)
    _judge_observations(answer)


def _judge_scales(net: Any) -> None:
    """The sizes that the exercise spells out: with others the network trains to something else."""
    spelled = "centre=(0.5, 0, 0, 0), spread=(0.3, 3, 3, 3)"
    if not np.allclose(net.centre, (0.5, 0, 0, 0)) or not np.allclose(net.spread, (0.3, 3, 3, 3)):
        raise Wrong(f"The inputs are not brought to a size near one: {spelled}, as the task says.", 2)
    asked = mf.networks.MLP(4, (6, 6), last=1.0)
    if [w.shape for w in net.weights] != [w.shape for w in asked.weights]:
        raise Wrong("The network does not have two hidden layers of six units: (6, 6).", 2)
    if np.sqrt(np.mean(np.square(net.weights[-1]))) < 0.13:  # 0.41 is expected, and 0.041 without last=1.0
        raise Wrong("The last layer starts ten times smaller than asked for: last=1.0 is left out.", 2)


def _judge_effects(model: Any) -> None:
    called("random_effects", model.random_effects)
    if eta_size(model) != 3:
        raise Wrong("random_effects is not a distribution of three numbers: dist.Normal(jnp.zeros(3), 1.0).", 1)
    at = jnp.array([[0.0, 0.0, 0.0], [1.0, -0.5, 2.0]])
    standard = -0.5 * np.sum(np.asarray(at) ** 2, axis=1) - 1.5 * np.log(2 * np.pi)
    if not np.allclose([log_random_effects(model, eta) for eta in at], standard, atol=1e-8):
        raise Wrong("The random effects are to have mean 0 and SD 1 each: the network scales them by itself.", 1)


def _judge_observations(model: Any) -> None:
    person, eta = saturation.simulate(1, 1)[0], jnp.array([0.7, -1.1, 0.4])
    rng, dials = np.random.default_rng(1), jnp.array([1.0, 0.5, -2.0])
    # Weights at which every input counts, and dials at which each counts differently: then slips show.
    net = jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape)), model.net)
    values = {"net": net, "sigma": jnp.asarray(0.3), "dials": dials}
    tried = _with(model, values)
    try:
        density = called("observations", observation_density, tried, eta, person)
    except Wrong as stopped:
        if "this network takes" in stopped.reason:  # all times went in at once, or in the wrong order
            raise Wrong(f"{stopped.reason} For every time in turn: self.net.along(subject.time, ...).", 2) from None
        raise
    mean, sd = np.asarray(density.mean), np.sqrt(np.asarray(density.variance))
    if mean.shape != person.time.shape:
        raise Wrong("A mean for each time is asked for: net.along(subject.time, ...).", 2)
    for wrong, reason in (
        (net.along(person.time, eta), "The dials have no effect: multiply eta by self.dials before the network."),
        (net.along(person.time, dials), "The network gets the dials instead of eta times the dials."),
        (net.along(person.time, 0 * eta), "eta has no effect: everybody is typical."),
    ):
        if np.allclose(mean, np.asarray(wrong)):
            raise Wrong(reason, 2)
    if not np.allclose(mean, np.asarray(net.along(person.time, dials * eta))):
        raise Wrong("The mean is not the network along the times with eta times the dials.", 2)
    if np.allclose(sd, 0.3**2):
        raise Wrong("sigma is squared: dist.Normal takes an SD.", 2)
    if not np.allclose(sd, 0.3):
        raise Wrong("The measurements do not have the SD sigma.", 2)


def _with(model: Any, values: dict[str, Any]) -> Any:
    """The same model at other values of its fields."""
    fields = {name: values.get(name, getattr(model, name)) for name in model.__dataclass_fields__}
    return type(model)(**fields)


def judge_fit(answer: Any) -> None:
    """`fit`: the three dials, all on, trained on the hundred people by marginal likelihood."""
    if not isinstance(answer, mf.Fit):
        raise Wrong("This is not what mf.fit(model, people, adam, fixed='dials') returns.", 2)
    model: Any = answer.model
    if eta_size(model) != 3:
        raise Wrong("The fitted model has another number of random effects than three.", 2)
    if len(answer.population) != 100:
        raise Wrong("Trained on other people: `people` are for training, `new_people` for the comparison.", 2)
    if not isinstance(answer.method, mf.Adam) or not answer.method.likelihood:
        raise Wrong(f"{answer.method.label} does not integrate the random effects out: take `adam`.", 2)
    if "dials" not in answer.fixed:
        raise Wrong('The dials were trained as if they were parameters: hold them, fixed="dials".', 2)
    if not np.all(np.asarray(model.dials) == 1):
        raise Wrong("A dial is off in this fit: for `fit` all three are 1.", 2)
    if float(model.sigma) > 0.06:
        raise Wrong("It has not been trained to the end: sigma is still well above the noise. Take `adam` as it is.", 3)


def judge_gain(answer: Any) -> None:
    """`gain`: held-out log-likelihood a person of three dials, minus that of two."""
    if answer is ...:
        raise StillOpen
    try:
        gain = float(answer)
    except (TypeError, ValueError):
        raise Wrong("One number is asked for: the gain a person.", 3) from None
    if not np.isfinite(gain):
        raise Wrong("The gain is not a finite number.", 3)
    if gain == 0:
        raise Wrong("The gain is exactly zero: is it the same fit twice? For two dials, dials=[1, 1, 0].", 3)
    if abs(gain) > 15:
        raise Wrong("So large a difference is that of all 200 people, or of the training data: divide by 200.", 3)
    if abs(gain) > 3:
        raise Wrong(
            "So large a difference is not one dial's: was one of the two compared fits trained with two dials?", 3
        )
