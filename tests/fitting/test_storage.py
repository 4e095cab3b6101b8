"""A fit in a file: what comes out is what went in, of every method, and nothing else is let in."""

import dataclasses
import enum
import functools
import json
import linecache
import subprocess
import sys
import zipfile
from pathlib import Path

import equinox as eqx
import experts
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Additive, Line

import mefit as mf
from mefit.fitting.storage.encoding import Encoder
from mefit.model.model import outcome_of

TESTS = Path(__file__).resolve().parents[1]
FEW = mf.BFGS(max_iterations=2)
SHORT = dict(steps=4, block=2)


def differences(one, other, place="fit"):
    """Where two values differ, by Python's and NumPy's own comparison, place by place."""
    if isinstance(one, (jax.Array, np.ndarray)):
        if type(one) is not type(other):
            return [f"{place}: {type(one)} and {type(other)}"]
        if isinstance(one, jax.Array) and jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        same = one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
        return [] if same else [f"{place}: {one} and {other}"]
    if type(one) is not type(other):
        return [f"{place}: {type(one)} and {type(other)}"]
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
        return differences(one.attrs, other.attrs, f"{place}.attrs")
    if isinstance(one, enum.Enum) or callable(one) and not dataclasses.is_dataclass(one):
        return [] if one is other else [place]
    if dataclasses.is_dataclass(one):
        parts = {
            field.name: (getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)
        }
    elif isinstance(one, dict):
        parts = {key: (one[key], other[key]) for key in one} if one.keys() == other.keys() else {"keys": (0, 1)}
    elif isinstance(one, (tuple, list)):
        parts = dict(enumerate(zip(one, other, strict=True)))
    else:
        return [] if one == other or one != one else [f"{place}: {one} and {other}"]
    return [line for name, pair in parts.items() for line in differences(*pair, f"{place}.{name}")]


def opened(fit, path, *models):
    mf.save(fit, path)
    return mf.load(path, models=models)


METHODS = {
    "FO": mf.FO(optimiser=FEW),
    "FOCE": mf.FOCE(optimiser=FEW),
    "Laplace": mf.Laplace(),
    "AGQ": mf.AGQ(3, optimiser=FEW),
    "variational": mf.Variational(3, optimiser=FEW),
    "Monte Carlo": mf.MonteCarlo(20, optimiser=FEW),
    "importance sampling": mf.ImportanceSampling(20, optimiser=FEW),
    "naive pooled": mf.NaivePooled(),
    "two-stage": mf.TwoStage(),
    "joint MLE": mf.JointMLE(optimiser=FEW),
    "joint MAP": mf.JointMAP(optimiser=FEW),
    "SAEM": mf.SAEM(exploration=4, smoothing=3, block=1, kernels=(mf.RandomWalk(),), likelihood_by=mf.FO()),
    "NUTS": mf.NUTS(warmup=6, samples=8, block=8, likelihood_by=mf.FO()),
    "Adam": mf.Adam(mf.FOCE(), **SHORT),
    "data augmentation": mf.Augmented(rounds=2, sweeps=1, likelihood_by=mf.FO()),
}


ALIKE = ("AGQ", "variational", "Monte Carlo", "importance sampling", "naive pooled", "joint MLE")  # in what they leave
EACH = [pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in METHODS]


@pytest.mark.parametrize("name", EACH)
def test_a_fit_comes_out_as_it_went_in(name, line_model, linear_population, tmp_path):
    fixed = ("omega", "sigma") if name == "NUTS" else ()  # which have no prior
    key = jax.random.key(5)
    fit = mf.fit(line_model, linear_population, METHODS[name], key=key, fixed=fixed, progress=False)
    again = opened(fit, tmp_path / "fit.mefit", Line)
    assert differences(fit, again) == []
    assert str(again) == str(fit) and again._repr_html_() == fit._repr_html_()
    pd.testing.assert_frame_equal(again.table, fit.table, check_exact=True)
    assert np.array_equal(again.shrinkage, fit.shrinkage, equal_nan=True)
    for step, same in zip(fit.history, again.history, strict=True):
        assert np.array_equal(step.model.beta, same.model.beta) and step.iteration == same.iteration


@pytest.mark.slow
def test_an_encoder_comes_out_as_it_went_in_and_answers_the_same(line_model, linear_population, tmp_path):
    encoder = mf.networks.SetEncoder(linear_population, effects=2)
    method = mf.Adam(mf.Amortised(encoder, samples=20), batch=5, **SHORT)
    fit = mf.fit(line_model, linear_population, method, key=jax.random.key(2), progress=False)
    again = opened(fit, tmp_path / "fit.mefit", Line)
    assert differences(fit, again) == [] and str(again) == str(fit)
    for one, other in zip(fit.encoder(linear_population[0]), again.encoder(linear_population[0]), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.slow
def test_a_network_of_the_kit_needs_nothing_handed_in(linear_population, tmp_path):
    model = mf.deep_mixed_model(linear_population, mf.families.Gaussian(), effects=1, hidden=(3,))
    fit = mf.fit(model, linear_population, mf.Adam(mf.FOCE(), **SHORT), progress=False)
    again = opened(fit, tmp_path / "fit.mefit")
    assert differences(fit, again) == [] and str(again) == str(fit)
    pd.testing.assert_frame_equal(mf.predictions(again), mf.predictions(fit), check_exact=True)


def test_an_interrupted_training_goes_on_from_a_file(linear_population, line_model, tmp_path):
    half = mf.fit(line_model, linear_population, mf.Adam(mf.FOCE(), **SHORT), progress=False)
    again = opened(half, tmp_path / "half.mefit", Line)
    on = [
        mf.fit(line_model, linear_population, mf.Adam(mf.FOCE(), steps=8, block=2, resume=f), progress=False)
        for f in (half, again)
    ]
    assert np.array_equal(on[0].model.beta, on[1].model.beta) and on[0].log_likelihood == on[1].log_likelihood
    assert differences(on[1], opened(on[1], tmp_path / "on.mefit", Line)) == []  # a fit in a fit


@pytest.mark.skipif(len(jax.local_devices()) < 2, reason="one core")
def test_a_training_on_two_devices_is_kept_and_goes_on(line_model, linear_population, tmp_path):
    many = mf.simulate(line_model, linear_population[np.arange(130) % 5], jax.random.key(1))  # three chunks of a step
    asked = {"progress": False, "devices": 2}
    half = mf.fit(line_model, many, mf.Adam(mf.FOCE(), **SHORT), **asked)
    again = opened(half, tmp_path / "half.mefit", Line)
    assert differences(half, again) == []
    whole = mf.fit(line_model, many, mf.Adam(mf.FOCE(), steps=8, block=2, resume=half), **asked)
    on = mf.fit(line_model, many, mf.Adam(mf.FOCE(), steps=8, block=2, resume=again), **asked)
    assert np.array_equal(on.model.beta, whole.model.beta) and on.log_likelihood == whole.log_likelihood


@pytest.mark.slow
def test_a_mixture_comes_out_as_it_went_in(tmp_path):
    population = experts.sixty()[0][:12]
    fit = mf.fit(experts.mixture(population), population, mf.EM(polish=False), progress=False)
    again = opened(fit, tmp_path / "fit.mefit", Line)
    assert differences(fit, again) == [] and str(again) == str(fit)
    pd.testing.assert_frame_equal(again.classes, fit.classes)


@pytest.mark.slow
def test_what_follows_a_fit_follows_a_loaded_one(fitted, tmp_path):
    fit = fitted(mf.Laplace())
    again = opened(fit, tmp_path / "fit.mefit", Additive)
    pd.testing.assert_frame_equal(mf.predictions(again), mf.predictions(fit), check_exact=True)
    assert np.array_equal(again.covariance, fit.covariance)
    mf.plots.individual_fits(again)
    mf.plots.history(again)
    mf.style.png(mf.plots.goodness_of_fit(again)[0].figure)
    drawn = [mf.individual(f, f.population[:1], key=jax.random.key(3), draws=5) for f in (fit, again)]
    assert np.array_equal(drawn[0].eta, drawn[1].eta)
    onward = mf.fit(again.model, again.population, again.method, progress=False)
    assert onward.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-6)


def test_another_process_opens_it_and_prints_the_same(fitted, tmp_path):
    fit = fitted(mf.Laplace())
    mf.save(fit, tmp_path / "fit.mefit")
    program = (
        "import sys, mefit as mf\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from models import Additive\n"
        "print(mf.load(sys.argv[2], models=Additive))\n"
    )
    arguments = [sys.executable, "-c", program, str(TESTS), str(tmp_path / "fit.mefit")]
    told = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=True)
    assert told.stdout == f"{fit}\n"


def test_the_file_is_read_without_the_kit(fitted, tmp_path):
    fit = fitted(mf.Laplace())
    mf.save(fit, tmp_path / "fit.mefit")
    with zipfile.ZipFile(tmp_path / "fit.mefit") as archive:
        estimates = pd.read_csv(archive.open("estimates.csv"), index_col=0)
        data = pd.read_csv(archive.open("data.csv"))
        manifest = json.loads(archive.read("fit.json"))
        assert "class Additive(mf.Model):" in archive.read("model.py").decode()
        place = manifest["fit"]["fields"]["model"]["fields"]["cl"]["array"]
        assert float(np.load(archive.open(place))) == float(fit.model.cl)
    assert estimates.estimate["cl"] == pytest.approx(float(fit.model.cl), rel=1e-12)
    assert len(data) == 144  # of theophylline: 132 observations, 12 doses
    assert manifest["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))


# ---------------------------------------------------------------- what is refused


@pytest.fixture(scope="module")
def saved(tmp_path_factory, line_model, linear_population):
    path = tmp_path_factory.mktemp("saved") / "line.mefit"
    fit = mf.fit(line_model, linear_population, mf.NaivePooled(), progress=False)
    mf.save(fit, path)
    return path


def rewritten(path, onto, change):
    """The file with its JSON changed."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(onto, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "fit.json":
                manifest = json.loads(content)
                change(manifest)
                content = json.dumps(manifest).encode()
            copy.writestr(name, content)
    return onto


def lines(**fields):
    """Classes called Line, with other fields or other methods."""

    def body(space):
        space.update(fields)

    import types

    return types.new_class("Line", (Line,), exec_body=body)


def test_a_class_that_is_not_handed_in_is_named(saved):
    with pytest.raises(ValueError, match=r"needs Line, not part of the kit: .* mf.load\(path, models=\[Line\]\)"):
        mf.load(saved)
    with pytest.raises(ValueError, match="models takes classes"):
        mf.load(saved, models=[3])


def test_a_class_that_has_changed_is_refused_by_the_field(saved):
    more = lines(__annotations__={"slope": Array}, slope=mf.real())
    unit = lines(__annotations__={"sigma": Array}, sigma=mf.positive(unit="s"))
    domain = lines(__annotations__={"sigma": Array}, sigma=mf.real(unit="ms"))
    prior = lines(__annotations__={"sigma": Array}, sigma=mf.positive(unit="ms", prior=dist.HalfNormal(3.0)))
    for kind, words in (
        (more, "it has a field slope, which it did not have"),
        (unit, "the unit of sigma was ms, and is s"),
        (domain, "the domain of sigma was positive, and is a finite number"),
        (prior, r"the prior of sigma was none, and is HalfNormal\(scale=3.0\)"),
    ):
        with pytest.raises(ValueError, match=f"Line has changed since the fit was saved: {words}"):
            mf.load(saved, models=[kind])


def test_a_method_that_reads_otherwise_is_warned_of(tmp_path, linear_population):
    def first():
        class Level(mf.Model):
            mu: Array = mf.real()
            sigma: Array = mf.positive()

            def observations(self, eta, subject):
                return dist.Normal(jnp.broadcast_to(self.mu, subject.time.shape), self.sigma)

        return Level

    def documented():
        class Level(mf.Model):
            """The same, with a docstring and a comment."""

            mu: Array = mf.real()
            sigma: Array = mf.positive()

            def observations(self, eta, subject):
                # a comment
                return dist.Normal(
                    jnp.broadcast_to(self.mu, subject.time.shape),
                    self.sigma,
                )

        return Level

    def other():
        class Level(mf.Model):
            mu: Array = mf.real()
            sigma: Array = mf.positive()

            def observations(self, eta, subject):
                return dist.Normal(jnp.broadcast_to(2.0 * self.mu, subject.time.shape), self.sigma)

        return Level

    fit = mf.fit(first()(mu=200.0, sigma=20.0), linear_population, mf.NaivePooled(), progress=False)
    mf.save(fit, tmp_path / "fit.mefit")
    assert float(mf.load(tmp_path / "fit.mefit", models=[documented()]).model.mu) == float(fit.model.mu)
    with pytest.warns(UserWarning, match="Level reads otherwise than when this fit was saved"):
        mf.load(tmp_path / "fit.mefit", models=[other()])


def test_a_file_that_is_cut_damaged_newer_or_another_is_refused(saved, tmp_path):
    whole = saved.read_bytes()
    cut = tmp_path / "cut.mefit"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole file of mf.save"):
        mf.load(cut, models=[Line])
    with zipfile.ZipFile(saved) as archive:
        begin = archive.getinfo("fit.json").header_offset
    spoiled = bytearray(whole)
    spoiled[begin + 60 : begin + 90] = bytes(30)
    (tmp_path / "spoiled.mefit").write_bytes(spoiled)
    with pytest.raises(ValueError, match="spoiled.mefit is damaged"):
        mf.load(tmp_path / "spoiled.mefit", models=[Line])
    newer = rewritten(saved, tmp_path / "newer.mefit", lambda m: m.update(format=99))
    with pytest.raises(ValueError, match="is of format 99, written by mefit .* reads up to 1"):
        mf.load(newer, models=[Line])
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("a.txt", "a")
    with pytest.raises(ValueError, match="holds no fit"):
        mf.load(tmp_path / "other.zip")
    with pytest.raises(FileNotFoundError):
        mf.load(tmp_path / "none.mefit")


@pytest.mark.parametrize("name", ["os:system", "builtins:eval", "mefit.base.files:write_whole", "jax.numpy:load"])
def test_a_file_cannot_name_what_it_likes(name, saved, tmp_path):
    def as_function(manifest):
        manifest["fit"]["fields"]["message"] = {"function": name}

    def as_class(manifest):
        manifest["fit"]["fields"]["message"] = {"class": name, "fields": {}}

    for change in (as_function, as_class):
        with pytest.raises(ValueError, match="the file needs|this mefit has no|is no class of models"):
            mf.load(rewritten(saved, tmp_path / "crafted.mefit", change), models=[Line])


def test_what_does_not_hang_together_is_damaged(saved, tmp_path):
    for change in (
        lambda m: m["fit"]["fields"].update(eta={"array": 3}),
        lambda m: m["fit"]["fields"].update(status={"dict": 5}),
        lambda m: m.update(fit="a fit"),
    ):
        with pytest.raises(ValueError, match="is damaged"):
            mf.load(rewritten(saved, tmp_path / "odd.mefit", change), models=[Line])


CELL = """class Level(mf.Model):
    mu: Array = mf.real()
    sigma: Array = mf.positive()

    def observations(self, eta, subject):
        return dist.Normal(jnp.broadcast_to(self.mu, subject.time.shape), self.sigma)
"""


def test_a_class_of_a_notebook_is_kept_with_its_source(linear_population, tmp_path):
    def cell(number):
        """What IPython does with a cell: its text is found under a name that is no file."""
        name = f"<cell {number}>"
        linecache.cache[name] = (len(CELL), None, CELL.splitlines(keepends=True), name)
        space = {"mf": mf, "dist": dist, "jnp": jnp, "Array": Array, "__name__": "__main__"}
        exec(compile(CELL, name, "exec"), space)
        return space["Level"]

    fit = mf.fit(cell(1)(mu=200.0, sigma=20.0), linear_population, mf.NaivePooled(), progress=False)
    mf.save(fit, tmp_path / "fit.mefit")
    with zipfile.ZipFile(tmp_path / "fit.mefit") as archive:
        assert archive.read("model.py").decode().strip() == CELL.strip()
    again = mf.load(tmp_path / "fit.mefit", models=cell(2))
    assert float(again.model.mu) == float(fit.model.mu)


def test_a_view_on_one_outcome_is_no_fit_to_keep(line_model):
    view = outcome_of(line_model, "pk")
    with pytest.raises(ValueError, match="fit.model is a Line, which the kit makes for a while only"):
        Encoder().value(view, "fit.model")


def test_a_pickled_array_is_not_opened(saved, tmp_path):
    crafted = rewritten(saved, tmp_path / "crafted.mefit", lambda m: None)
    with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(crafted, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "arrays/0000.npy":
                np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], object), allow_pickle=True)
                content = (tmp_path / "pickled.npy").read_bytes()
            copy.writestr(name, content)
    with pytest.raises(ValueError, match="is damaged: arrays/0000.npy"):
        mf.load(crafted, models=[Line])


def test_what_no_file_can_hold_is_refused_by_its_place(line_model, linear_population, tmp_path):
    class WithLink(Line):
        net: mf.networks.MLP = mf.weights()

    net = mf.networks.MLP(1, (), 1, link=lambda x: x)
    values = {field.name: getattr(line_model, field.name) for field in dataclasses.fields(line_model)}
    fit = mf.fit(line_model, linear_population, mf.NaivePooled(), progress=False)
    odd = dataclasses.replace(fit, model=WithLink(net=net, **values))
    with pytest.raises(ValueError, match="fit.model.net.link is a function without a name"):
        mf.save(odd, tmp_path / "odd.mefit")
    assert not (tmp_path / "odd.mefit").exists()
    named = eqx.tree_at(lambda m: m.net, odd.model, mf.networks.MLP(1, (2,), 1, activation=jax.nn.softplus))
    again = opened(dataclasses.replace(fit, model=named), tmp_path / "named.mefit", WithLink, Line)
    assert again.model.net.activation is jax.nn.softplus and again.model.net.link is named.net.link


def bend(x):
    return x / (1.0 + jnp.abs(x))


class Bent(Line):
    net: mf.networks.MLP = mf.weights()


def test_a_function_of_ones_own_is_handed_in_by_its_name(line_model, linear_population, tmp_path):
    net = mf.networks.MLP(1, (2,), 1, activation=bend, link=functools.partial(jax.nn.leaky_relu, negative_slope=0.2))
    values = {field.name: getattr(line_model, field.name) for field in dataclasses.fields(line_model)}
    fit = mf.fit(line_model, linear_population, mf.NaivePooled(), progress=False)
    bent = dataclasses.replace(fit, model=Bent(net=net, **values), history=())
    mf.save(bent, tmp_path / "bent.mefit")
    with pytest.raises(ValueError, match=r"needs bend, not part of the kit: .* models=\[bend\]"):
        mf.load(tmp_path / "bent.mefit", models=[Bent])
    again = mf.load(tmp_path / "bent.mefit", models=[Bent, bend]).model.net
    assert again.activation is bend and again.link.func is jax.nn.leaky_relu
    assert again.link.keywords == {"negative_slope": 0.2} and again(0.3) == net(0.3)
