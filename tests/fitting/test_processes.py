"""Several processes fit together: the same numbers, and none of them waits for one that is gone."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import Line

import mefit as mf
from mefit.base import processes
from mefit.fitting import fit as door
from mefit.fitting import meeting
from mefit.methods.method import Problem
from mefit.model.space import Space

HOME = Path(__file__).resolve().parents[2]
SUBJECTS = 70
LIMIT = 900  # seconds, on a busy computer; a process that hangs is ended then

CODE = """
import os, signal, sys
import mefit as mf

process, address, last, folder = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
assert mf.connect(address, processes=2, process=process, patience=600) == 2
from test_processes import MODEL, SUBJECTS, part
from mefit.fitting import checkpoint
from mefit.methods.maximise import Maximise
from mefit.model.space import Space

checkpoint.EVERY = 0.0
step = Maximise.step


def one(self, problem, state):
    print("step", state.iteration, flush=True)
    if process == 1 and state.iteration == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, problem, state)


Maximise.step = one
half = SUBJECTS // 2
population = mf.distribute(part(process * half, (process + 1) * half))
# Only the first process has the folder.
folder = folder if process == 0 else folder + "-of-nobody"
fit = mf.fit(MODEL, population, mf.FOCE(), progress=False, devices="all", checkpoint=folder)
print("end", fit.log_likelihood.hex(), *[number.hex() for number in Space(fit.model).vector().tolist()])
print("effects", *[number.hex() for number in fit.eta.ravel().tolist()])
if process == 0:
    print(fit.covariance[0, 0])  # is computed by this process alone
"""

MODEL = Line(beta=jnp.array([245.0, 9.0]), omega=jnp.array([[400.0, 20.0], [20.0, 30.0]]), sigma=14.0)


def part(first, last):
    """Subjects of a simulated population, with 3 to 6 rows each."""
    rng = np.random.default_rng(1)
    subjects = []
    for i in range(SUBJECTS):
        time = np.arange(3.0 + i % 4)
        y = 250 + 20 * rng.normal() + (10 + 5 * rng.normal()) * time + 15 * rng.normal(size=time.size)
        subjects.append(mf.Subject(time=time, y=y, mask=np.ones(time.size, bool)))
    return mf.Population.from_subjects(subjects[first:last], ids=range(first, last))


def two_processes(last, folder):
    """Both run the code side by side; what each returned and said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    paths = (str(HOME), str(HOME / "tests"), str(HOME / "tests/fitting"), os.environ.get("PYTHONPATH"))
    alone = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(process), address, str(last), str(folder)],
            env=os.environ | alone,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    try:
        return [(*one.communicate(timeout=LIMIT), one.returncode) for one in running]
    finally:
        for one in running:
            one.kill()


def words(out, name):
    """The numbers of the line that begins with this name."""
    line = next(line for line in out.splitlines() if line.startswith(name + " "))
    return [float.fromhex(word) for word in line.split()[1:]]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_one_is_killed_the_other_says_so_and_the_state_goes_on_to_the_digits_of_one_process(tmp_path):
    folder = tmp_path / "state"
    (said, complaint, code), (_, _, killed) = two_processes(3, folder)
    assert killed == -signal.SIGKILL and code not in (0, -signal.SIGKILL)
    assert "process 0 of 2 stops, for another one is gone" in complaint, complaint
    assert "step 3" in said and "end" not in said
    assert [path.name for path in folder.iterdir()] == ["state.mefit"]
    again = two_processes(-1, folder)
    for out, err, code in again:
        assert code == 0, err
        assert "step 2" not in out and "step 3" in out
    assert list(folder.iterdir()) == []
    whole = mf.fit(MODEL, part(0, SUBJECTS), mf.FOCE(), progress=False)
    for out, _, _ in again:
        found = words(out, "end")
        assert found[0] == pytest.approx(whole.log_likelihood, rel=1e-10)
        np.testing.assert_allclose(found[1:], Space(whole.model).vector(), rtol=1e-10)
        np.testing.assert_allclose(words(out, "effects"), whole.eta.ravel(), rtol=1e-8, atol=1e-8)


def test_what_runs_in_one_process_is_a_sentence(monkeypatch, line_model, linear_population):
    monkeypatch.setattr(door, "are_several", lambda: True)
    with pytest.raises(ValueError, match="SAEM runs in one process: leave devices='all' out, or take FO, FOCE"):
        mf.fit(line_model, linear_population, mf.SAEM(), key=jax.random.key(0), progress=False, devices="all")
    with pytest.raises(ValueError, match="devices is a number, or \"all\" for those of all processes, and is 'both'"):
        mf.fit(line_model, linear_population, mf.FO(), progress=False, devices="both")


def test_processes_that_would_fit_different_things_do_not_begin(monkeypatch, line_model, linear_population):
    problem = Problem(line_model, linear_population, None, ())
    method = door.as_method(mf.FO(), linear_population)
    monkeypatch.setattr(processes, "gathered", lambda content: [content, b"another"])
    with pytest.raises(ValueError, match="process 1 has another model, population, method or key than process 0"):
        meeting.meet(problem, method)
    monkeypatch.setattr(processes, "gathered", lambda content: [content, content])
    meeting.meet(problem, method)


def test_one_process_has_all_devices_and_all_subjects(line_model, linear_population):
    assert mf.distribute(linear_population) is linear_population
    alone = mf.fit(line_model, linear_population, mf.FO(), progress=False, devices=1)
    every = mf.fit(line_model, linear_population, mf.FO(), progress=False, devices="all")
    np.testing.assert_allclose(Space(every.model).vector(), Space(alone.model).vector(), rtol=1e-10)


def test_what_connect_needs_is_a_sentence():
    with pytest.raises(ValueError, match="connect needs address, processes and process, or none of them"):
        mf.connect("127.0.0.1:1234")
