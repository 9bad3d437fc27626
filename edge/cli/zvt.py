"""`chargetill zvt`: what a till and its payment terminal said to each other, without what nobody may see."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import click

from edge.cli.call import NO, Call, command, encode
from edge.errors import InputError

if TYPE_CHECKING:
    from io import BufferedIOBase

    from hw.terminals.zvt.packet import Framing, Piece

#: Read at once; captures come through pipes and a person may be typing them.
_CHUNK: Final = 4_096

#: The longest packet in hex as a serial block, with a separator after each byte.
_LINE_MAX: Final = 3 * 2 * 66_000

_SEPARATORS: Final = b" \t\r\n:-,"


@click.group()
def zvt() -> None:
    """Look into what was said to a payment terminal; card numbers and passwords are never shown whole."""


@zvt.command()
@click.option("--hex", "as_hex", is_flag=True, help="one packet a line, in hex digits")
@click.option("--serial", is_flag=True, help="serial blocks: DLE STX packet DLE ETX CRC")
@command
def decode(call: Call, *, as_hex: bool, serial: bool) -> None:
    """Packets from standard input, back to back; a line of JSON for each."""
    stream = sys.stdin.buffer
    failed = False
    for piece in _lines(stream, serial=serial) if as_hex else _pieces(stream, serial=serial):
        line = _answer(piece)
        if line is not None:
            failed = failed or "error" in line
            if not call.line(encode(line)):
                break  # the packets may have no end
    if failed:
        sys.exit(NO)


def _answer(piece: Piece | InputError) -> dict[str, object] | None:
    """The line for a piece; None for a serial receiver's single byte, which is no packet."""
    from hw.terminals.zvt.errors import ZvtError
    from hw.terminals.zvt.message import parse, show
    from hw.terminals.zvt.packet import Acknowledged, Fault, Packet

    match piece:
        case Packet():
            try:
                return show(parse(piece))
            except ZvtError as e:
                return {"error": e.as_json()}
        case Fault(error=error) | (InputError() as error):
            return {"error": error.as_json()}
        case Acknowledged():
            return None


def _pieces(stream: BinaryIO, *, serial: bool) -> Iterator[Piece]:
    framing = _framing(serial=serial)
    while data := _read(stream):
        yield from framing.feed(data)
    rest = framing.rest()
    if rest is not None:
        yield rest


def _read(stream: BinaryIO) -> bytes:
    """What is there, without waiting for a full buffer."""
    return cast("BufferedIOBase", stream).read1(_CHUNK)


def _lines(stream: BinaryIO, *, serial: bool) -> Iterator[Piece | InputError]:
    from hw.terminals.zvt.errors import ZvtError
    from hw.terminals.zvt.packet import Fault
    from hw.terminals.zvt.packet import decode as packet

    number = 0
    while line := stream.readline(_LINE_MAX):
        number += 1
        digits = line.translate(None, _SEPARATORS)
        if not digits:
            continue
        try:
            data = bytes.fromhex(digits.decode("ascii"))
        except ValueError:
            yield InputError(
                f"line {number} is not hex", hint="two digits 0-9, A-F for each byte of a packet"
            )
            continue
        if serial:
            framing = _framing(serial=True)
            yield from framing.feed(data)
            rest = framing.rest()
            if rest is not None:
                yield rest
            continue
        try:
            yield packet(data)
        except ZvtError as e:
            yield Fault(e)


def _framing(*, serial: bool) -> Framing:
    from hw.terminals.zvt.packet import RawFraming, SerialFraming

    return SerialFraming() if serial else RawFraming()
