"""`chargetill emv`: what a card said, without what nobody may see."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import click

from edge.cli.call import NO, Call, command, encode
from edge.errors import CallError, InputError

#: 64 KiB in hex with a space after each byte; what is longer is no answer of a card.
_STDIN_MAX: Final = 3 * 65_536

#: Ten thousand exchanges of the usual size; a file of keys is far smaller.
_FILE_MAX: Final = 8 * 1024 * 1024


class FileUnreadable(CallError):
    code = "file.unreadable"
    hint = "check the path and who may read it"


@click.group()
def emv() -> None:
    """Look into card data; card numbers are never shown whole."""


@emv.command("decode")
@click.argument("hex_digits", metavar="HEX", nargs=-1, required=True)
@command
def decode(call: Call, hex_digits: tuple[str, ...]) -> None:
    """Show BER-TLV as a tree. HEX may have spaces; `-` reads it from standard input."""
    from edge.emv.tree import describe, outline

    text = sys.stdin.read(_STDIN_MAX) if hex_digits == ("-",) else " ".join(hex_digits)
    nodes = describe(_bytes(text))
    call.say(nodes, outline(nodes))


@emv.command("replay")
@click.argument("file", metavar="F")
@click.option(
    "--capk", metavar="F", required=True, help="the certification authorities' public keys, as JSON"
)
@click.option(
    "--at", metavar="DATE", help="the day on which certificates count; default: the transcript's, else today"
)
@command
def replay(call: Call, file: str, capk: str, at: str | None) -> None:
    """Tell what a transcript proves. F holds a line of {"c", "r"} for each exchange, in hex.

    Exit 1 unless the card's data authentication is valid; a transcript that ends too early is not.
    """
    from edge.emv.oda.keys import CaKeys, load
    from edge.emv.replay import judgement, transcript

    on = None if at is None else _date(at)
    keys = CaKeys(load(_read(capk)))
    found = judgement.judge(transcript.read(_read(file)), keys, at=on, today=datetime.now(UTC).date())
    call.line(encode(found))
    sys.exit(0 if found.oda.result == "valid" else NO)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"--at: {text[:20]!r} is no date", hint="such as 2026-12-24") from None


def _read(file: str) -> bytes:
    """The whole file; `-` is standard input."""
    try:
        if file == "-":
            data = sys.stdin.buffer.read(_FILE_MAX + 1)
        else:
            with Path(file).open("rb") as stream:
                data = stream.read(_FILE_MAX + 1)
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else str(e)
        raise FileUnreadable(f"{file[-100:]}: {reason}") from e
    if len(data) > _FILE_MAX:
        raise FileUnreadable(f"{file[-100:]}: more than {_FILE_MAX} bytes", hint="replay less at once")
    return data


def _bytes(text: str) -> bytes:
    """The bytes of hex digits in pairs. The error does not repeat what was given: it may be card data."""
    digits = "".join(text.split())
    for i, c in enumerate(digits):
        if c not in "0123456789abcdefABCDEF":
            raise InputError(f"digit {i + 1} is not hexadecimal", hint="two digits 0-9, A-F for each byte")
    if len(digits) % 2:
        raise InputError(f"an odd number of hex digits ({len(digits)})", hint="the last byte is half there")
    if not digits:
        raise InputError("no data", hint="BER-TLV in hex, such as 6F00")
    return bytes.fromhex(digits)
