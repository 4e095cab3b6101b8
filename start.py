#!/usr/bin/env python3
"""Start the workshop with nothing but Python.

    python3 start.py              set up if needed, then open JupyterLab at the first lesson
    python3 start.py test [...]   set up if needed, then run every test and every notebook (what follows goes to pytest)
    python3 start.py setup        set up only
    python3 start.py present 02   for teachers: a lesson on a projector;  present explorers  shows all explorers
    python3 start.py warm [01 02] for teachers: run all lessons once, or these, so that first fits need not compile;
                                  warm --clear  forgets what was kept
    python3 start.py pack         for teachers: predictions on paper, with answers, and as polls; after  site  also the
                                  lessons' pictures as slides and the exercises with answers; as PDF by Chromium
    python3 start.py overview DIR for teachers: who has done what, from the files that learners hand in
    python3 start.py exercises    for authors: write exercises/ from solutions/
    python3 start.py tidy         for authors: clear notebooks after a run, and make the links between them anew
    python3 start.py site [02]    for authors: run all lessons, or these, and make pages of them in build/site, whose
                                  explorers play in any browser; needs a network the first time

Options of the first form and of present: --port N, --no-browser.

All that is installed goes into the folder .venv beside this file, from requirements.lock; remove that folder and
nothing is left. Only the standard library is used here, and only the syntax of Python 3.6, so that an old Python can
still say what it lacks.
"""

import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "mefit-stamp.json")
LOCK = os.path.join(ROOT, "requirements.lock")
SITE_VENV = os.path.join(VENV, "site")  # what makes pages of the lessons, which learners do not need
SITE_LOCK = os.path.join(ROOT, "requirements-site.lock")
LESSON = "workshop/00_start_here.ipynb"
SUPPORTED = ("3.14", "3.13", "3.12", "3.11", "3.15")  # what the lock serves; best first
THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"
GIGABYTES = 2  # what .venv takes, with room to unpack
NOT_MADE = (
    "A package is not made for this computer: use Linux, Windows or a Mac with Apple silicon, and a 64-bit "
    "Python, or open the workshop in the cloud as the README says."
)
TOOLS = {  # of the folder tools/, by command
    "exercises": "make_exercises.py",
    "tidy": "tidy_notebooks.py",
    "pack": "class_pack.py",
    "overview": "class_overview.py",
}

# What an installer prints when it fails, and what the learner can do about it; the first that fits is told.
CAUSES = {
    r"No space left on device|not enough space on the disk|os error (28|112)\b|Errno 28\b|quota exceeded": (
        f"The disk is full: free {GIGABYTES} GB where this folder lies and in the folder for temporary files."
    ),
    r"DO NOT MATCH THE HASHES|Hash mismatch": (
        "A downloaded file was damaged or changed on its way: try again, or use another network."
    ),
    r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate": (
        "The network's certificate is not trusted here: use another network, or set SSL_CERT_FILE to the file of "
        "certificates that your administrator gives you."
    ),
    r"name resolution|getaddrinfo|Name or service not known|dns error|Failed to establish a new connection|timed out"
    r"|unreachable|NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|error sending request|No route to host"
    r"|Connection (refused|reset|aborted)": (
        "There is no way to the packages on the internet: connect, or set HTTPS_PROXY to your proxy, and try again."
    ),
    r"Long Path support": (
        "Windows refuses such long file names: move this folder to a short path such as C:\\mefit and try again."
    ),
    r"Permission denied|Access is denied|WinError (5|32)\b|Read-only file system": (
        "Files in this folder cannot be written: close every JupyterLab that runs from it, or copy it to a place "
        "of your own, and try again."
    ),
    r"No matching distribution found for|Wheels are (available|required) for|has no (usable )?wheels": NOT_MADE,
}


class Stop(Exception):
    """Ends the program with one sentence that says what to do."""


class Unexplained(Stop):
    """A step of the setup failed in a way that CAUSES does not know."""


def explain(output: str) -> Stop:
    """The sentence for what an installer printed before it failed."""
    for pattern, sentence in CAUSES.items():
        if re.search(pattern, output, re.IGNORECASE):
            return Stop(sentence)
    lines = output.strip().splitlines() or ["no message"]
    last = ([line for line in lines if "error" in line.lower()] or lines)[-1].strip()
    return Unexplained(f"The setup failed with '{last}': see .venv/setup.log, and try again.")


# ------------------------------------------------------------------------------------------------ which Python is this?


def numbers(version: str) -> "tuple[int, ...]":
    """For comparing: '3.9' is older than '3.10'."""
    return tuple(int(number) for number in version.split("."))


OLDEST = min(SUPPORTED, key=numbers)
NEWEST = max(SUPPORTED, key=numbers)


def is_newer() -> bool:
    """Whether this Python came after the lock, which then cannot have its packages."""
    return numbers(THIS) > numbers(NEWEST)


def works(command: "list[str]", version: str) -> bool:
    """Whether a command starts a Python of this version (a version manager's stand-in may exist and yet fail)."""
    probe = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        output = subprocess.check_output(command + ["-c", probe], stderr=subprocess.DEVNULL, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return False
    return output.decode("ascii", "replace").strip() == version


def suitable_command() -> str:
    """What to type instead, if a Python that would do is on this computer; otherwise what to install."""
    for version in SUPPORTED:
        for command in [["py", "-" + version]] if os.name == "nt" else [["python" + version]]:
            if shutil.which(command[0]) and works(command, version):
                return "type  " + " ".join(command + ["start.py"])
    if shutil.which("uv"):
        return f"type  uv run --no-project --python {SUPPORTED[0]} start.py"
    return f"install Python {SUPPORTED[0]} (from python.org or with your system's packages) and run start.py with it"


def check_python() -> None:
    if numbers(THIS) < numbers(OLDEST):
        raise Stop(f"mefit needs Python {OLDEST} or newer, and this is {THIS}: {suitable_command()}.")


# -------------------------------------------------------------------------------------------- the environment in .venv


def python(folder: str = VENV) -> str:
    """The Python of .venv, or of the environment in another folder."""
    return os.path.join(folder, "Scripts", "python.exe") if os.name == "nt" else os.path.join(folder, "bin", "python")


def base_python() -> str:
    """The Python to build .venv with: never .venv's own, which is about to be removed."""
    inside = os.path.realpath(sys.prefix) == os.path.realpath(VENV)
    return getattr(sys, "_base_executable", sys.executable) if inside else sys.executable


def surroundings() -> dict:
    """Environment variables for all that runs in .venv: the user's own settings of Python and Jupyter stay untouched
    and out of the way, so that the lessons look the same everywhere and nothing is written outside of this folder."""
    env = dict(os.environ)
    for name in ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "JUPYTERLAB_DIR", "CONDA_PREFIX"):
        env.pop(name, None)
    jupyter = os.path.join(VENV, "jupyter")
    env.update(
        VIRTUAL_ENV=VENV,
        PATH=os.path.dirname(python()) + os.pathsep + env.get("PATH", ""),
        PYTHONNOUSERSITE="1",
        PIP_USER="0",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        UV_NATIVE_TLS="1",  # trust what the computer trusts, as pip does: schools and firms have their own certificates
        JUPYTER_PREFER_ENV_PATH="1",
        JUPYTER_CONFIG_DIR=os.path.join(jupyter, "config"),
        JUPYTER_DATA_DIR=os.path.join(jupyter, "data"),
        IPYTHONDIR=os.path.join(VENV, "ipython"),  # IPython makes this folder, but not one to hold it
    )
    return env


def wanted_stamp() -> dict:
    """What .venv must have been made from. It holds absolute paths, so a moved folder needs a new one."""
    digest = hashlib.sha256()
    settings = [os.path.join(".jupyter", name) for name in ("overrides.json", "jupyter_config.json")]
    for name in ("requirements.lock", "pyproject.toml", *settings):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read().replace(b"\r\n", b"\n") + b"\0")
    return {"content": digest.hexdigest(), "python": sys.version.split()[0], "root": ROOT}


def state_of_environment() -> str:
    """'ready', 'outdated' (the lock has changed) or 'unusable' (none, half made, moved, or of another Python)."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            stamp = dict(json.load(file))
    except (OSError, ValueError, TypeError):
        return "unusable"
    wanted = wanted_stamp()
    if any(stamp.get(key) != wanted[key] for key in ("python", "root")) or not works([python()], THIS):
        return "unusable"
    return "ready" if stamp.get("content") == wanted["content"] else "outdated"


def run(command: "list[str]") -> None:
    """Run one step of the setup, its last line shown in place, and raise the right sentence if it fails."""
    live = sys.stdout.isatty()
    to = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, cwd=ROOT, env=surroundings(), **to)  # type: ignore[call-overload]
    lines = []
    try:
        for raw in process.stdout or ():
            lines.append(raw.decode("utf-8", "replace").strip())
            if live:
                print(f"\r  {lines[-1]:76.76}", end="", flush=True)
        process.wait()
    finally:
        if live:
            print("\r" + " " * 79, end="\r", flush=True)
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        output = "\n".join(lines)
        try:
            with open(os.path.join(VENV, "setup.log"), "w", encoding="utf-8") as file:
                file.write(" ".join(command) + "\n" + output + "\n")
        except OSError:
            pass  # the disk may be full, or .venv not there yet: the sentence is what matters
        raise explain(output)


def install(fresh: bool, uv: "str | None") -> None:
    """Fill .venv from the lock, with uv or with pip, and put the project itself in as an editable package.

    A Python newer than the lock gets the newest of every package, if they exist for it: the lock's have no wheels
    there, and building them takes compilers that a learner does not have.
    """
    if fresh:
        missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
        if missing and not uv:
            raise Stop(
                f"This Python comes without its module {' and '.join(missing)}, which the setup needs: "
                f"on Debian or Ubuntu type  sudo apt install python{THIS}-venv  and try again."
            )
        if os.path.islink(VENV) or os.path.isfile(VENV):
            raise Stop(f"{VENV} is in the way and is not a folder of this kit: remove it and try again.")
        if os.path.exists(VENV):
            shutil.rmtree(VENV)
        # --seed adds pip, which %pip in a notebook needs.
        run([uv, "venv", "--seed", "--python", base_python(), VENV] if uv else [base_python(), "-m", "venv", VENV])
    installer = [uv, "pip", "install", "--python", python()] if uv else [python(), "-m", "pip", "install"]
    if is_newer():
        run(installer + ["--only-binary", ":all:", "-e", ".[workshop,tests]"])
        return
    run(installer + ["--require-hashes", "-r", LOCK])
    run(installer + ["--no-deps", "--no-build-isolation", "-e", ROOT])


def make_environment(fresh: bool) -> None:
    """Install everything, by pip where uv fails for a reason that nobody knows, and see that it loads."""
    uv = shutil.which("uv")
    try:
        install(fresh, uv)
    except Unexplained:
        if not uv:
            raise
        print("uv did not succeed; trying pip ...", flush=True)
        install(True, None)
    print("Loading it for the first time ...", flush=True)
    try:
        run([python(), "-c", "import jax, mefit; jax.numpy.zeros(1).block_until_ready()"])
    except Unexplained as problem:
        remedy = (
            "install Microsoft's Visual C++ Redistributable (x64) and try again" if os.name == "nt" else "try again"
        )
        raise Unexplained(f"All is installed but does not load: {remedy}, and see .venv/setup.log.") from problem


def setup() -> None:
    """Make .venv ready. Once that is done, this takes a fraction of a second."""
    state = state_of_environment()
    if state == "ready":
        return
    if state == "unusable" and shutil.disk_usage(ROOT).free < GIGABYTES * 1e9:
        raise explain("No space left on device")
    effort = "this fetches about 400 MB and takes one to five minutes, once" if state == "unusable" else "a newer lock"
    print(f"Setting up .venv: {effort} ...", flush=True)
    if os.path.exists(STAMP):
        os.remove(STAMP)  # whatever happens from here on, a half-made .venv is never taken for a whole one
    if is_newer():
        known = f"{OLDEST} to {NEWEST}"
        print(f"Python {THIS} is newer than those this kit knows ({known}), so it is tried with the newest packages.")
    shutil.rmtree(compiled_folder(), ignore_errors=True)  # by other packages, whose programs would never be used again
    try:
        make_environment(state == "unusable")
    except Stop as problem:
        # A network or a disk can be mended, and the same Python tried again.
        if is_newer() and (isinstance(problem, Unexplained) or str(problem) == NOT_MADE):
            raise Stop(f"The packages do not work with Python {THIS} yet: {suitable_command()}.") from problem
        raise
    try:
        run([python(), "-m", "mefit.base.known_answers"])
    except Stop:  # the rest of the workshop may well work, so this is told and stops nothing
        print("JAX computes something wrongly on this computer: .venv/setup.log says what, and what to do.", flush=True)
    with open(STAMP, "w", encoding="utf-8") as file:
        json.dump(wanted_stamp(), file)
    print("Ready.", flush=True)


# --------------------------------------------------------------------------------------------------- the commands


def in_foreground(command: "list[str]", env: dict, when_started: "Callable | None" = None) -> int:
    """Run a command in this terminal until it ends; Ctrl-C and a request to end are passed on to it."""
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        if when_started:
            when_started(process)
    except KeyboardInterrupt:
        pass  # see below
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the terminal has sent it to the process too, which ends in its own way


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name != "nt":  # on Windows this option would let two programs share a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def choose_port(wanted: "int | None") -> int:
    candidates = list(range(8888, 8908)) if wanted is None else [wanted]
    for port in candidates:
        if is_free(port):
            return port
    name = f"{wanted}" if wanted is not None else f"{candidates[0]} to {candidates[-1]}"
    advice = "close other JupyterLabs, or choose another with  python3 start.py --port 9000"
    raise Stop(f"Port {name} is taken or not allowed: {advice}.")


def has_browser() -> bool:
    """Whether a window can open here. A text browser in a terminal without a screen would only be in the way."""
    screens = [os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")]
    return not sys.platform.startswith("linux") or any(screens)


def open_lab(port: int, browser: bool, page: str = "lab/tree/" + LESSON, options: "list[str] | None" = None) -> int:
    """JupyterLab at this page until Ctrl-C; the options go before its own, which name the folder of the kit."""
    token = secrets.token_hex(16)

    def announce(process: subprocess.Popen) -> None:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                try:
                    process.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    continue
                raise Stop("JupyterLab ended before it answered: the lines above say why.") from None
        where = " in your browser" if browser else ""
        print(f"\nJupyterLab is running{where}. Its address, for any browser on this computer:\n")
        print(f"    http://127.0.0.1:{port}/{page}?token={token}\n")
        print(f"From another computer, first make a way to it:  ssh -L {port}:127.0.0.1:{port} NAME-OF-THIS-COMPUTER")
        print("Ctrl-C here ends it.\n", flush=True)

    command = [python(), "-m", "jupyterlab", "--ServerApp.answer_yes=True"]
    command += ["--ServerApp.log_level=WARN", "--LabApp.log_level=WARN", "--ServerApp.websocket_ping_timeout=30000"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += options or [f"--ServerApp.root_dir={ROOT}"]
    command += [f"--LabApp.default_url=/{page}"]
    command += [] if browser else ["--no-browser"]
    command += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    print("Starting JupyterLab ...", flush=True)
    return in_foreground(command, dict(keeping_compiled(), JUPYTER_TOKEN=token), announce)


def test_command(arguments: "list[str]") -> "list[str]":
    """All tests and all notebooks in one run of pytest; what the arguments name is run alone.

    The exercises are not among the notebooks: tests/workshop/test_exercises.py runs them untouched.
    """
    command = [python(), "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-kernel-startup-timeout=180"]
    command += ["--durations=20"]
    own_workers = any(re.match(r"-n|--numprocesses|--pdb|-s$|--capture", text) for text in arguments)
    if (os.cpu_count() or 1) > 1 and not own_workers:
        # By file, since the cells of a notebook belong together, and in the order of tests/conftest.py.
        command += ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    paths = [text.split("::")[0] for text in arguments if not text.startswith("-")]
    named = any(os.path.exists(os.path.join(ROOT, path)) for path in paths)
    return command + arguments + ([] if named else ["tests", "workshop", "solutions"])


def keeping_compiled() -> dict:
    """Environment variables with which kernels keep what they compile in a folder in .venv, for each other and for the
    next start, unless the user has named another folder. A folder that cannot be written is read, if anything is in
    it. How much a folder holds is bounded by those who write to it (`mefit.keep_compiled`)."""
    env = surroundings()
    if env.get("MEFIT_COMPILED"):
        return env
    if can_write(compiled_folder()):
        env["MEFIT_COMPILED"] = compiled_folder()
    elif holds_programs(compiled_folder()):
        env["MEFIT_COMPILED"] = compiled_folder()
    return env


def holds_programs(folder: str) -> bool:
    """Whether compiled programs are kept in a folder."""
    return any(name.endswith("-cache") for _, _, names in os.walk(folder) for name in names)


def can_write(folder: str) -> bool:
    """Whether files can be made in a folder, which is made if need be: a class may share a kit that is read-only."""
    trial = os.path.join(folder, f".trial-{os.getpid()}")
    try:
        os.makedirs(folder, exist_ok=True)
        with open(trial, "w", encoding="utf-8") as file:
            file.write("x")
        os.remove(trial)
    except OSError:
        return False
    return True


def compiled_folder() -> str:
    """Where compiled programs are kept; it may be deleted at any time."""
    return os.path.join(VENV, "compiled")


def test_surroundings() -> dict:
    """Environment variables for the tests: what they answer in the exercises is nobody's progress."""
    return dict(keeping_compiled(), MEFIT_PROGRESS="")


def warm(arguments: "list[str]") -> int:
    """Run lessons once, so that what they compile is kept; or forget what was kept."""
    own = os.environ.get("MEFIT_COMPILED")
    if arguments == ["--clear"]:
        if own:
            raise Stop(f"Compiled programs are kept in {own}, as MEFIT_COMPILED says: delete that folder yourself.")
        if os.path.isdir(compiled_folder()):
            shutil.rmtree(compiled_folder())
        print("Forgotten: the next fits compile anew.")
        return 0
    setup()
    return in_foreground([python(), os.path.join(ROOT, "tools", "warm.py"), *arguments], test_surroundings())


def site(arguments: "list[str]") -> int:
    """Run lessons and make pages of them."""
    setup()
    make_site_environment()
    env = dict(test_surroundings(), MEFIT_SITE_PYTHON=python(SITE_VENV))
    return in_foreground([python(), os.path.join(ROOT, "tools", "pages", "build_site.py"), *arguments], env)


def make_site_environment() -> None:
    """An environment of its own for Sphinx, inside .venv and from a lock of its own, so that .venv does not grow."""
    stamp = os.path.join(SITE_VENV, "mefit-stamp.txt")
    with open(SITE_LOCK, "rb") as file:
        wanted = hashlib.sha256(file.read()).hexdigest() + " " + sys.version.split()[0]
    if os.path.exists(stamp):
        with open(stamp, encoding="utf-8") as file:
            if file.read() == wanted:
                return
    print("Setting up .venv/site, once: this fetches about 60 MB ...", flush=True)
    if os.path.exists(SITE_VENV):
        shutil.rmtree(SITE_VENV)
    uv = shutil.which("uv")
    run([uv, "venv", "--python", base_python(), SITE_VENV] if uv else [base_python(), "-m", "venv", SITE_VENV])
    there = python(SITE_VENV)
    installer = [uv, "pip", "install", "--python", there] if uv else [there, "-m", "pip", "install"]
    run(installer + ["--require-hashes", "-r", SITE_LOCK])
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(wanted)


def present(shown: str, port: int, browser: bool) -> int:
    """A lesson, or all explorers, on a projector: JupyterLab with a copy, and an extension that shows it large."""
    place = os.path.join(VENV, "present", shown)
    made = [python(), os.path.join(ROOT, "tools", "present.py"), shown, place]
    done = subprocess.run(made, cwd=ROOT, env=surroundings(), capture_output=True)
    if done.returncode != 0:
        raise Stop(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1])
    page = "doc/tree/" + done.stdout.decode("utf-8").strip()
    return open_lab(port, browser, page, options_of_projector(place))


def options_of_projector(place: str) -> "list[str]":
    """What JupyterLab is told when it shows the copy in this folder: its extension, and memories of its own."""
    return [
        f"--ServerApp.root_dir={place}",
        f"--LabApp.extra_labextensions_path={os.path.join(ROOT, 'tools', 'projector')}",
        f"--LabApp.workspaces_dir={os.path.join(place, '.workspaces')}",
        f"--LabApp.user_settings_dir={os.path.join(place, '.settings')}",
    ]


def main(arguments: "list[str]") -> int:
    check_python()
    if not os.path.isfile(LOCK):
        raise Stop("requirements.lock is missing beside start.py: get the whole repository, not the one file.")
    if arguments[:1] == ["test"]:
        setup()
        return in_foreground(test_command(arguments[1:]), test_surroundings())
    if arguments == ["setup"]:
        setup()
        return 0
    if arguments[:1] == ["warm"]:
        return warm(arguments[1:])
    if arguments[:1] == ["site"]:
        return site(arguments[1:])
    if arguments and arguments[0] in TOOLS:
        setup()
        script = os.path.join(ROOT, "tools", TOOLS[arguments[0]])
        return in_foreground([python(), script, *arguments[1:]], surroundings())
    return open_for_people(arguments)


def open_for_people(arguments: "list[str]") -> int:
    """JupyterLab for a learner, or for a class in front of a projector, as the arguments say."""
    port, browser, shown, rest = None, has_browser(), None, list(arguments)
    if rest[:1] == ["present"]:
        if len(rest) < 2 or not rest[1].isalnum():
            raise Stop("Say what to show:  python3 start.py present 02  or  python3 start.py present explorers.")
        shown, rest = rest[1], rest[2:]
    while rest:
        option = rest.pop(0)
        if option == "--no-browser":
            browser = False
        elif option == "--port" and rest and rest[0].isdigit():
            port = int(rest.pop(0))
        elif option in ("-h", "--help"):
            print((__doc__ or "").strip())
            return 0
        else:
            raise Stop(f"'{' '.join(arguments)}' means nothing here: type  python3 start.py --help.")
    if not os.path.isfile(os.path.join(ROOT, LESSON)):
        raise Stop(f"{LESSON} is missing: get the whole repository again.")
    setup()
    free = choose_port(port)
    return open_lab(free, browser) if shown is None else present(shown, free, browser)


def guarded_main(arguments: "list[str]") -> int:
    """main, with every failure told in one sentence on stderr and exit code 1."""
    try:
        return main(arguments)
    except Stop as stop:
        sentence = str(stop)
    except KeyboardInterrupt:
        sentence = "Stopped: run the same command again to go on."
    except OSError as error:
        cause = explain(str(error))
        sentence = f"This failed: {error}." if isinstance(cause, Unexplained) else str(cause)
    print(f"\n{sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(guarded_main(sys.argv[1:]))
