"""A recorded conversation with a card: what was said to which application, in order.

Transcripts come from many tools: answers fetched with GET RESPONSE, commands repeated with another Le, selections
that failed, several applications, commands that are none of EMV's. What does not matter is skipped.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edge.emv import apdu, tlv
from edge.emv.apdu import Answer, Command, parse_answer, parse_command
from edge.emv.kernel.selection import PPSE, PSE, kernel_named
from edge.errors import InputError

#: A tap has about ten exchanges; tools that try every file have some thousands.
EXCHANGES_MAX: Final = 10_000

#: A card makes two cryptograms at most; tools ask for its proof more than once.
_CRYPTOGRAMS_MAX: Final = 2
_PROOFS_MAX: Final = 16

#: An extended answer of 64 KiB in hex, and its command.
_LINE_MAX: Final = 4 * 65_536


class Exchange(msgspec.Struct, frozen=True):
    """A command and its whole answer."""

    command: Command
    answer: Answer

    @property
    def ok(self) -> bool:
        return self.answer.sw == apdu.OK


class Spoken(msgspec.Struct):
    """All that was said to one application since it was selected."""

    aid: bytes
    fci: bytes
    kernel: int | None = None
    options: Exchange | None = None
    records: dict[tuple[int, int], Answer] = msgspec.field(default_factory=dict)
    cryptograms: list[Exchange] = msgspec.field(default_factory=list)
    proofs: list[Exchange] = msgspec.field(default_factory=list)
    relay: Exchange | None = None


class Transcript(msgspec.Struct, frozen=True):
    """The exchanges. `torn`: the number of the last line, where it is cut off."""

    exchanges: tuple[Exchange, ...]
    torn: int | None = None


def read(text: bytes) -> Transcript:
    """A transcript as NDJSON of {"c", "r"} in hex. Raises InputError; only the last line may be cut off."""
    lines = text.split(b"\n")
    if len(lines) > EXCHANGES_MAX:
        raise InputError(f"more than {EXCHANGES_MAX} lines")
    exchanges: list[Exchange] = []
    last = max((n for n, line in enumerate(lines, start=1) if line.strip()), default=0)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            exchanges.append(_exchange(line, number))
        except InputError as e:
            half_a_line = e.__cause__ is not None and not text.endswith(b"\n")  # half of JSON is none
            if number == last and (exchanges or half_a_line):
                return Transcript(_joined(exchanges), torn=number)
            raise
    return Transcript(_joined(exchanges))


_FORM: Final = 'a line for each exchange: {"c": command in hex, "r": answer in hex}'


def _exchange(line: bytes, number: int) -> Exchange:
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as e:
        raise InputError(f"line {number} is not JSON", hint=_FORM) from e
    if not isinstance(value, dict):
        raise InputError(f"line {number} is no JSON object", hint=_FORM)
    command, answer = _hex(value, "c", number), _hex(value, "r", number)
    parsed = parse_command(command)
    if parsed is None:
        raise InputError(f"line {number}: c is no command", hint=_FORM)
    return Exchange(parsed, parse_answer(answer) if len(answer) >= 2 else Answer(b"", 0))


def _hex(value: dict[str, Any], name: str, number: int) -> bytes:
    """The bytes; none where there is no answer (the card was gone). The error does not repeat what was given."""
    text = value.get(name)
    if text is None and name == "r" and name in value:
        return b""
    try:
        return bytes.fromhex(text if isinstance(text, str) and len(text) <= _LINE_MAX else "no hex")
    except ValueError:
        raise InputError(f"line {number}: {name} must be bytes in hex", hint=_FORM) from None


def _joined(exchanges: list[Exchange]) -> tuple[Exchange, ...]:
    """Answers that were fetched piece by piece (61xx, GET RESPONSE) as one."""
    joined: list[Exchange] = []
    for each in exchanges:
        if each.command.ins == apdu.GET_RESPONSE and joined and joined[-1].answer.sw >> 8 == 0x61:
            before = joined[-1]
            whole = (before.answer.data + each.answer.data)[: tlv.DATA_MAX]
            joined[-1] = Exchange(before.command, Answer(whole, each.answer.sw))
        else:
            joined.append(each)
    return tuple(joined)


def applications(transcript: Transcript) -> list[Spoken]:
    """What was said to each application that could be selected, in order."""
    spoken: list[Spoken] = []
    kernels: dict[bytes, int] = {}
    now: Spoken | None = None
    for each in transcript.exchanges:
        command = each.command
        if command.ins == apdu.SELECT and command.p1 == 0x04:
            if each.ok:  # else what was selected before still is
                now = _selected(each, kernels)
                spoken += [now] if now is not None else []
        elif now is not None:
            _told(each, now)
    return spoken


def _selected(each: Exchange, kernels: dict[bytes, int]) -> Spoken | None:
    """An application; None for a directory, which may name kernels."""
    name = each.command.data
    try:
        objects = tlv.parse(each.answer.data)
    except tlv.TlvError:
        objects = ()
    if name in (PPSE, PSE):
        for entry in (o for top in objects for o in top.walk() if o.tag == "61"):
            adf, kernel = tlv.find((entry,), "4F"), kernel_named(tlv.find((entry,), "9F2A"))
            if adf and kernel is not None:
                kernels[adf] = kernel
        return None
    aid = tlv.find(objects, "84") or name
    named = [kernel for adf, kernel in kernels.items() if aid.startswith(adf)]
    kernel = named[-1] if named else kernel_named(tlv.find(objects, "9F2A"))
    return Spoken(aid=aid, fci=each.answer.data, kernel=kernel)


def _told(each: Exchange, to: Spoken) -> None:
    command = each.command
    match command.ins:
        case apdu.GET_PROCESSING_OPTIONS if command.cla == 0x80:
            if each.ok or to.options is None:
                to.options = each
                to.cryptograms, to.proofs, to.relay = [], [], None
        case apdu.READ_RECORD if command.p2 & 7 == 0x04 and each.answer.sw:
            to.records[command.p2 >> 3, command.p1] = each.answer
        case apdu.GENERATE_AC if command.cla & 0xF0 == 0x80 and each.ok:
            to.cryptograms += [each] if len(to.cryptograms) < _CRYPTOGRAMS_MAX else []
        case apdu.INTERNAL_AUTHENTICATE if each.ok:
            to.proofs += [each] if len(to.proofs) < _PROOFS_MAX else []
        case apdu.EXCHANGE_RELAY_RESISTANCE_DATA if command.cla == 0x80 and each.ok:
            to.relay = each
        case _:
            pass
