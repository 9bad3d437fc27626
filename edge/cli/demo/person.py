"""The demo for a person: the driver's screen in a browser, and keys or buttons that act on the virtual charger."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
import webbrowser
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from edge.cli.demo import books
from edge.cli.demo.control import serve_control
from edge.cli.demo.player import Player
from edge.cli.demo.signals import EndSignals
from edge.cli.demo.stage import SCREEN_PORT, Parts, Stage, free_port
from edge.cli.demo.story import Scene, Story, Then
from edge.errors import TillError

#: Real time for whoever watches, a little faster than life so that a session is worth looking at.
SPEED = 10

#: key -> button's name, what it says, what it does
ACTIONS: dict[str, tuple[str, str, Scene]] = {
    "a": ("tap-a", "tap card A (member)", Scene(at_s=0, tap="card A")),
    "b": ("tap-b", "tap card B (member)", Scene(at_s=0, tap="card B")),
    "d": ("tap-sun", "tap a card that proves itself", Scene(at_s=0, tap="sun card")),
    "x": ("tap-c", "tap card C (blocked)", Scene(at_s=0, tap="card C")),
    "s": ("tap-stranger", "tap a stranger's card", Scene(at_s=0, tap="stranger")),
    "h": ("tap-phone", "tap a phone (random UID)", Scene(at_s=0, tap="phone")),
    "k": ("tap-bank", "hold a bank card to the terminal", Scene(at_s=0, tap="bank card")),
    "o": ("tap-wallet", "hold a phone that pays to the terminal", Scene(at_s=0, tap="phone wallet")),
    "e": ("tap-declined", "hold a card that is declined to the terminal", Scene(at_s=0, tap="declined card")),
    "v": ("tap-lab-card", "lab: tap a test bank's card at the plain reader", Scene(at_s=0, tap="lab card")),
    "y": (
        "tap-lab-phone",
        "lab: tap a test bank's phone at the plain reader",
        Scene(at_s=0, tap="lab phone"),
    ),
    "l": (
        "lost-reply",
        "the terminal loses its next reply to a capture",
        Scene(at_s=0, terminal="loses the reply to a capture"),
    ),
    "p": ("plug", "plug in a car that takes 11 kW", Scene(at_s=0, plug="car that takes 11 kW")),
    "u": ("unplug", "unplug", Scene(at_s=0, unplug=True)),
    "f": ("full", "the car is full", Scene(at_s=0, suspend=True)),
    "w": ("wants", "the car wants more", Scene(at_s=0, suspend=False)),
    "n": ("network", "cut the network for 60 s", Scene(at_s=0, cut_network_for_s=60 * SPEED)),
    "c": ("power", "cut the power for 10 s", Scene(at_s=0, cut_power_for_s=10 * SPEED)),
    "m": ("meter", "the meter is silent for 20 s", Scene(at_s=0, meter_silent_for_s=20 * SPEED)),
}


async def play(folder: Path, story: Story, *, parts: Parts) -> dict[str, Any]:
    """Until `q`, Ctrl-C, SIGTERM or SIGHUP; what each side holds then."""
    watched = msgspec.structs.replace(story, speed=SPEED, when=(), then=Then(), name="a demo by hand")
    parts = msgspec.structs.replace(parts, lab=True)
    signals = EndSignals()
    stage = await Stage.build(folder, watched, parts=parts, screen_port=free_port(preferred=SCREEN_PORT))
    player = Player(stage)
    try:
        async with serve_control(stage, act=lambda name: _act(player, name), actions=_buttons()) as control:
            _welcome(stage, control)
            _browse(stage.screen, control)
            await _live(player, signals)
        with contextlib.suppress(TillError):
            await player.settled()
        return await asyncio.to_thread(books.collect, stage)
    finally:
        signals.ignore()
        await stage.close()


def _buttons() -> dict[str, str]:
    return {name: text for name, text, _ in ACTIONS.values()}


async def _act(player: Player, name: str) -> str | None:
    """Do what a button says; returns what went wrong, in words, or None."""
    scene = next((scene for known, _, scene in ACTIONS.values() if known == name), None)
    if scene is None:
        return f"nothing is called {name}"
    try:
        await player.act(scene)
    except TillError as e:
        return str(e)
    return None


def _welcome(stage: Stage, control: str) -> None:
    click.echo(f"driver's screen  {stage.screen}")
    click.echo(f"buttons          {control}")
    click.echo(f"the demo runs {SPEED} times as fast as life; its files are in {stage.folder}/\n")
    for key, (_, text, _) in ACTIONS.items():
        click.echo(f"  {key}  {text}")
    click.echo("  q  the end: all invoices, and whether the books agree\n")


def _browse(*pages: str) -> None:
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        for page in pages:
            webbrowser.open(page)


async def _live(player: Player, signals: EndSignals) -> None:
    end = asyncio.Event()
    signals.call(end.set)
    async with _keys() as pressed:
        while not end.is_set():
            key = asyncio.create_task(pressed.get())
            ended = asyncio.create_task(end.wait())
            await asyncio.wait({key, ended}, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if not key.done():
                key.cancel()
                return
            if key.result() == "q":
                return
            action = ACTIONS.get(key.result())
            if action is not None:
                click.echo(f"- {action[1]}")
                trouble = await _act(player, action[0])
                if trouble is not None:
                    click.echo(trouble, err=True)


@asynccontextmanager
async def _keys() -> AsyncIterator[asyncio.Queue[str]]:
    """Single keys from the terminal; none where there is no terminal."""
    pressed: asyncio.Queue[str] = asyncio.Queue(maxsize=16)
    if not sys.stdin.isatty():
        yield pressed
        return
    loop = asyncio.get_running_loop()

    def read() -> None:
        for key in os.read(sys.stdin.fileno(), 16).decode(errors="ignore"):
            with contextlib.suppress(asyncio.QueueFull):
                pressed.put_nowait(key)

    with _one_key_at_a_time():
        loop.add_reader(sys.stdin.fileno(), read)
        try:
            yield pressed
        finally:
            loop.remove_reader(sys.stdin.fileno())


@contextmanager
def _one_key_at_a_time() -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin.fileno())
    tty.setcbreak(sys.stdin.fileno())
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
