"""What a stage starts: the till and the back office as processes of their own, and the network between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import deque
from pathlib import Path

from edge.errors import TillError

#: Starting a daemon takes a second or two on a Pi; this is for a machine that is busy with tests.
_START_MAX_S = 60
_LOG_LINES_MAX = 2000


#: The daemon asked to stop when the demo is gone, however that went (prctl(2), PR_SET_PDEATHSIG is 1). What it asks
#: for outlives exec; a demo that was gone before is seen at once.
_LEASHED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, "-m", "edge", *sys.argv[2:]])
"""


class DemoFailed(TillError):
    code = "demo.failed"
    hint = "the logs lie beside the demo's ledger"


class Proxy:
    """The network between the till and its broker: a TCP relay that can be cut."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        """Let traffic through; the port stays the same."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._pipes):
            writer.transport.abort()

    @property
    def is_open(self) -> bool:
        return self._server is not None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._pipes |= {writer, up_writer}
        # asyncio's streams report a cancelled handler as a crash; at the end of the demo it is none
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
        self._pipes -= {writer, up_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


class Program:
    """One process of ours, with its log in a file and its last lines at hand. It ends when we do, whatever happens.

    Start it on the thread that lives longest: the process ends with that one.
    """

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        self.name = name
        self._arguments = arguments
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._lines: deque[str] = deque(maxlen=_LOG_LINES_MAX)
        self._seen = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def start(self, *, until: str, environment: dict[str, str] | None = None) -> None:
        """Start it and wait for a line with `until`. Raises DemoFailed with its last words."""
        self._lines.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _LEASHED,
            str(os.getpid()),
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for the demo, which stops the others in their order
            env={**os.environ, **(environment or {})},
        )
        self._reading = asyncio.create_task(self._read(self._process))
        deadline = time.monotonic() + _START_MAX_S
        while not any(until in line for line in self._lines):
            if self._reading.done() or time.monotonic() > deadline:
                last = " | ".join(list(self._lines)[-3:])
                raise DemoFailed(f"{self.name} did not start: {last}", hint=f"see {self._log}")
            self._seen.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._seen.wait(), 0.5)

    async def kill(self) -> None:
        """SIGKILL, as a power cut does it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        await self._ended()

    async def stop(self) -> None:
        """SIGTERM; SIGKILL when that is not heard."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 15)
            except TimeoutError:
                self._process.kill()
        await self._ended()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def last_words(self) -> str:
        """The last line that it said."""
        return self._lines[-1].rstrip("\n") if self._lines else "nothing was said"

    async def _ended(self) -> None:
        if self._process is not None:
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        with self._log.open("a") as log:
            async for raw in process.stdout:
                line = raw.decode(errors="replace")
                log.write(line)
                log.flush()
                self._lines.append(line)
                self._seen.set()
