"""What several rooms of tests share: a folder with a configuration that works, and the command line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from hw.virtual.place import evse, furnish, head

#: A busy machine may be slow; what is right does not depend on it.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

MEMBERS = """
[[member]]
account = "A-1001"
uid = "04A1B2C3D4E5F6"
limit_minor = 6000
"""


class Place:
    """A folder with everything that a configuration names; nothing answers at its devices' addresses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = furnish(folder, head(device="till-1") + evse("DE*T*1"), members=MEMBERS)
        self.database = folder / "till.db"

    def edit(self, old: str, new: str) -> None:
        """Change the configuration; `old` has to be there."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def add(self, text: str) -> None:
        self.config.write_text(self.config.read_text() + text)


class Done:
    """What a command answered."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    @property
    def error(self) -> dict[str, str]:
        """The error object of `--json`: one line on standard error and nothing else."""
        (line,) = self.err.splitlines()
        (key,) = json.loads(line)
        assert key == "error"
        return json.loads(line)["error"]


def chargetill(*arguments: str | Path, stdin: str = "", timeout_s: float = 120, **environment: str) -> Done:
    """Run the command line to its end."""
    return Done(
        subprocess.run(
            [sys.executable, "-m", "edge", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **environment},
        )
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="session")
def call():
    return chargetill


class Daemon:
    """`chargetill run` as a process. `lines` is everything that it has said, standard output and error together."""

    def __init__(self, config: Path, *arguments: str) -> None:
        self.lines: list[str] = []
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge", "--config", str(config), *arguments, "run"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()

    def says(self, text: str, *, within_s: float = 60) -> str:
        """Wait for a line with `text`."""
        ends = time.monotonic() + within_s
        with self._said:
            while True:
                for line in self.lines:
                    if text in line:
                        return line
                left = ends - time.monotonic()
                ended = self.process.poll() is not None and not self._reader.is_alive()
                assert left > 0, f"not said: {text}; but: {self.lines}"
                assert not ended, f"ended with {self.process.returncode}: {self.lines}"
                self._said.wait(min(left, 0.5))

    def stop(self, *, within_s: float = 30) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.ends(within_s=within_s)

    def ends(self, *, within_s: float = 60) -> int:
        code = self.process.wait(within_s)
        self._reader.join(10)
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)


@pytest.fixture
def daemon():
    """`daemon(config)` starts one; whatever still runs at the end is killed."""
    started: list[Daemon] = []

    def start(config: Path, *arguments: str) -> Daemon:
        started.append(Daemon(config, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
