"""The line of progress: seldom redrawn in a notebook, and gone at the end, however that came."""

import subprocess
import sys
from pathlib import Path

import pytest
from tqdm.std import tqdm

from mefit.base import progress
from mefit.base.stopping import Bar, bars

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).resolve().parents[2]
CELLS = {
    "imports": f"""\
import signal, sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
import mefit as mf
from IPython.display import DisplayHandle
from mefit.base.progress import progress_line
from models import theophylline_model
seen = []
update = DisplayHandle.update
DisplayHandle.update = lambda self, data, **options: (seen.append(data), update(self, data, **options))""",
    "runs": """\
with progress_line("drawing", 2000) as line:
    for _ in range(2000):
        time.sleep(0.0005)
        line.update()
taken = time.monotonic() - line._begun
*drawn, last = seen
assert 2 <= len(drawn) <= 8 * taken + 1, len(drawn)
assert "left" in drawn[-1]["text/plain"] and "<progress" in drawn[-1]["text/html"]
assert last == {"text/html": "", "text/plain": ""}
print(41 + 1)""",
    "fails": """\
with progress_line("failing") as line:
    line.update()
    1 / 0""",
    "is interrupted": """\
with progress_line("waiting", 10) as line:
    line.update()
    signal.raise_signal(signal.SIGINT)""",
    "fits": """\
people = mf.datasets.theophylline()
mf.fit(theophylline_model(), people, mf.FO()).converged""",
    "is over at once": """\
with progress_line("short", 3, delay=1.0) as line:
    line.update(3)""",
}


@pytest.fixture(scope="module")
def outputs():
    """The outputs of each cell after a run in a kernel, as they would be saved."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in CELLS.values()])
    client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", allow_errors=True)
    client.execute()
    return dict(zip(CELLS, (cell.outputs for cell in notebook.cells), strict=True))


def remains(outputs):
    """What a page would still show, without errors."""
    data = [output.get("data", {"text": output.get("text")}) for output in outputs if output.output_type != "error"]
    return [{kind: text for kind, text in one.items() if text} for one in data]


@pytest.mark.slow
def test_nothing_is_left_after_a_run(outputs):
    line, printed = remains(outputs["runs"])
    assert line == {}
    assert printed == {"text": "42\n"}


@pytest.mark.parametrize(("cell", "error"), [("fails", "ZeroDivisionError"), ("is interrupted", "KeyboardInterrupt")])
def test_nothing_is_left_after(cell, error, outputs):
    assert remains(outputs[cell]) == [{}]
    assert [output.ename for output in outputs[cell] if output.output_type == "error"] == [error]


def test_nothing_is_left_after_a_fit(outputs):
    line, value = remains(outputs["fits"])
    assert line == {}
    assert value == {"text/plain": "True"}


def test_what_is_over_at_once_shows_nothing(outputs):
    assert outputs["is over at once"] == []


def test_no_output_is_a_widget(outputs):
    kinds = {kind for cell in outputs.values() for output in cell for kind in output.get("data", {})}
    assert kinds == {"text/html", "text/plain"}


def test_a_line_tells_the_time_that_is_left(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    line = progress.Line("fit", 101, delay=1e9)
    assert "left" not in line._data(clock[0])["text/plain"]
    clock[0] += 60.0  # of compiling, which tells nothing of the pace
    line.update()
    clock[0] += 10.0
    line.update(20)
    line.set_postfix_str("-2LL = 1 & <2>")
    data = line._data(clock[0])
    assert data["text/plain"] == "fit: -2LL = 1 & <2>, 21 of 101, 70 s, about 40 s left"
    assert "&amp; &lt;2&gt;" in data["text/html"]
    assert 'max="101" value="21"' in data["text/html"]


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (119, "119 s"), (300, "5 min"), (9000, "2.5 h")])
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def test_elsewhere_it_is_the_line_of_tqdm(capsys):
    with progress.progress_line("counting", 3) as line:
        assert isinstance(line, tqdm)
        line.update(3)
    assert "counting" in capsys.readouterr().err
    with progress.progress_line("counting", 3, shown=False) as line:
        line.update(3)
    assert capsys.readouterr().err == ""


def test_who_is_asked_for_silence_asks_it_of_all_that_is_called(capsys):
    def called():
        with Bar("inner", total=2) as bar:
            bar.update(2)

    with bars(False), Bar("outer"):
        with bars(True):  # silence is not broken from within
            called()
    assert capsys.readouterr().err == ""
    with bars(True), Bar("outer"):
        called()
    assert "inner" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError), bars(False):
        1 / 0  # noqa: B018
    called()
    assert "inner" in capsys.readouterr().err


def test_the_library_brings_no_notebook_along():
    code = "import mefit, sys; print(sorted({'IPython', 'ipywidgets', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
