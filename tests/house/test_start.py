"""start.py: every way in which a setup can go wrong ends in one sentence, and a finished setup is not done twice."""

import ast
import errno
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "start.py"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A fresh start.py that believes to lie in an empty copy of the repository, on a computer without uv."""
    spec = importlib.util.spec_from_file_location("start_under_test", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("requirements.lock", "pyproject.toml", ".jupyter/overrides.json", ".jupyter/jupyter_config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    module.ROOT = str(tmp_path)
    module.VENV = str(tmp_path / ".venv")
    module.STAMP = str(tmp_path / ".venv" / "mefit-stamp.json")
    module.LOCK = str(tmp_path / "requirements.lock")
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e12))
    return module


@pytest.fixture
def recorded(start, monkeypatch):
    """The commands that a setup would run; creating .venv only makes the folder."""
    commands = []

    def run(command):
        commands.append(command)
        if "venv" in command:
            os.makedirs(start.VENV)

    monkeypatch.setattr(start, "run", run)
    monkeypatch.setattr(start, "works", lambda command, version: os.path.isdir(start.VENV))
    return commands


def sentence(start, capsys, *arguments):
    """What is told on stderr; there must be exactly one line of it, and exit code 1."""
    assert start.guarded_main(list(arguments)) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].endswith("."), lines
    return lines[0]


def test_old_python_can_read_it():
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 6))
    with pytest.raises(SyntaxError):
        ast.parse("(a := 1)", feature_version=(3, 6))  # the referee does notice newer syntax
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "__future__" not in imported  # 3.6 knows no annotations there
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize("version", ["3.8", "3.10"])
def test_a_python_that_is_too_old(start, capsys, monkeypatch, version):
    monkeypatch.setattr(start, "THIS", version)
    assert "install Python 3.14" in sentence(start, capsys, "setup")
    monkeypatch.setattr(start.shutil, "which", lambda name: "/bin/uv" if name == "uv" else None)
    assert "uv run --no-project --python 3.14 start.py" in sentence(start, capsys, "setup")
    monkeypatch.setattr(start.shutil, "which", lambda name: "/bin/" + name)
    monkeypatch.setattr(start, "works", lambda command, version: version == "3.12")
    told = sentence(start, capsys)
    assert version in told
    assert "type  py -3.12 start.py" in told if os.name == "nt" else "type  python3.12 start.py" in told


@pytest.mark.parametrize("version", ["3.16", "3.100", "4.0"])
def test_a_newer_python_is_tried_with_the_newest_packages(start, recorded, capsys, monkeypatch, version):
    monkeypatch.setattr(start, "THIS", version)
    assert start.guarded_main(["setup"]) == 0
    told = capsys.readouterr().out
    assert f"Python {version} is newer than those this kit knows (3.11 to 3.15)" in told
    make, newest, load, answers = recorded
    assert "--require-hashes" not in newest and newest[-2:] == ["-e", ".[workshop,tests]"]
    assert newest[newest.index("--only-binary") + 1] == ":all:"  # no hours of building
    assert "import jax, mefit" in load[-1] and answers[-1] == "mefit.base.known_answers"
    assert start.state_of_environment() == "ready"
    assert start.guarded_main(["setup"]) == 0
    assert "newer" not in capsys.readouterr().out  # said once, not at every start


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14", "3.15"])
def test_a_python_of_the_lock_is_told_nothing(start, recorded, capsys, monkeypatch, version):
    monkeypatch.setattr(start, "THIS", version)
    assert start.guarded_main(["setup"]) == 0
    assert "newer than" not in capsys.readouterr().out
    assert any("--require-hashes" in command for command in recorded)


@pytest.mark.parametrize("step", ["-e", "-c"])
@pytest.mark.parametrize(
    "output",
    [
        "ERROR: No matching distribution found for jaxlib==0.12.0.1",
        "error: Because jaxlib==0.12.0.1 has no wheels with a matching Python ABI tag (e.g., `cp316`)",
        "ImportError: undefined symbol: _PyGone",
    ],
)
def test_a_newer_python_for_which_packages_fail(start, recorded, capsys, monkeypatch, step, output):
    run = start.run

    def fails(command):
        if step in command:
            raise start.explain(output)
        run(command)

    monkeypatch.setattr(start, "THIS", "3.16")
    monkeypatch.setattr(start, "run", fails)
    assert "do not work with Python 3.16 yet: install Python 3.14" in sentence(start, capsys, "setup")
    monkeypatch.setattr(start, "THIS", "3.14")
    assert "yet" not in sentence(start, capsys, "setup")


def test_a_newer_python_is_not_blamed_for_the_network(start, recorded, capsys, monkeypatch):
    def offline(command):
        raise start.explain("Temporary failure in name resolution")

    monkeypatch.setattr(start, "THIS", "3.16")
    monkeypatch.setattr(start, "run", offline)
    assert "connect" in sentence(start, capsys, "setup")


def test_works_asks_the_python_itself(start):
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert start.works([sys.executable], here)
    assert not start.works([sys.executable], "3.6")
    assert not start.works([sys.executable, "-c", "raise SystemExit(127)"], here)
    assert not start.works(["no-such-python"], here)


@pytest.mark.parametrize("absent", ["venv", "ensurepip"])
def test_debian_without_its_venv_package(start, recorded, capsys, monkeypatch, absent):
    find = importlib.util.find_spec
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None if name == absent else find(name))
    told = sentence(start, capsys, "setup")
    assert absent in told and f"sudo apt install python{start.THIS}-venv" in told
    assert recorded == []


# Lines as pip, uv and venv print them.
FAILURES = {
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device": "disk is full",
    "cause: failed to copy file from a to b: No space left on device (os error 28)": "disk is full",
    "failed to establish: There is not enough space on the disk. (os error 112)": "disk is full",
    "NewConnectionError('Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')\n"
    "ERROR: No matching distribution found for anyio==4.9.0": "connect",
    "error: Failed to fetch\n  Caused by: dns error\n  Caused by: failed to lookup address information": "connect",
    "pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.": "connect",
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate": "certificate",
    "error: client error (Connect): invalid peer certificate: UnknownIssuer": "certificate",
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.": "damaged",
    "error: Hash mismatch for `jax==0.10.2`": "damaged",
    "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/srv/.venv'": "written",
    "PermissionError: [WinError 32] The process cannot access the file": "written",
    "HINT: This error might have occurred since this system does not have Windows Long Path support enabled.": "short",
    "ERROR: No matching distribution found for jaxlib==0.10.2": "not made for this computer",
    "hint: Wheels are available for `jaxlib` (v0.10.2) on the following platforms": "not made for this computer",
    "cause: Because jaxlib==0.12.0.1 has no wheels with a matching Python ABI tag": "not made for this computer",
    "cause: Because cffi==2.1.1 has no usable wheels and you require cffi==2.1.1": "not made for this computer",
}


@pytest.mark.parametrize(("output", "words"), FAILURES.items())
def test_known_failures_of_the_installers(start, output, words):
    problem = start.explain("some earlier line\n" + output + "\nsome later line")
    assert words in str(problem) and not isinstance(problem, start.Unexplained)
    assert "\n" not in str(problem)


def test_a_step_that_fails_is_explained_and_logged(start):
    os.makedirs(start.VENV)
    fails = [
        sys.executable,
        "-c",
        "print('first'); print('error: the sky fell'); print('hint: look up'); raise SystemExit(3)",
    ]
    with pytest.raises(start.Unexplained, match="the sky fell"):
        start.run(fails)
    assert "first" in Path(start.VENV, "setup.log").read_text(encoding="utf-8")
    start.run([sys.executable, "-c", "pass"])


def test_no_network_and_full_disk_reach_the_learner(start, recorded, capsys, monkeypatch):
    monkeypatch.setattr(start.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e8))
    assert "disk is full" in sentence(start, capsys, "setup") and recorded == []
    monkeypatch.setattr(start.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e12))

    def offline(command):
        raise start.explain("Temporary failure in name resolution")

    monkeypatch.setattr(start, "run", offline)
    assert "connect" in sentence(start, capsys, "test")

    def disk_fills(command):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(start, "run", disk_fills)
    assert "disk is full" in sentence(start, capsys, "setup")
    monkeypatch.setattr(start, "run", lambda command: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    assert "Input/output error" in sentence(start, capsys, "setup")


def test_setup_with_pip(start, recorded, capsys):
    assert start.guarded_main(["setup"]) == 0
    make, lock, project, load, answers = recorded
    assert make == [start.base_python(), "-m", "venv", start.VENV]
    assert lock == [start.python(), "-m", "pip", "install", "--require-hashes", "-r", start.LOCK]
    assert project[-3:] == ["--no-build-isolation", "-e", start.ROOT] and "--no-deps" in project
    assert "import jax, mefit" in load[-1]
    assert answers == [start.python(), "-m", "mefit.base.known_answers"]
    assert start.guarded_main(["setup"]) == 0 and len(recorded) == 5  # nothing more to do


def test_wrong_known_answers_are_told_and_stop_nothing(start, recorded, capsys, monkeypatch):
    run = start.run

    def wrong(command):
        run(command)
        if "mefit.base.known_answers" in command:
            raise start.explain("JAX 1.2.3 computes wrongly")

    monkeypatch.setattr(start, "run", wrong)
    assert start.guarded_main(["setup"]) == 0
    assert "JAX computes something wrongly on this computer: .venv/setup.log says" in capsys.readouterr().out
    assert start.state_of_environment() == "ready"


def test_setup_with_uv(start, recorded, monkeypatch):
    monkeypatch.setattr(start.shutil, "which", lambda name: "/bin/uv" if name == "uv" else None)
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None)  # uv needs no ensurepip
    assert start.guarded_main(["setup"]) == 0
    assert [command[0] for command in recorded[:3]] == ["/bin/uv"] * 3


def test_pip_takes_over_when_uv_fails_for_no_known_reason(start, recorded, monkeypatch):
    monkeypatch.setattr(start.shutil, "which", lambda name: "/bin/uv" if name == "uv" else None)
    run = start.run

    def only_pip(command):
        if command[0] == "/bin/uv":
            raise start.explain("error: unexpected argument '--seed' found")
        run(command)

    monkeypatch.setattr(start, "run", only_pip)
    assert start.guarded_main(["setup"]) == 0
    assert [command[0] for command in recorded] == [start.base_python()] + [start.python()] * 4


def test_an_interrupted_setup_is_begun_anew(start, recorded, capsys, monkeypatch):
    run = start.run

    def interrupted(command):
        if "-r" in command:
            raise KeyboardInterrupt
        run(command)

    monkeypatch.setattr(start, "run", interrupted)
    assert "again" in sentence(start, capsys, "setup")
    leftover = Path(start.VENV, "leftover")
    leftover.touch()
    assert start.state_of_environment() == "unusable"
    monkeypatch.setattr(start, "run", run)
    assert start.guarded_main(["setup"]) == 0
    assert start.state_of_environment() == "ready" and not leftover.exists()


def test_what_is_in_the_way_is_not_removed(start, recorded, capsys):
    Path(start.VENV).write_text("mine")
    assert "remove it" in sentence(start, capsys, "setup") and Path(start.VENV).read_text() == "mine"


def test_stamp(start, recorded, monkeypatch):
    assert start.state_of_environment() == "unusable"
    start.setup()
    assert start.state_of_environment() == "ready"
    stamp = json.loads(Path(start.STAMP).read_text())
    for text in ("", "[]", "3", json.dumps({**stamp, "python": "3.11.0rc1"}), json.dumps({**stamp, "root": "/moved"})):
        Path(start.STAMP).write_text(text)
        assert start.state_of_environment() == "unusable", text
    Path(start.STAMP).write_text(json.dumps(stamp))
    with monkeypatch.context() as context:
        context.setattr(start, "works", lambda command, version: False)  # such as a Python that was upgraded away
        assert start.state_of_environment() == "unusable"
    lock = Path(start.LOCK)
    lock.write_bytes(lock.read_bytes().replace(b"\n", b"\r\n"))  # a checkout on Windows is the same lock
    assert start.state_of_environment() == "ready"
    lock.write_text(lock.read_text(encoding="utf-8") + "# newer\n", encoding="utf-8")
    assert start.state_of_environment() == "outdated"
    recorded.clear()
    start.setup()
    assert not any("venv" in command for command in recorded)  # filled anew, not made anew
    assert start.state_of_environment() == "ready"


def test_tests_and_notebooks_run_together(start, monkeypatch):
    monkeypatch.setattr(start.os, "cpu_count", lambda: 2)
    folders = ["tests", "workshop", "solutions"]
    for name in folders:
        os.makedirs(os.path.join(start.ROOT, name))
    assert start.test_command(["-x"])[-7:] == ["--dist", "loadfile", "--no-loadscope-reorder", "-x", *folders]
    assert {"--nbval-lax", "-n", "--durations=20"} <= set(start.test_command([]))
    assert start.test_command(["tests::test_a", "-k", "word"])[-3:] == ["tests::test_a", "-k", "word"]
    for own in ("-n0", "--pdb", "-s"):
        assert "--dist" not in start.test_command([own])
    monkeypatch.setattr(start.os, "cpu_count", lambda: 1)
    assert "-n" not in start.test_command([])


@pytest.mark.parametrize(("command", "tool"), [("exercises", "make_exercises.py"), ("tidy", "tidy_notebooks.py")])
def test_tools_run_in_the_environment_of_the_kit(command, tool, start, recorded, monkeypatch):
    seen = []
    monkeypatch.setattr(start, "in_foreground", lambda command, env: seen.append(command) or 0)
    assert start.guarded_main([command, "--check"]) == 0
    assert seen == [[start.python(), os.path.join(start.ROOT, "tools", tool), "--check"]]


def environment_of_tests(start, monkeypatch):
    environments = []
    monkeypatch.setattr(start, "in_foreground", lambda command, env: environments.append(env) or 0)
    assert start.guarded_main(["test"]) == 0
    return environments[0]


def test_what_the_tests_answer_is_nobody_s_progress(start, recorded, monkeypatch):
    assert environment_of_tests(start, monkeypatch)["MEFIT_PROGRESS"] == ""


def test_tests_share_what_is_compiled_in_venv_or_where_the_user_says(start, recorded, monkeypatch):
    monkeypatch.delenv("MEFIT_COMPILED", raising=False)
    assert environment_of_tests(start, monkeypatch)["MEFIT_COMPILED"] == os.path.join(start.VENV, "compiled")
    monkeypatch.setenv("MEFIT_COMPILED", "elsewhere")
    assert environment_of_tests(start, monkeypatch)["MEFIT_COMPILED"] == "elsewhere"


def test_the_workshop_s_kernels_keep_what_they_compile(start, monkeypatch):
    monkeypatch.delenv("MEFIT_COMPILED", raising=False)
    monkeypatch.delenv("MEFIT_PROGRESS", raising=False)
    seen = []
    monkeypatch.setattr(start, "in_foreground", lambda command, env, announce: seen.append(env) or 0)
    start.open_lab(8888, browser=False)
    assert seen[0]["MEFIT_COMPILED"] == os.path.join(start.VENV, "compiled")
    assert "MEFIT_PROGRESS" not in seen[0]  # that is of the tests alone
    monkeypatch.setattr(start, "can_write", lambda folder: False)
    start.open_lab(8888, browser=False)
    assert "MEFIT_COMPILED" not in seen[1]  # a kit that is read-only works all the same
    programs = Path(start.compiled_folder(), "of this JAX")
    programs.mkdir(parents=True)
    (programs / "one-cache").touch()
    start.open_lab(8888, browser=False)
    assert seen[2]["MEFIT_COMPILED"] == start.compiled_folder()  # it takes what its teacher has kept


def test_a_folder_that_cannot_be_written_is_noticed(start, tmp_path):
    (tmp_path / "file").touch()
    assert start.can_write(str(tmp_path / "new")) and not start.can_write(str(tmp_path / "file"))
    assert list((tmp_path / "new").iterdir()) == []


def test_warm_runs_the_lessons_in_the_tests_surroundings_and_clear_forgets(start, recorded, capsys, monkeypatch):
    monkeypatch.delenv("MEFIT_COMPILED", raising=False)
    seen = []
    monkeypatch.setattr(start, "in_foreground", lambda command, env: seen.append((command, env)) or 0)
    assert start.guarded_main(["warm", "01", "02"]) == 0
    ((command, env),) = seen
    assert command == [start.python(), os.path.join(start.ROOT, "tools", "warm.py"), "01", "02"]
    assert env["MEFIT_COMPILED"] == start.compiled_folder() and env["MEFIT_PROGRESS"] == ""
    Path(start.compiled_folder(), "program").write_text("x")
    for _ in range(2):  # there may be nothing to forget
        assert start.guarded_main(["warm", "--clear"]) == 0
        assert not os.path.exists(start.compiled_folder()) and os.path.exists(start.VENV)
    assert len(seen) == 1
    monkeypatch.setenv("MEFIT_COMPILED", "/elsewhere")
    assert "delete that folder yourself" in sentence(start, capsys, "warm", "--clear")


def test_present_makes_a_copy_and_opens_it(start, recorded, capsys, monkeypatch):
    lesson = Path(start.ROOT, start.LESSON)
    lesson.parent.mkdir()
    lesson.touch()
    tools = Path(start.ROOT, "tools")
    tools.mkdir()
    copied = "import sys\nprint('workshop/02_name.ipynb') if sys.argv[1] == '02' else sys.exit('There is no such one.')"
    (tools / "present.py").write_text(copied)
    monkeypatch.setattr(start, "python", lambda: sys.executable)
    seen = []
    monkeypatch.setattr(start, "in_foreground", lambda command, env, announce: seen.append(command) or 0)
    assert start.guarded_main(["present", "02", "--no-browser"]) == 0
    (command,) = seen
    place = os.path.join(start.VENV, "present", "02")
    assert f"--ServerApp.root_dir={place}" in command and "--no-browser" in command
    assert "--LabApp.default_url=/doc/tree/workshop/02_name.ipynb" in command
    assert f"--LabApp.extra_labextensions_path={tools / 'projector'}" in command
    assert sentence(start, capsys, "present", "77") == "There is no such one."
    for arguments in (["present"], ["present", "--no-browser"], ["present", "../02"]):
        assert "start.py present explorers" in sentence(start, capsys, *arguments)
    assert "--help" in sentence(start, capsys, "present", "02", "--prot")


def test_newer_packages_forget_what_was_compiled_by_older_ones(start, recorded, monkeypatch):
    """Programs of another JAX are never used again, and their folder is bounded only by those who write to it."""
    start.setup()
    folder = Path(start.compiled_folder())
    (folder / "of this JAX").mkdir(parents=True)
    start.setup()
    assert folder.exists()
    monkeypatch.setattr(start, "state_of_environment", lambda: "outdated")
    start.setup()
    assert not folder.exists() and os.path.exists(start.VENV)


def test_exit_code_of_the_tests_is_handed_on(start, recorded, monkeypatch):
    monkeypatch.setattr(start, "test_command", lambda arguments: [sys.executable, "-c", "raise SystemExit(5)"])
    monkeypatch.setattr(start.signal, "signal", lambda *_: None)
    assert start.guarded_main(["test"]) == 5


def test_ports(start, recorded, capsys):
    lesson = Path(start.ROOT, start.LESSON)
    assert start.LESSON in sentence(start, capsys)
    lesson.parent.mkdir()
    lesson.touch()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        told = sentence(start, capsys, "--port", str(port))
        assert f"Port {port} is taken" in told and "--port" in told
    assert start.choose_port(port) == port
    assert "Port 70000" in sentence(start, capsys, "--port", "70000")


@pytest.mark.parametrize("arguments", [["serve"], ["--prot", "1"], ["setup", "now"], ["--port"], ["--port", "x"]])
def test_unknown_words(start, capsys, arguments):
    assert "--help" in sentence(start, capsys, *arguments)


def test_jupyterlab_that_dies_is_told(start, capsys, monkeypatch):
    dies = [sys.executable, "-c", "raise SystemExit(1)"]
    popen = subprocess.Popen
    monkeypatch.setattr(start.subprocess, "Popen", lambda command, **options: popen(dies, cwd=options["cwd"]))
    monkeypatch.setattr(start.signal, "signal", lambda *_: None)
    with pytest.raises(start.Stop, match="ended before it answered"):
        start.open_lab(start.choose_port(None), browser=False)


def test_root_may_start_it_and_others_do_not_ask_for_that(start, monkeypatch):
    seen = []
    monkeypatch.setattr(start, "in_foreground", lambda command, env, announce: seen.append((command, env)) or 0)
    for user in (0, 1000):
        monkeypatch.setattr(start.os, "geteuid", lambda user=user: user, raising=False)
        start.open_lab(8888, browser=False)
    assert ["--allow-root" in command for command, _ in seen] == [True, False]
    for command, env in seen:
        assert "--no-browser" in command and len(env["JUPYTER_TOKEN"]) == 32
        assert all(
            env[name].startswith(start.VENV) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
        )


def test_settings_of_other_pythons_stay_outside(start, monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET"):
        monkeypatch.setenv(name, "/elsewhere")
    env = start.surroundings()
    assert not {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET"} & set(env)
    assert env["PATH"].split(os.pathsep)[0] == os.path.dirname(start.python())


def test_a_text_browser_is_not_opened(start, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(start.sys, "platform", "linux")
    assert not start.has_browser()
    monkeypatch.setenv("DISPLAY", ":0")
    assert start.has_browser()
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setattr(start.sys, "platform", "darwin")
    assert start.has_browser()
