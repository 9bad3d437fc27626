"""`chargetill demo`: the main job in front of you, on virtual hardware that speaks the real protocols."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from edge.cli.call import NO, Call, command


@click.command("demo")
@click.option("--once", is_flag=True, help="play the built-in story unattended and check all books")
@click.option("--story", type=click.Path(path_type=Path), help="play another one, unattended")
@click.option("--mosquitto", is_flag=True, help="the system's mosquitto instead of the embedded broker")
@click.option("--pcsc", is_flag=True, help="pcscd with a virtual reader instead of nfcpy's")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(".demo"), show_default=True, help="its ledger"
)
@command
def demo(call: Call, story: Path | None, folder: Path, *, once: bool, mosquitto: bool, pcsc: bool) -> None:
    """A virtual charger to play with. The driver's screen opens on localhost; keys and buttons do the rest."""
    from edge.cli.demo.stage import Parts
    from edge.cli.demo.story import BUILT_IN, load

    folder = folder.absolute()
    parts = Parts(mosquitto=mosquitto, pcsc=pcsc)
    chosen = BUILT_IN if story is None else load(story)
    by_hand = not (once or story is not None)
    try:
        found = asyncio.run((_by_hand if by_hand else _unattended)(folder, chosen, parts=parts))
    except asyncio.CancelledError:
        raise click.Abort from None
    from edge.cli.demo.books import told

    call.say(found, told(found, folder / "till.db"))
    if by_hand and not call.json:
        click.echo(f"the ledger stays in {folder}/till.db; `chargetill --db {folder}/till.db invoice list`")
    if not found["agree"]:
        raise click.exceptions.Exit(NO)


async def _by_hand(folder: Path, story: Any, *, parts: Any) -> dict[str, Any]:
    from edge.cli.demo.person import play

    return await play(folder, story, parts=parts)


async def _unattended(folder: Path, story: Any, *, parts: Any) -> dict[str, Any]:
    from edge.cli.demo import books
    from edge.cli.demo.player import Player
    from edge.cli.demo.signals import EndSignals
    from edge.cli.demo.stage import Stage

    signals = EndSignals()
    stage = await Stage.build(folder, story, parts=parts)
    try:
        await Player(stage).play()
        return await asyncio.to_thread(books.collect, stage)
    finally:
        signals.ignore()
        await stage.close()
