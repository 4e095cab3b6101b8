"""What `import mefit` loads, and what it leaves until it is used."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import mefit as mf

HOME = Path(__file__).resolve().parents[2]
# Seconds of the processor to load, of which each learner would wait for the sum.
SLOW = ("pandas", "scipy", "numpyro", "equinox", "optax", "diffrax", "optimistix", "matplotlib", "IPython", "tqdm")
CODE = """
import json, sys
import mefit as mf
loaded = [sorted(sys.modules)]
assert not hasattr(mf, "no_such_name")
mf.Model, mf.positive, mf.Laplace, mf.fit
mf.datasets.theophylline()
loaded.append(sorted(sys.modules))
print(json.dumps(loaded))
"""


def test_what_is_slow_to_load_is_loaded_when_it_is_used():
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "MEFIT_COMPILED": ""}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    bare, ready = (set(names) for names in json.loads(done.stdout))
    assert not bare & set(SLOW)
    own = sorted(name for name in bare if name.startswith("mefit"))
    assert own == ["mefit", "mefit.base", "mefit.base.devices", "mefit.base.xla"]
    assert {"pandas", "numpyro", "equinox"} <= ready  # the referee does see what is used
    assert not ready & {"scipy.stats", "scipy.interpolate", "optax", "diffrax", "optimistix", "matplotlib"}


def test_editors_and_python_are_told_the_same_names():
    """The imports that type checkers read are those of the two tables that are used."""
    tree = ast.parse((HOME / "mefit" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "_TYPE_CHECKING"]
    told = {}
    for node in block.body:
        for alias in node.names:
            module = ".".join(filter(None, (node.module, alias.name)))
            is_module = (HOME / "mefit" / module.replace(".", "/")).with_suffix(
                ".py"
            ).exists() or alias.name == "datasets"
            told[alias.name] = module if is_module else node.module
    assert told == {name: module for name, module in mf._FROM.items() if name not in ("plots", "style", "report")}
    assert mf.__all__ == sorted(told) and set(dir(mf)) >= set(told) | {"plots", "style", "report"}


def test_every_name_is_there():
    for name in mf.__all__:
        found = getattr(mf, name)
        assert getattr(found, "__name__", name).split(".")[-1] == name


NO_PICTURES = """
import sys
sys.modules["matplotlib"] = None  # what Python does with a package that is not there
import mefit as mf
for ask in (lambda: mf.plots, lambda: mf.style, lambda: mf.report, lambda: __import__("mefit.plots")):
    try:
        ask()
    except ModuleNotFoundError as error:
        print(error)
"""


def test_without_matplotlib_one_sentence_says_what_to_do():
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "MEFIT_COMPILED": ""}
    done = subprocess.run([sys.executable, "-c", NO_PICTURES], env=environment, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert said == ["Pictures and mf.report need matplotlib, which is not installed: pip install matplotlib."] * 4
