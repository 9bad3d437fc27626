"""`chargetill demo`: the main job in front of you, on virtual hardware that speaks the real protocols."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from edge.cli.call import NO, Call, command, encode


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
    if not (once or story is not None):
        from edge.cli.demo.person import play

        asyncio.run(play(folder, chosen, parts=parts))
        return
    found = asyncio.run(_unattended(folder, chosen, parts=parts))
    click.echo(encode(found) if call.json else _text(found, folder))
    if not found["agree"]:
        raise click.exceptions.Exit(NO)


async def _unattended(folder: Path, story: Any, *, parts: Any) -> dict[str, Any]:
    from edge.cli.demo import books
    from edge.cli.demo.player import Player
    from edge.cli.demo.stage import Stage

    stage = await Stage.build(folder, story, parts=parts)
    try:
        await Player(stage).play()
        return await asyncio.to_thread(books.collect, stage)
    finally:
        await stage.close()


def _text(found: dict[str, Any], folder: Path) -> str:
    from edge.documents.invoice_text import invoice_text
    from edge.store.reading import Reading

    with Reading(folder / "till.db") as db:
        receipts = [invoice_text(invoice) for invoice in db.invoices()]
    ledger = found["till"]["ledger"]
    summary = (
        f"ledger verify: {ledger.entries} entries, {ledger.sessions} sessions, "
        f"{ledger.invoices} invoices, {len(ledger.problems)} problems"
    )
    checks = [f"  {'yes' if c.ok else 'NO '}  {c.name}: {c.found}" for c in found["checks"]]
    return "\n".join(
        [
            found["story"],
            "",
            *(receipt + "\n" for receipt in receipts),
            summary,
            *checks,
            "all books agree" if found["agree"] else "the books do not agree",
        ]
    )
