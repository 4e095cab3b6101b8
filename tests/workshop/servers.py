"""Servers of their own for tests in a browser: on a free port, with a log, and ended whatever happens."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

PATIENCE = 240  # seconds for what compiles or waits for a busy computer; a good run takes a tenth of it


def until(question: Callable[[], object], what: str, seconds: float = PATIENCE, every: float = 0.1):
    """The first answer that is not false or None; fails with `what` when it does not come in time."""
    end = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < end, f"Waited {seconds:g} s for {what}."
        time.sleep(every)
    return answer


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(
    command: Sequence[str], own: Mapping[str, str], log: Path, asked: str, any_answer: bool = False
) -> Iterator[None]:
    """A server that answers at the address `asked`, with `own` variables in place of inherited ones of Jupyter.

    It is there once it answers 200; or whatever it answers, where `any_answer` will do.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "PYTEST"))}
    with log.open("w") as stream:
        server = subprocess.Popen(command, env=inherited | own, stdout=stream, stderr=stream, start_new_session=True)

    def answers() -> bool:
        assert server.poll() is None, f"{command[2]} stopped: {log.read_text()[-2000:]}"
        try:
            return urllib.request.urlopen(asked, timeout=5).status == 200
        except urllib.error.HTTPError:
            return any_answer
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    try:
        until(answers, f"{command[2]} to answer")
        yield
    finally:
        server.terminate()  # it ends its kernels itself
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
