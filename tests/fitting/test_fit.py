"""The door: what `fit` returns, how it shows itself, how it ends when it is interrupted, refused or misled."""

import json
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from models import Additive, Line, Logistic, Means, Schools, theophylline_model

import mefit as mf
from mefit.methods.maximise import Maximise

HERE = pathlib.Path(__file__).parents[1]


def test_standard_errors_match_tmb(theophylline_mg):
    """TMB 1.9.2's standard errors of log(ka, CL, V), of the log SDs and of log sigma, from the exact Hessian."""
    start = Additive(ka=1.5, cl=3.0, v=30.0, omega=jnp.diag(jnp.array([0.4, 0.1, 0.05])), sigma=0.7)
    fit = mf.fit(start, theophylline_mg, mf.Laplace(), progress=False)
    expected = {
        "ka": 0.1913348,
        "cl": 0.0841521,
        "v": 0.0460156,
        "omega[ka]": 0.2343446,
        "omega[cl]": 0.2503730,
        "omega[v]": 0.2947181,
        "sigma": 0.0714683,
    }
    for name, se in expected.items():
        assert fit.table.rse[name] / 100 == pytest.approx(se, rel=2e-4), name


@pytest.fixture(scope="module")
def sleep_fit():
    start = Line(beta=[250.0, 10.0], omega=[[500.0, 0.0], [0.0, 30.0]], sigma=20.0)
    return mf.fit(start, mf.datasets.sleepstudy(), mf.Laplace(), progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("method", [mf.FO(), mf.FOCE(), mf.Laplace(), mf.AGQ(3)], ids=lambda m: m.label)
def test_sleepstudy_is_lme4s_by_every_method(method):
    start = Line(beta=[250.0, 10.0], omega=[[500.0, 0.0], [0.0, 30.0]], sigma=20.0)
    fit = mf.fit(start, mf.datasets.sleepstudy(), method, progress=False)
    assert fit.converged
    assert fit.minus_two_log_likelihood == pytest.approx(1751.9393444632, abs=1e-6)
    np.testing.assert_allclose(fit.model.beta, [251.4051048485, 10.4672859596], rtol=2e-5)
    np.testing.assert_allclose(np.asarray(fit.model.omega), [[565.5, 11.06], [11.06, 32.68]], rtol=1e-3)
    assert fit.bic == pytest.approx(1751.93934 + 6 * np.log(180), abs=1e-4)
    assert fit.aic == pytest.approx(1763.93934, abs=1e-4)


def test_a_fit_tells_itself_in_a_terminal_and_in_a_notebook(fitted, sleep_fit):
    text, page = str(fitted(mf.Laplace())), fitted(mf.Laplace())._repr_html_()
    for words in (
        "-2LL = 360.3066",
        "AIC = 374.31",
        "Converged",
        "12 subjects, 132 observations",
        "1/h",
        "L/h/kg",
        "shrinkage",
        "CV",
        "omega[cl]",
        "RSE",
    ):
        assert words in text, words
        assert words in page, words
    assert "corr(intercept, slope)" in str(sleep_fit)
    assert sleep_fit.table.loc["corr(intercept, slope)", "estimate"] == pytest.approx(0.0813, abs=1e-3)


def test_starting_values_do_not_compile_again(theophylline):
    """Refitting from other values, or other data of the same shape, uses the program that is there."""
    from mefit.objectives.evaluation import evaluate

    mf.fit(theophylline_model(), theophylline, mf.FO(), progress=False)
    program = evaluate.program
    before = program._cached._cache_size()
    other = mf.simulate(theophylline_model(), theophylline, jax.random.key(0))
    fit = mf.fit(theophylline_model(ka=1.1), other, mf.FO(), progress=False)
    mf.fit(fit.model, theophylline, mf.FO(), progress=False)
    assert program._cached._cache_size() == before


def test_chain_from_one_method_to_the_next(fitted, theophylline):
    again = mf.fit(fitted(mf.FO()).model, theophylline, mf.Laplace(), progress=False)
    assert again.log_likelihood == pytest.approx(fitted(mf.Laplace()).log_likelihood, abs=1e-6)


def test_fixed_parameters_stay_and_are_marked(theophylline):
    fit = mf.fit(theophylline_model(), theophylline, mf.FOCE(), fixed=("cl", "omega"), progress=False)
    assert float(fit.model.cl) == 0.04
    np.testing.assert_array_equal(fit.model.omega, theophylline_model().omega)
    assert fit.n_parameters == 3
    assert list(fit.table.remark[["cl", "omega[v]"]]) == ["fixed", "fixed"] and np.isnan(fit.table.se["cl"])


def test_everything_fixed_is_an_evaluation(theophylline):
    names = ("ka", "cl", "v", "omega", "sigma")
    fit = mf.fit(theophylline_model(), theophylline, mf.Laplace(), fixed=names, progress=False)
    assert fit.converged and fit.n_parameters == 0 and fit.eta.shape == (12, 3)


def test_a_prior_gives_the_maximum_a_posteriori():
    """y ~ N(mu, 1) with mu ~ N(0, 1/2): the mode is known, and no Jacobian enters."""

    class Shift(mf.Model):
        mu: jax.Array = mf.real(prior=dist.Normal(0.0, np.sqrt(0.5)))
        sd: jax.Array = mf.positive(prior=dist.Gamma(3.0, 2.0))

        def observations(self, eta, subject):
            return dist.Normal(jnp.broadcast_to(self.mu, subject.time.shape), self.sd)

    y = jnp.array([1.0, 2.0, 3.0, 2.0])
    population = mf.Population.from_subjects([mf.Subject(time=jnp.arange(4.0), y=y, mask=jnp.ones(4, bool))])
    for method in (mf.Laplace(), mf.FO(), mf.NaivePooled()):
        fit = mf.fit(Shift(mu=0.0, sd=1.0), population, method, fixed=("sd",), progress=False)
        assert float(fit.model.mu) == pytest.approx(8.0 / (4.0 + 2.0), rel=1e-5)
        assert fit.log_prior == pytest.approx(float(dist.Normal(0.0, np.sqrt(0.5)).log_prob(fit.model.mu)))
        assert "maximum a posteriori" in str(fit)
    fit = mf.fit(Shift(mu=0.0, sd=1.0), population, mf.Laplace(), fixed=("mu",), progress=False)
    grid = jnp.linspace(0.3, 6.0, 100_001)
    log_posterior = dist.Normal(0.0, grid[:, None]).log_prob(y).sum(1) + dist.Gamma(3.0, 2.0).log_prob(grid)
    assert float(fit.model.sd) == pytest.approx(float(grid[jnp.argmax(log_posterior)]), abs=1e-4)


def test_a_prior_removes_the_collapse_of_eight_schools():
    """The penalty Gamma(2, rate 1/25) on tau puts the marginal mode at 5.53."""

    class Penalised(Schools):
        tau: jax.Array = mf.positive(prior=dist.Gamma(2.0, 1.0 / 25.0))

    fit = mf.fit(Penalised(mu=8.0, tau=5.0), mf.datasets.eight_schools(), mf.Laplace(), progress=False)
    assert float(fit.model.tau) == pytest.approx(5.53, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["covariance", "diagonal_covariance", "scalar_covariance"])
def test_a_prior_on_variances(where, linear_population):
    prior = dist.InverseGamma(3.0, 400.0)

    class Penalised(Line):
        omega: jax.Array = getattr(mf, where)(prior=prior)

    model = Penalised(beta=[250.0, 10.0], omega=400.0 * jnp.eye(2), sigma=15.0)
    counted = 1 if where == "scalar_covariance" else 2
    assert float(mf.log_prior(model)) == pytest.approx(counted * float(prior.log_prob(400.0)))
    fit = mf.fit(model, linear_population, mf.FO(), progress=False)
    assert np.isfinite(fit.log_prior)


def test_interruption_returns_the_best_so_far(theophylline, monkeypatch):
    step = Maximise.step
    calls = []

    def interrupted(self, problem, state):
        calls.append(state)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(self, problem, state)

    monkeypatch.setattr(Maximise, "step", interrupted)
    fit = mf.fit(theophylline_model(), theophylline, mf.FO(), progress=False)
    assert not fit.converged and "interrupted after 3 iterations" in fit.message
    assert fit.history[-1].minus_two_objective < fit.history[0].minus_two_objective
    assert -2 * mf.log_likelihood(fit.model, theophylline, mf.FO()) == pytest.approx(
        fit.history[-1].minus_two_objective
    )
    assert "NOT CONVERGED: interrupted" in str(fit)


def test_too_few_iterations_are_said_with_the_parameter_that_still_moves(theophylline):
    method = mf.FO(optimiser=mf.BFGS(max_iterations=2))
    fit = mf.fit(theophylline_model(), theophylline, method, progress=False)
    assert not fit.converged and "stopped after 2 iterations" in fit.message and "climbing in" in fit.message


def test_iterate_is_fit_a_step_at_a_time(theophylline):
    steps = list(mf.iterate(theophylline_model(), theophylline, mf.FO()))
    fit = mf.fit(theophylline_model(), theophylline, mf.FO(), progress=False)
    assert [s.iteration for _, s in steps] == list(range(len(fit.history)))
    objective = [s.minus_two_objective for _, s in steps]
    assert objective == [s.minus_two_objective for s in fit.history] and objective == sorted(objective, reverse=True)
    assert float(steps[0][0].ka) == pytest.approx(1.5) and isinstance(steps[-1][0], Additive)


def test_progress_names_the_compilation_and_the_objective(theophylline, capsys):
    mf.fit(theophylline_model(), theophylline[:5], mf.FO())
    printed = capsys.readouterr().err
    assert "FO: compiling, once" in printed and "-2LL = " in printed


@pytest.mark.slow
def test_missing_responses_are_ignored_wherever_they_stand(theophylline):
    frame = theophylline.to_frame()
    observed = frame.index[frame.EVID == 0]
    holes = observed[[3, 25, 26, 70]]
    masked, dropped = frame.copy(), frame.drop(index=holes)
    masked.loc[holes, "DV"] = np.nan
    for method in (mf.FO(), mf.FOCE(), mf.Laplace(), mf.AGQ(3)):
        values = [
            mf.log_likelihood(theophylline_model(), mf.Population.from_frame(f), method) for f in (masked, dropped)
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_a_missing_row_does_not_poison_gradients(theophylline_mg):
    """At time 0 a proportional error has no variance; a row without a response there must not make NaN."""
    from models import Proportional

    frame = theophylline_mg.to_frame()
    frame.loc[(frame.EVID == 0) & (frame.TIME == 0), "DV"] = np.nan
    model = Proportional(ka=1.5, cl=3.0, v=30.0, omega=jnp.diag(jnp.array([0.4, 0.1, 0.05])), slope=0.2)
    fit = mf.fit(model, mf.Population.from_frame(frame), mf.Laplace(), progress=False)
    assert fit.minus_two_log_likelihood == pytest.approx(353.9528, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("density", ["poisson", "beta"])
def test_other_densities(density, key):
    class Counts(mf.Model):
        mean: jax.Array = mf.positive()
        omega: jax.Array = mf.positive()

        def random_effects(self):
            return dist.Normal(0.0, self.omega)

        def observations(self, eta, subject):
            mean = self.mean * jnp.exp(eta) * jnp.ones_like(subject.time)
            return dist.Poisson(mean) if density == "poisson" else dist.Beta(mean, 2.0)

    subject = mf.Subject(time=jnp.arange(12.0), y=jnp.zeros(12), mask=jnp.ones(12, bool))
    truth = Counts(mean=3.0, omega=0.4)
    population = mf.simulate(truth, mf.Population.from_subjects([subject] * 150), key)
    fit = mf.fit(Counts(mean=2.0, omega=0.8), population, mf.AGQ(7), progress=False)
    assert fit.converged
    assert np.all(np.abs(fit.table.estimate - [3.0, 0.4]) < 4 * fit.table.se)
    with pytest.raises(ValueError, match=r"Gaussian observation, but Counts.observations returns"):
        mf.fit(truth, population, mf.FO(), progress=False)


def _refusals():
    population, model = mf.datasets.theophylline(), theophylline_model()
    binary = mf.datasets.clustered_binary(jax.random.key(0), 4, 3)

    class Heavy(Means):
        def random_effects(self):
            return dist.StudentT(4.0, 0.0, self.omega)

    zero = population.with_responses(population.subjects.y)
    return {
        "method without brackets": (
            lambda: mf.fit(model, population, mf.Laplace),
            r"mf\.Laplace\(\) with its brackets",
        ),
        "arguments in the wrong order": (lambda: mf.fit(population, model, mf.Laplace()), "needs a model such as"),
        "a data frame": (lambda: mf.fit(model, population.to_frame(), mf.FO()), "needs a population.*DataFrame"),
        "no key": (lambda: mf.fit(model, population, mf.MonteCarlo()), "give it a key"),
        "simulate without key": (lambda: mf.simulate(model, population, None), "give it a key"),
        "unknown fixed": (lambda: mf.fit(model, population, mf.FO(), fixed="CL"), "not a parameter of Additive.*cl"),
        "negative parameter": (lambda: theophylline_model(ka=-1.0), r"Additive\.ka must be positive; it is -1"),
        "NaN parameter": (lambda: theophylline_model(ka=np.nan), r"Additive\.ka is not finite"),
        "indefinite omega": (lambda: theophylline_model(omega=-jnp.eye(3)), "positive definite"),
        "off-diagonal": (lambda: theophylline_model(omega=jnp.full((3, 3), 0.1) + jnp.eye(3)), "declared diagonal"),
        "asymmetric": (lambda: Line(beta=[1.0, 1.0], omega=[[1.0, 0.5], [0.0, 1.0]], sigma=1.0), "must be symmetric"),
        "vector omega": (lambda: theophylline_model(omega=jnp.ones(3)), "square matrix"),
        "FO on binary data": (lambda: mf.fit(Logistic(b0=0.0, omega=1.0), binary, mf.FOCE()), "returns Bernoulli"),
        "FO with heavy tails": (lambda: mf.fit(Heavy(mu=0.0, omega=1.0, sigma=1.0), binary, mf.FO()), "StudentT"),
        "too large a grid": (lambda: mf.fit(model, population, mf.AGQ(100)), "1,000,000 points.*at most 46 nodes"),
        "no node": (
            lambda: mf.fit(model, population, mf.AGQ(0)),
            "nodes=0 has too few points: give 1 or more",
        ),
        "two-stage without effects": (
            lambda: mf.fit(
                type("Flat", (Means,), {"random_effects": lambda self: None})(mu=0.0, omega=1.0, sigma=1.0),
                binary,
                mf.TwoStage(),
            ),
            "this model has none",
        ),
        "likelihood of two-stage": (
            lambda: mf.log_likelihood(model, zero, mf.TwoStage()),
            "no log-likelihood to evaluate",
        ),
        "wrong number of effects": (
            lambda: mf.simulate(model, population, jax.random.key(0), eta=jnp.zeros((12, 2))),
            "has 2 columns",
        ),
    }


@pytest.mark.slow
def test_refusals_are_one_clear_sentence():
    """In a process of its own, where no type checker of the tests speaks first."""
    code = (
        "import json\n"
        "import sys\nsys.path.insert(0, 'fitting')\nfrom test_fit import _refusals\n"
        "said = {}\n"
        "for case, (act, _) in _refusals().items():\n"
        "    try:\n"
        "        act()\n"
        "    except ValueError as error:\n"
        "        said[case] = str(error)\n"
        "print(json.dumps(said))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    for case, (_, words) in _refusals().items():
        assert case in said, f"{case} was not refused"
        assert re.search(words, said[case]), f"{case}: {said[case]}"
        assert "\n" not in said[case] and len(said[case]) < 350, said[case]


def test_a_start_without_a_finite_likelihood_names_the_subject(theophylline_mg):
    from models import Proportional

    model = Proportional(ka=1.5, cl=3.0, v=30.0, omega=jnp.diag(jnp.array([0.4, 0.1, 0.05])), slope=0.2)
    sentence = "predicts 0 for subject 1 in its row 1, with an error of 0, and 0.74 was measured, which is impossible"
    with pytest.raises(ValueError, match=sentence):
        mf.fit(model, theophylline_mg, mf.Laplace(), progress=False)


def test_joint_methods_have_no_standard_errors(fitted):
    fit = fitted(mf.JointMAP())
    with pytest.raises(ValueError, match="no standard errors"):
        _ = fit.covariance
    assert np.all(np.isnan(fit.table.se)) and "not a likelihood" in str(fit)


def test_the_core_imports_without_matplotlib_and_ipywidgets():
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('matplotlib', 'ipywidgets', 'IPython', 'jupyterlab', 'nbformat'):\n"
        "            raise ImportError('blocked: ' + name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import mefit as mf\n"
        "from models import theophylline_model\n"
        "fit = mf.fit(theophylline_model(), mf.datasets.theophylline(), mf.FO(), progress=False)\n"
        "print(fit.log_likelihood, len(str(fit)), len(fit._repr_html_()))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout.split()[0]) == pytest.approx(-174.2773, abs=1e-3)


@pytest.mark.slow
def test_the_compiler_is_silent():
    """A Diffrax program that makes XLA talk, compiled after importing mefit, leaves stderr empty."""
    code = (
        "import mefit, jax, jax.numpy as jnp, diffrax\n"
        "def end(k):\n"
        "    term = diffrax.ODETerm(lambda t, y, a: jnp.stack([-k[0] * y[0], k[0] * y[0] - k[1] * y[1]]))\n"
        "    s = diffrax.diffeqsolve(term, diffrax.Tsit5(), 0.0, 24.0, 0.1, jnp.array([4.0, 0.0]),\n"
        "        saveat=diffrax.SaveAt(ts=jnp.linspace(0.0, 24.0, 11)), adjoint=diffrax.DirectAdjoint(),\n"
        "        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-8))\n"
        "    return jnp.sum(s.ys[:, 1] ** 2)\n"
        "h = jax.jit(jax.vmap(jax.jacfwd(jax.jacfwd(end))))(jnp.array([[1.5, 0.1], [1.0, 0.2]]))\n"
        "print(bool(jnp.all(jnp.isfinite(h))))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert run.stdout.strip() == "True" and run.stderr == ""
