"""`chargetill emv`: what a card said, without what nobody may see."""

from __future__ import annotations

import sys
from typing import Final

import click

from edge.cli.call import Call, command
from edge.errors import InputError

#: 64 KiB in hex with a space after each byte; what is longer is no answer of a card.
_STDIN_MAX: Final = 3 * 65_536


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
