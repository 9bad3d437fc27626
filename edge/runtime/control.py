"""The daemon's own door: changing commands of the command line go through a Unix socket beside the database.

    server = ControlServer(socket_of(database), {"session.stop": stop})
    async with server: ...
    answer = ask(socket_of(database), "session.stop", {"session_id": "..."})     # in another process; blocking

One request and one answer a connection, each a line of JSON: `{"do":"session.stop","with":{..}}`, then
`{"result":..}` or `{"error":{"code","message","hint","exit_code"}}`. Only the daemon's own user and root may ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from edge import log
from edge.emv.scrub import scrub
from edge.errors import CallError, TillError

#: Carries out one command. It gets the request's arguments and gives what stands in the answer. Raises TillError.
Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]

#: A request is a few words; an answer may list some thousand sessions.
REQUEST_BYTES_MAX = 64 * 1024
ANSWER_BYTES_MAX = 4 * 1024 * 1024

#: A person and a script; whoever comes beyond that waits to be let in.
_CONNECTIONS_MAX = 4

#: Who connects says at once what is wanted.
_REQUEST_TIMEOUT_S = 5.0


class DaemonAbsent(TillError):
    code = "daemon.absent"
    hint = "is `chargetill run` running on this database?"


class DaemonSilent(TillError):
    code = "daemon.silent"
    retryable = True
    hint = "it may still carry the command out: look before you give it again"


class CommandUnknown(CallError):
    code = "call.command"
    hint = "the daemon is of another version than this command: restart it"


class NotYours(CallError):
    code = "call.not_yours"
    hint = "run this as the daemon's own user or as root"


class CommandFailed(TillError):
    """What the daemon answered; it says itself what went wrong."""

    def __init__(self, *, code: str, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.code, self.exit_code = code, exit_code  # type: ignore[misc]  # the daemon's, not this class's


class _Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    do: str
    with_: dict[str, Any] = msgspec.field(name="with", default_factory=dict)


class _Error(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str
    hint: str = ""
    exit_code: int = 3


class _Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    result: Any = None
    error: _Error | None = None


def socket_of(database: Path) -> Path:
    """Where the daemon of a database listens."""
    return database.with_name(database.name + ".sock")


class ControlServer:
    """See the module. Serves on the running loop between entering and leaving; requests are taken one by one."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._doors = asyncio.Semaphore(_CONNECTIONS_MAX)
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._path.unlink(missing_ok=True)  # of a daemon that was killed; the database's lock says so
            with _short(self._path) as name:
                before = os.umask(0o177)
                try:
                    listener.bind(name)
                finally:
                    os.umask(before)
            # not start_unix_server: from Python 3.13 on it looks at the name again, which nobody keeps open any more
            self._server = await asyncio.start_server(self._serve, sock=listener, limit=REQUEST_BYTES_MAX)
        except OSError as e:
            listener.close()
            raise DaemonAbsent(
                f"cannot listen on {self._path}: {e.strerror}", hint="check the folder's owner and space"
            ) from e
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._doors:
            try:
                answer = await self._hear(reader, writer)
                writer.write(msgspec.json.encode(answer) + b"\n")
                await writer.drain()
            except (OSError, TimeoutError):
                pass  # nobody listens any more
            finally:
                writer.close()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Answer:
        try:
            try:
                async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                    line = await reader.readuntil(b"\n")
            except (asyncio.LimitOverrunError, asyncio.IncompleteReadError) as e:
                raise CommandUnknown("the request is no line, or too long") from e
            _admit(writer.get_extra_info("socket"))  # after reading: who has not been heard cannot hear a no
            return _Answer(result=await self._do(line))
        except TillError as e:
            return _Answer(
                error=_Error(code=e.code, message=scrub(e.message), hint=e.hint, exit_code=e.exit_code)
            )

    async def _do(self, line: bytes) -> Any:
        try:
            request = msgspec.json.decode(line, type=_Request)
        except (msgspec.DecodeError, RecursionError) as e:
            raise CommandUnknown(f"not a request: {e}") from e
        handler = self._handlers.get(request.do)
        if handler is None:
            raise CommandUnknown(f"no command {request.do[:80]!r}")
        async with self._turn:
            log.event("control.asked", command=request.do)
            return await handler(request.with_)


def _admit(peer: socket.socket) -> None:
    """The kernel says who is at the other end: SO_PEERCRED, struct ucred (pid, uid, gid)."""
    _, uid, _ = struct.unpack("iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (0, os.geteuid()):
        raise NotYours(f"user {uid} may not tell this daemon what to do")


def ask(path: Path, command: str, arguments: Mapping[str, Any], *, timeout_s: float = 60.0) -> Any:
    """What the daemon at `path` answers. Blocking.

    Raises DaemonAbsent when none listens, DaemonSilent when it was asked and does not answer, CommandFailed when it
    says no.
    """
    request = msgspec.json.encode(_Request(do=command, with_=dict(arguments))) + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        there.settimeout(timeout_s)
        try:
            with _short(path) as name:
                there.connect(name)
        except OSError as e:
            raise DaemonAbsent(f"{path}: {e.strerror}") from e
        try:
            there.sendall(request)
            line = _line(there)
        except TimeoutError as e:
            raise DaemonSilent(f"no answer within {timeout_s:.0f} s") from e
        except OSError as e:
            raise DaemonSilent(f"the daemon ended while it answered: {e.strerror}") from e
    try:
        answer = msgspec.json.decode(line, type=_Answer)
    except msgspec.DecodeError as e:
        raise DaemonSilent("the daemon ended while it answered") from e
    if answer.error is not None:
        raise CommandFailed(**msgspec.structs.asdict(answer.error))
    return answer.result


def _line(there: socket.socket) -> bytes:
    found = bytearray()
    while chunk := there.recv(65_536):
        found += chunk
        if len(found) > ANSWER_BYTES_MAX:
            raise DaemonSilent(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(found)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for `path` that fits into a socket's address (108 bytes), however deep its folder lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        with contextlib.suppress(OSError):
            os.close(folder)
