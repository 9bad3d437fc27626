"""MQTT brokers on loopback for demos and tests: the embedded `iotcore`, and the system's mosquitto.

    broker = EmbeddedBroker.start(); broker.address; broker.kill(); broker.restart(); broker.stop()

Each runs in a process of its own, which ends with ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from edge.errors import HardwareError

#: A broker starts within a second on a Pi; this is for a machine that is busy with tests.
_START_TIMEOUT_S = 20.0

#: The till sends 64 KiB at most per message; the embedded broker's own default is 20 KiB.
_PAYLOAD_MAX = 1_048_576

#: The embedded broker lives while its standard input is open, so it ends with us whatever happens.
_EMBEDDED = """
import json, os, sys, threading, logging
logging.disable(logging.CRITICAL)
from iotcore import IotCoreBroker
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
IotCoreBroker(**json.loads(sys.argv[1])).run_forever()
"""

#: The same for a program that does not watch its standard input: a child of it that does.
_LEASHED = """
import os, sys
broker = os.getpid()
if os.fork() == 0:
    sys.stdin.buffer.read()
    if os.getppid() == broker:
        os.kill(broker, 9)
    os._exit(0)
os.execv(sys.argv[1], sys.argv[1:])
"""

#: Below what Linux gives to outgoing connections (ip_local_port_range), so that none of them takes our port.
_PORTS = range(20_000, 32_000)


class BrokerFailed(HardwareError):
    code = "broker.failed"
    hint = "install the demo extra (`pip install chargetill[demo]`), or mosquitto with apt"


class _BrokerProcess(ABC):
    """A broker on one port of 127.0.0.1, which keeps its port through kills and restarts."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, port: int | None = None) -> Self:
        """Listening when it returns. Raises BrokerFailed."""
        broker = cls(port or _free_port())
        broker.restart()
        return broker

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def restart(self) -> None:
        """Start it again after `kill` or `stop`, with nothing remembered."""
        self._process = subprocess.Popen(  # noqa: S603  (our own arguments)
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for who started it
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BrokerFailed(f"the broker on {self.address} ended with {self._process.returncode}")
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=0.5),
            ):
                return
            time.sleep(0.02)
        self.stop()
        raise BrokerFailed(f"the broker does not listen on {self.address} after {_START_TIMEOUT_S:.0f} s")

    def kill(self) -> None:
        """SIGKILL: everything in its memory is lost, connections break."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An ordered end. Safe to call twice."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: connections stay up and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def reread(self) -> None:
        """SIGHUP: mosquitto reads its access list again."""
        self._signal(signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin is not None
        process.stdin.close()

    @abstractmethod
    def _command(self) -> list[str]: ...


class EmbeddedBroker(_BrokerProcess):
    """`iotcore`: needs nothing but the virtual environment. MQTT 3.1.1, no access rules."""

    def _command(self) -> list[str]:
        options = {"listen": "127.0.0.1", "port": self.port, "max_payload_size": _PAYLOAD_MAX}
        return [sys.executable, "-c", _EMBEDDED, json.dumps(options)]


class Mosquitto(_BrokerProcess):
    """The system's mosquitto with a configuration of its own; the system's service is not touched."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        #: lines of mosquitto.conf(5); the first ones may be replaced for TLS and access rules
        self.lines: tuple[str, ...] = (f"listener {port} 127.0.0.1", "allow_anonymous true")
        self._folder = tempfile.TemporaryDirectory(prefix="mosquitto-")

    @staticmethod
    def installed() -> str | None:
        """Where the program is; Debian keeps it out of an ordinary user's PATH."""
        return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")

    def _command(self) -> list[str]:
        program = self.installed()
        if program is None:
            raise BrokerFailed("mosquitto is not installed", hint="apt-get install mosquitto")
        # started by root it would become another user, who may not read our certificates
        account = ("user root",) if os.geteuid() == 0 else ()
        file = Path(self._folder.name) / "mosquitto.conf"
        file.write_text("\n".join((*account, "persistence false", "log_dest none", *self.lines)) + "\n")
        return [sys.executable, "-c", _LEASHED, program, "-c", str(file)]


def _free_port() -> int:
    """A port that nobody listens on; drawn at random, because tests look for one at the same time."""
    draw = random.SystemRandom()
    while True:
        port = draw.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
