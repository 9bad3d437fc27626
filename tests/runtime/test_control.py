"""The daemon's Unix socket: who may ask, what goes in and out, and how much of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import pytest

from edge.errors import CallError
from edge.runtime import control
from edge.runtime.control import (
    REQUEST_BYTES_MAX,
    CommandFailed,
    ControlServer,
    DaemonAbsent,
    DaemonSilent,
    ask,
    socket_of,
)


class _No(CallError):
    code = "call.no"
    hint = "another time"
    exit_code = 1


async def _echo(arguments):
    return {"heard": dict(arguments)}


async def _refuse(_arguments):
    raise _No("card 4111111111111111 said no")


async def _sleep(_arguments):
    await asyncio.sleep(30)


HANDLERS = {"echo": _echo, "refuse": _refuse, "sleep": _sleep}


@pytest.fixture
def place(tmp_path):
    return socket_of(tmp_path / "till.db")


def served(path, *calls):
    """What blocking calls give beside a server."""

    async def story():
        async with ControlServer(path, HANDLERS):
            return [await asyncio.to_thread(call) for call in calls]

    return asyncio.run(story())


def test_a_command_is_answered_with_what_its_handler_gives(place):
    (answer,) = served(place, lambda: ask(place, "echo", {"n": 1, "text": "ä"}))
    assert answer == {"heard": {"n": 1, "text": "ä"}}
    assert not place.exists()


def test_an_error_arrives_as_it_was_without_card_numbers(place):
    def call():
        with pytest.raises(CommandFailed) as failed:
            ask(place, "refuse", {})
        return failed.value

    (error,) = served(place, call)
    assert (error.code, error.hint, error.exit_code) == ("call.no", "another time", 1)
    assert "4111111111111111" not in error.message


@pytest.mark.parametrize(
    "line",
    [b"nonsense\n", b'{"do":"none"}\n', b'{"do":1}\n', b'{"do":"echo","with":3}\n', b'{"do":"echo","more":1}\n',
     b"x" * (REQUEST_BYTES_MAX + 10) + b"\n", b"[" * 5000 + b"\n", b"no end"],
)  # fmt: skip
def test_what_is_no_request_gets_an_error_and_the_next_one_is_served(place, line):
    def call():
        with socket.socket(socket.AF_UNIX) as there:
            there.settimeout(20)
            there.connect(str(place))
            with contextlib.suppress(BrokenPipeError):
                there.sendall(line)
                there.shutdown(socket.SHUT_WR)
            return there.recv(65_536)

    answer, after = served(place, call, lambda: ask(place, "echo", {}))
    assert b'"error"' in answer
    assert after == {"heard": {}}


def test_only_the_daemons_user_and_root_may_ask(place, monkeypatch):
    def call():
        assert place.stat().st_mode & 0o777 == 0o600
        monkeypatch.setattr(control.struct, "unpack", lambda *_: (1, os.geteuid() + 1, 1))
        with pytest.raises(CommandFailed) as failed:
            ask(place, "echo", {})
        monkeypatch.undo()
        return failed.value.code

    assert served(place, call) == ["call.not_yours"]


def test_a_socket_that_a_killed_daemon_left_is_taken_over(place):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
    with pytest.raises(DaemonAbsent):
        ask(place, "echo", {})
    assert served(place, lambda: ask(place, "echo", {})) == [{"heard": {}}]
    with pytest.raises(DaemonAbsent):
        ask(place, "echo", {})


def test_a_name_that_is_too_long_for_a_socket_works_all_the_same(tmp_path):
    folder = tmp_path / ("f" * 120)
    folder.mkdir()
    path = socket_of(folder / "till.db")
    assert served(path, lambda: ask(path, "echo", {})) == [{"heard": {}}]


def test_a_daemon_that_does_not_answer_is_told_as_such(place):
    def call():
        with pytest.raises(DaemonSilent):
            ask(place, "sleep", {}, timeout_s=0.2)

    served(place, call)


def test_whatever_another_thread_opens_meanwhile_the_door_opens(place, monkeypatch):
    close, folders = os.close, []

    def taken_at_once(descriptor):
        """The number of what is closed first is another file's from then on."""
        if folders:
            close(descriptor)
        else:
            folders.append(descriptor)
            with open(os.devnull, "rb") as other:  # noqa: PTH123
                os.dup2(other.fileno(), descriptor)

    async def story():
        monkeypatch.setattr(os, "close", taken_at_once)
        async with ControlServer(place, HANDLERS):
            monkeypatch.undo()
            return await asyncio.to_thread(lambda: ask(place, "echo", {"a": 1}))

    assert asyncio.run(story()) == {"heard": {"a": 1}}
    close(folders[0])
