"""How long things take: `python benchmarks/run.py` prints the tables; `--large` adds 100,000 subjects.

Every figure is the median of several runs on the machine at hand. Compare figures of one run with each other; an
absolute time says as much about the machine, and about what else it was doing, as about the kit.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable

import waiting

COLD = """
import json, sys, time
start = time.perf_counter(), time.process_time()
import mefit as mf
import jax, jax.numpy as jnp, numpyro.distributions as dist
imported = time.perf_counter(), time.process_time()
{model}
population = {population}
model = start_model()
method = {method}
key = jax.random.key(0)
ready = time.perf_counter(), time.process_time()
mf.fit(model, population, method, key=key, fixed={fixed}, progress=False)
first = time.perf_counter(), time.process_time()
fit = mf.fit(model, population, method, key=key, fixed={fixed}, progress=False)
second = time.perf_counter(), time.process_time()
run = [second[i] - first[i] for i in (0, 1)]
print(json.dumps({{
    "import": [imported[i] - start[i] for i in (0, 1)],
    "compile": [first[i] - ready[i] - run[i] for i in (0, 1)],
    "run": run,
    "total": [first[i] - start[i] for i in (0, 1)],
}}))
"""

MODEL = """
import sys
sys.path[:0] = ["tests", "tests/workshop"]
from models import Additive as Theophylline, theophylline_model as start_model
"""
THEOPHYLLINE = {"model": MODEL, "population": "mf.datasets.theophylline()", "fixed": "()"}
DEEP = {
    "model": """
import sys
sys.path[:0] = ["tests", "tests/workshop"]
from test_explorers_09 import DeepNLME, study


def start_model():
    net = mf.networks.MLP(5, (7, 7), last=0.01, centre=(0.2, 0.8, 0.0, 0.0, 0.0), spread=(0.2, 0.5, 1.0, 1.0, 1.0))
    typical, sigma = jnp.array([1.0, 1.0, 0.5, 1.0]), jnp.array([0.05, 0.5])
    return DeepNLME(net=net, typical=typical, sd=jnp.full(3, 0.3), sigma=sigma)
""",
    "population": "study.first_study(10, 1)[0]",
    "fixed": "()",
}
MENET = {
    "model": "from workshop.studies import saturation\nstart_model = saturation.start",
    "population": "saturation.simulate(100, seed=1)",
    "fixed": "('dials',)",
}

METHODS = {
    "FO": "mf.FO()",
    "FOCE": "mf.FOCE()",
    "Laplace": "mf.Laplace()",
    "AGQ, 9^3 nodes": "mf.AGQ(9)",
    "importance sampling, 1000": "mf.ImportanceSampling(1000)",
    "SAEM, 500 iterations, 5 chains": "mf.SAEM(exploration=300, smoothing=200, stop_early=False)",
    "Monte Carlo, 1000": "mf.MonteCarlo(1000)",
    "joint MAP": "mf.JointMAP()",
    "two-stage": "mf.TwoStage()",
    "naive pooled": "mf.NaivePooled()",
}


def table(title: str, head: list[str], rows: Iterable[list[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n### {title}\n\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head), flush=True)
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def in_new_processes(code: str, repeats: int) -> list[str]:
    """What COLD prints, as medians: wall seconds (CPU seconds) of each part."""
    runs = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    parts = ("import", "compile", "run", "total")
    medians = [[statistics.median(r[part][i] for r in runs) for i in (0, 1)] for part in parts]
    return [f"{wall:.1f} ({cpu:.1f})" for wall, cpu in medians]


def cold(repeats: int) -> None:
    """A new process from the first line to the result, split into import, compile and run."""
    rows = []
    for name in ("FO", "FOCE", "Laplace", "AGQ, 9^3 nodes", "SAEM, 500 iterations, 5 chains"):
        rows.append([name, *in_new_processes(COLD.format(**THEOPHYLLINE, method=METHODS[name]), repeats)])
    table(
        f"New process to result, theophylline, 12 subjects: wall seconds (CPU seconds), median of {repeats}",
        ["method", "import", "compile, once", "run", "total"],
        rows,
    )


ODE = (
    MODEL
    + '''

class Ode(Theophylline):
    """The same by its differential equations."""

    def observations(self, eta, subject):
        ka, cl, v = self.ka * jnp.exp(eta[0]), self.cl * jnp.exp(eta[1]), self.v * jnp.exp(eta[2])

        def rhs(t, y):
            return [-ka * y[0], ka * y[0] - cl / v * y[1]]

        return dist.Normal(mf.dynamics.solve(rhs, [0.0, 0.0], subject)[:, 1] / v, self.sigma)


def start_model():
    return Ode(ka=1.5, cl=0.04, v=0.5, omega=jnp.diag(jnp.array([0.4, 0.1, 0.05])), sigma=0.7)
'''
)


def ode(repeats: int) -> None:
    """Theophylline as an ODE: a new process to the result, forward and in reverse, then more and unequal subjects."""
    rows = []
    for name in ("mf.FOCE()", "mf.Laplace()", "mf.FOCE(forward_up_to=0)"):
        code = COLD.format(**(THEOPHYLLINE | {"model": ODE}), method=name)
        rows.append([name, *in_new_processes(code, repeats)])
    head = ["method", "import", "compile, once", "run (a refit)", "total"]
    table(f"Theophylline as an ODE, wall seconds (CPU seconds), median of {repeats}", head, rows)
    namespace: dict = {}
    exec("import mefit as mf, jax, jax.numpy as jnp, numpyro.distributions as dist\n" + ODE, namespace)
    mf, jax, np = namespace["mf"], namespace["jax"], __import__("numpy")
    from mefit.model.space import Space
    from mefit.objectives.evaluation import batches_of, evaluate

    real, model, method, rows = mf.datasets.theophylline(), namespace["start_model"](), mf.FOCE(), []
    x = Space(model).vector()
    long = mf.Subject(
        np.linspace(0, 240, 201), np.zeros(201), np.ones(201), {}, mf.Doses.of(4.0, np.arange(0, 240, 8.0))
    )
    cases = {f"{size:,} like the 12": real[np.arange(size) % 12] for size in (12, 120, 1200, 10_000)}
    for share in (0, 1, 120):
        some = [long] * share + [mf.Subject(s.time, s.y, s.mask, {}, s.doses) for s in real] * 10
        cases[f"120 of 11 rows and {share} of 201"] = mf.Population.from_subjects(some)
    for name, population in cases.items():
        population = mf.simulate(model, population, jax.random.key(1))
        batches = batches_of(method, model, population, None)

        def evaluation(batches=batches):
            jax.block_until_ready(evaluate(method, Space(model), x, batches))

        seconds = median_time(evaluation, 3)
        rows.append([name, f"{1e3 * seconds:.0f}", f"{1e6 * seconds / len(population):.0f}"])
    table("FOCE through the ODE", ["subjects", "evaluation, ms", "microseconds a subject"], rows)


def median_time(action, repeats: int) -> float:
    """Median wall seconds of a call, after one that is not counted."""
    action()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def warm(repeats: int) -> None:
    """Refits in a process that has compiled: other data of the same shape, so nothing compiles again."""
    namespace: dict = {}
    exec("import mefit as mf, jax, jax.numpy as jnp, numpyro.distributions as dist\n" + MODEL, namespace)
    mf, jax = namespace["mf"], namespace["jax"]
    from mefit.objectives.evaluation import evaluate

    population, model = mf.datasets.theophylline(), namespace["start_model"]()
    other = mf.simulate(model, population, jax.random.key(1))
    rows = []
    for name, method in METHODS.items():
        method = eval(method, namespace)
        fits = []

        def refit(method=method, fits=fits):
            fits.append(mf.fit(model, population, method, key=jax.random.key(0), progress=False))

        refit()
        before = evaluate.program._cached._cache_size()
        mf.fit(model, other, method, key=jax.random.key(0), progress=False)
        compiled = evaluate.program._cached._cache_size() - before
        seconds = median_time(refit, repeats)
        evaluations = fits[-1].evaluations
        rows.append(
            [
                name,
                f"{1e3 * seconds:.0f}",
                str(evaluations),
                f"{1e6 * seconds / evaluations / len(population):.0f}",
                str(compiled),
            ]
        )
    table(
        f"Refit in a warm process, theophylline, 12 subjects: median of {repeats}",
        ["method", "ms", "evaluations", "microseconds a subject and evaluation", "programs compiled for other data"],
        rows,
    )


def saem(repeats: int, seeds: int = 8) -> None:
    """Whole fits of 500 iterations of SAEM by each choice of kernels, beside Laplace, whose optimiser is SciPy's."""
    namespace: dict = {}
    exec("import mefit as mf, jax, jax.numpy as jnp, numpyro.distributions as dist\n" + MODEL, namespace)
    mf, jax, np = namespace["mf"], namespace["jax"], __import__("numpy")
    from mefit.model.space import Space

    population, model = mf.datasets.theophylline(), namespace["start_model"]()
    kernels = {
        "Laplace 4 (f-SAEM)": (mf.LaplaceProposal(steps=4),),
        "Laplace 2, random walk 2": (mf.LaplaceProposal(), mf.RandomWalk()),
        "random walk 4": (mf.RandomWalk(steps=4),),
        "prior 2, random walk 2": (mf.PriorProposal(), mf.RandomWalk()),
        "component-wise 3, random walk 1": (mf.ComponentWise(steps=1), mf.RandomWalk(steps=1)),
        "Laplace 2, random walk 1 (the default)": mf.SAEM().kernels,
    }
    schedule = {"exploration": 300, "smoothing": 200, "stop_early": False}
    methods = {f"SAEM, {name}": mf.SAEM(kernels=some, **schedule) for name, some in kernels.items()}
    rows = []
    for name, method in ({"Laplace": mf.Laplace()} | methods).items():

        def refit(seed=0, method=method):
            return mf.fit(model, population, method, key=jax.random.key(seed), progress=False)

        begin = time.perf_counter()
        refit()
        first = time.perf_counter() - begin
        seconds, spread = median_time(refit, repeats), "0"
        if method.random:
            sd = np.std([Space(refit(seed).model).vector() for seed in range(seeds)], axis=0, ddof=1)
            spread = f"{np.exp(np.mean(np.log(sd))):.4f}"
        rows.append([name, f"{first - seconds:.1f}", f"{1e3 * seconds:.0f}", spread])
    table(
        f"SAEM, 500 iterations, 5 chains, theophylline, warm: median of {repeats}, SD over {seeds} seeds",
        ["method, moves an iteration", "compile, s", "refit, ms", "SD of log estimates (geometric mean of the seven)"],
        rows,
    )


def scaling(sizes: list[int]) -> None:
    """One evaluation of the objective with its gradient, and a whole fit, as the population grows."""
    namespace: dict = {}
    exec("import mefit as mf, jax, jax.numpy as jnp, numpyro.distributions as dist\n" + MODEL, namespace)
    mf, jax, np = namespace["mf"], namespace["jax"], __import__("numpy")
    from mefit.model.space import Space
    from mefit.objectives.evaluation import batches_of, evaluate

    real, model = mf.datasets.theophylline(), namespace["start_model"]()
    rows = []
    for size in sizes:
        population = mf.simulate(model, real[np.arange(size) % len(real)], jax.random.key(size))
        for name in ("FOCE", "Laplace", "AGQ, 5^3 nodes"):
            method = mf.AGQ(5) if name.startswith("AGQ") else eval(METHODS[name], namespace)
            if name.startswith("AGQ") and size > 12_000:
                continue
            batches, x = batches_of(method, model, population, None), Space(model).vector()

            def evaluation(method=method, batches=batches, x=x):
                jax.block_until_ready(evaluate(method, Space(model), x, batches))

            seconds = median_time(evaluation, 15 if size < 10_000 else 3)
            begin = time.perf_counter()
            fit = mf.fit(model, population, method, progress=False)
            whole = time.perf_counter() - begin
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            rows.append(
                [
                    f"{size:,}",
                    name,
                    f"{1e6 * seconds / size:.1f}",
                    f"{whole:.2f}",
                    str(fit.evaluations),
                    "yes" if fit.converged else "no",
                    f"{memory:.1f}",
                ]
            )
    table(
        "Growing populations, warm",
        [
            "subjects",
            "method",
            "microseconds a subject and evaluation",
            "fit, s",
            "evaluations",
            "converged",
            "peak memory so far, GiB",
        ],
        rows,
    )


def networks(repeats: int) -> None:
    """Lessons 08 and 09 from a new process to the result; then a step of training as the network grows."""
    rows = []
    for name, case, method, runs in (
        ("MeNet, 100 subjects, 1,000 steps", MENET, "saturation.ADAM", repeats),
        ("Deep NLME, 10 subjects, 200 steps", DEEP, "mf.Adam(mf.FOCE(newton=study.SEARCH), steps=200)", 1),
    ):
        rows.append([name, *in_new_processes(COLD.format(**case, method=method), runs)])
    head = ["training", "import", "compile, once", "run", "total"]
    table(f"Networks: wall seconds (CPU seconds), median of {repeats}, one of Deep NLME", head, rows)
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist

    import mefit as mf
    from mefit.base.compiling import compiled
    from mefit.model.densities import log_joint
    from workshop.studies import saturation

    def wide(effects: int):
        class Wide(saturation.MeNet):
            def random_effects(self):
                return dist.Normal(jnp.zeros(effects), 1.0)

            def observations(self, eta, subject):
                return dist.Normal(self.net.along(subject.time, eta), self.sigma)

        return Wide

    @compiled
    def everyone(model, eta, subjects):
        return jnp.sum(jax.vmap(lambda eta, subject: log_joint(model, eta, subject))(eta, subjects))

    people = saturation.simulate(100, seed=1)

    def row(effects: int, width: int) -> list[str]:
        net = mf.networks.MLP(1 + effects, (width, width), spread=(0.3,) + (3.0,) * effects, last=1.0)
        model, method = wide(effects)(net=net, sigma=0.2, dials=jnp.ones(2)), mf.Adam(mf.FOCE(), steps=60, block=10)
        steps = mf.iterate(model, people, method, fixed="dials")
        begin = time.perf_counter()
        next(steps), next(steps)
        first = time.perf_counter() - begin
        step = 100 * median_time(lambda: next(steps), 3)
        eta = 0.1 * jax.random.normal(jax.random.key(0), (100, effects))
        look = 1e3 * median_time(lambda: everyone(model, eta, people.subjects).block_until_ready(), 20)
        return [str(effects), f"{net.size:,}", f"{first:.1f}", f"{step:.1f}", f"{look:.2f}", f"{step / look:.0f}"]

    rows = [row(effects, width) for effects, widest in ((2, 120), (16, 114)) for width in (6, 30, widest)]
    head = ["random effects", "weights", "first ten steps, with compiling, s"]
    head += ["a step, ms", "the density of everyone, ms", "step / density"]
    table("A step of Adam on FOCE, 100 subjects of 21 rows", head, rows)


def widgets(repeats: int) -> None:
    """CPU time from a moved control to what is sent to the browser. What is fitted once is in the first."""
    namespace: dict = {}
    exec("import mefit as mf, jax, jax.numpy as jnp, numpyro.distributions as dist\n" + MODEL, namespace)
    mf = namespace["mf"]
    sys.path[:0] = ["tests", "tests/workshop"]
    import numpy as np
    import test_explorers_09 as nine

    from workshop import explorers as kit
    from workshop.explorers.controls import Slider
    from workshop.studies import saturation

    fit = mf.fit(namespace["start_model"](), mf.datasets.theophylline(), mf.Laplace(), progress=False)
    people = saturation.simulate(100, seed=1)
    menet = mf.fit(saturation.start(), people, mf.Adam(mf.FOCE(), steps=50), fixed="dials", progress=False)
    points, curves = [0.1, 1.0, 3.0], np.ones((3, 100))
    explorers = {
        "welcome (lesson 00)": kit.welcome,
        "pooling (01), its fit at hand": lambda: kit.pooling(fit),
        "three_patients (02)": kit.three_patients,
        "eight_schools (02)": kit.eight_schools,
        "sparse_theophylline (02)": kit.sparse_theophylline,
        "one_subject (03)": kit.one_subject,
        "sparse_binary (03)": kit.sparse_binary,
        "draws_needed (03)": kit.draws_needed,
        "em_by_hand (04)": kit.em_by_hand,
        "saem_step_by_step (04)": lambda: kit.saem_step_by_step(fit),
        "shrinkage (05)": kit.shrinkage,
        "sampling_times (05)": kit.sampling_times,
        "vpc_by_hand (05)": kit.vpc_by_hand,
        "regimen_builder (06)": kit.regimen_builder,
        "which_part_tells (06)": kit.which_part_tells,
        "what_can_be_known (06)": kit.what_can_be_known,
        "prior_of_curves (07)": kit.prior_of_curves,
        "ladder (07)": lambda: kit.ladder(points, range(100), curves, {"one": curves + 0.1}, 1.0),
        "latent_pad (08)": lambda: kit.latent_pad(menet),
        "generative (08)": lambda: kit.generative(menet, people),
        "prior_to_posterior (08)": lambda: kit.prior_to_posterior(menet, people),
        "inside_the_ode (09)": lambda: kit.inside_the_ode(nine.MODEL),
        "virtual_trial (09)": lambda: kit.virtual_trial(nine.study.true_mechanism(), nine.EFFECTS),
    }
    rows = []
    for name, make in explorers.items():
        begin = time.process_time()
        explorer = make()
        first = time.process_time() - begin
        control, slider = next((key, one) for key, one in explorer.controls.items() if isinstance(one, Slider))
        times = []
        for i in range(repeats):  # up and down the whole slider, never twice at the same place
            share = (i * 7 % repeats + 0.5) / repeats
            begin = time.process_time()
            explorer.set(**{control: slider.at(round(share * slider.index(slider.high)))})
            times.append(time.process_time() - begin)
        rows.append([name, f"{first:.1f}", f"{1e3 * statistics.median(times):.1f}", f"{1e3 * max(times):.1f}"])
    table(
        f"Explorers, up to what is sent to the browser: first picture, then {repeats} moves of the first slider",
        ["explorer", "first picture, CPU s", "median, CPU ms", "slowest, CPU ms"],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="runs behind each median (default 5)")
    parser.add_argument("--large", action="store_true", help="add 100,000 subjects (minutes, several GiB)")
    parser.add_argument(
        "--only",
        choices=("cold", "lessons", "warm", "saem", "scaling", "widgets", "ode", "networks"),
        help="one table",
    )
    options = parser.parse_args()
    sizes = [12, 120, 1200, 12_000] + ([100_000] if options.large else [])
    import os

    import jax

    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"Python {platform.python_version()}, JAX {jax.__version__}, {os.cpu_count()} cores{load}, "
        f"{platform.system()} {platform.machine()}"
    )
    parts = {
        "cold": lambda: cold(options.repeats),
        "lessons": lambda: waiting.tables(options.repeats),
        "warm": lambda: warm(3 * options.repeats),
        "saem": lambda: saem(3 * options.repeats),
        "scaling": lambda: scaling(sizes),
        "widgets": lambda: widgets(10 * options.repeats),
        "ode": lambda: ode(options.repeats),
        "networks": lambda: networks(options.repeats),
    }
    for name, part in parts.items():
        if options.only in (None, name):
            part()


if __name__ == "__main__":
    main()
