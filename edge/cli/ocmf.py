"""`chargetill ocmf`: whether a meter's signed values are what the meter signed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from edge.cli.call import NO, Call, command, encode
from edge.errors import TillError

if TYPE_CHECKING:
    from edge.metering.ocmf.keys import Key
    from edge.metering.ocmf.record import Record
    from edge.metering.ocmf.safe_xml import Value
    from edge.metering.ocmf.signature import Status

FILE_BYTES_MAX = 8 * 1024 * 1024  # ten thousand records of the usual size
RECORDS_MAX = 10_000


class FileUnreadable(TillError):
    code = "file.unreadable"
    hint = "check the path and who may read it"


class Line(msgspec.Struct, kw_only=True):
    """One line of the answer. `record` counts from 1 within the file, times have the meter's offset.

    `reason` says why a record is not valid, or what the meter itself objects to in one that is.
    """

    file: str
    record: int
    status: Status
    reason: str | None = None
    key_source: Literal["given", "file"] | None = None
    begin: datetime | None = None
    end: datetime | None = None
    energy_wh: int | Decimal | None = None


class Checked(msgspec.Struct):
    """A line with what it was made from."""

    line: Line
    record: Record | None = None
    key: Key | None = None
    transaction_id: str | None = None


@click.group()
def ocmf() -> None:
    """Signed meter values in the Open Charge Metering Format."""


@ocmf.command()
@click.argument("files", metavar="F..", nargs=-1, required=True)
@click.option("--public-key", metavar="HEX/BASE64/FILE", help="the meter's key; it overrides one in the file")
@command
def verify(call: Call, files: tuple[str, ...], public_key: str | None) -> None:
    """Check every record of raw OCMF files and of S.A.F.E. XML: a line of JSON per record.

    Exit 1 unless all are valid.
    """
    given = None if public_key is None else _given_key(public_key)
    all_valid = True
    for path in files:
        file = os.fsencode(path).decode("utf-8", "replace")  # a name may hold bytes that JSON cannot
        try:
            checked = _check(file, _read(path), given)
        except TillError as e:
            call.line(encode({"file": file, "error": e.as_json()}))
            all_valid = False
            continue
        for found in checked:
            call.line(encode(found.line))
            all_valid &= found.line.status == "valid"
    sys.exit(0 if all_valid else NO)


def _given_key(text: str) -> Key:
    """The key of the option: a file where there is one of that name, else the key itself."""
    from edge.metering.ocmf import keys

    try:
        is_file = Path(text).is_file()
    except (OSError, ValueError):  # a key is longer than a file name may be
        is_file = False
    return keys.from_file(_read(text)) if is_file else keys.from_text(text)


def _read(file: str) -> bytes:
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else str(e)
        raise FileUnreadable(f"{_short(file)}: {reason}") from e
    if len(data) > FILE_BYTES_MAX:
        raise FileUnreadable(
            f"{_short(file)}: more than {FILE_BYTES_MAX} bytes", hint="check fewer records at once"
        )
    return data


def _short(file: str) -> str:
    """A path in a message: printable, and no longer than a line."""
    return os.fsencode(file).decode("utf-8", "replace")[-100:]


def _check(file: str, data: bytes, given: Key | None) -> list[Checked]:
    from edge.metering.ocmf import safe_xml
    from edge.metering.ocmf.errors import ContainerUnreadable
    from edge.metering.ocmf.record import split

    if safe_xml.looks_like_xml(data):
        checked = [
            _check_value(file, number, value, given)
            for number, value in enumerate(safe_xml.read(data), start=1)
        ]
        _check_transactions(checked)
        return checked
    records = split(data)
    if not records:
        raise ContainerUnreadable(f"{_short(file)}: no OCMF record")
    if len(records) > RECORDS_MAX:
        raise FileUnreadable(
            f"{_short(file)}: {len(records)} records; at most {RECORDS_MAX}",
            hint="check fewer records at once",
        )
    source: Literal["given"] | None = None if given is None else "given"
    return [
        _check_record(Line(file=file, record=number, status="invalid", key_source=source), raw, given)
        for number, raw in enumerate(records, start=1)
    ]


def _check_value(file: str, number: int, value: Value, given: Key | None) -> Checked:
    """One value of an XML file, with the given key or its own."""
    line = Line(file=file, record=number, status="invalid")
    try:
        raw = value.record()
        if raw is None:
            line.status, line.reason = "unsupported", f"{(value.format or 'this')[:40]} is not OCMF"
            return Checked(line)
        key = given
        if given is not None:
            line.key_source = "given"
        elif value.key and value.key.strip():
            line.key_source = "file"
            key = value.public_key()
    except TillError as e:
        line.reason = e.message
        return Checked(line)
    checked = _check_record(line, raw, key)
    checked.transaction_id = value.transaction_id
    return checked


def _check_record(line: Line, raw: bytes, key: Key | None) -> Checked:
    from edge.metering.ocmf import chain, keys, reading, record, signature
    from edge.metering.ocmf.errors import KeyUnreadable, RecordMalformed
    from edge.metering.ocmf.keys import ForeignKey

    try:
        found = record.parse(raw)
    except RecordMalformed as e:
        line.reason = e.message
        if isinstance(key, ForeignKey):
            line.status, line.reason = "unsupported", f"{e.message}, and {key.kind}"
        return Checked(line)
    if key is None and found.key is not None:
        line.key_source = "file"
        try:
            key = keys.from_text(found.key)
        except KeyUnreadable as e:
            line.reason = e.message
            return Checked(line)
    verdict = signature.verify(found, key)
    line.status, line.reason = verdict.status, verdict.reason
    if verdict.status == "invalid":
        return Checked(line)  # what it says is nobody's word
    line.begin = reading.time_of(found.readings, end=False)
    line.end = reading.time_of(found.readings, end=True)
    told = chain.check([found])
    line.energy_wh = _plain(told.energy_wh)
    if chain.is_complete(found):
        line.reason = line.reason or "; ".join(told.contradictions + told.alarms) or None
    return Checked(line, found, key)


def _check_transactions(checked: Sequence[Checked]) -> None:
    """Begin and end as values of one transaction: the end tells its energy, if all tell of one charge.

    Genuine records of different charges, or of different keys, put together, are a forged receipt: invalid.
    """
    from edge.metering.ocmf import chain
    from edge.metering.ocmf.keys import PublicKey

    for parts, end in _transactions(checked):
        if any(c.line.status != "valid" for c in parts):
            continue
        found = chain.check([c.record for c in parts if c.record is not None])
        objections = list(found.contradictions)
        if len({c.key.abscissa for c in parts if isinstance(c.key, PublicKey)}) > 1:
            objections.append("records of different keys")
        end.line.energy_wh = None if objections else _plain(found.energy_wh)
        end.line.reason = "; ".join(found.alarms) or None
        for c in parts if objections else ():
            c.line.status = "invalid"
            c.line.reason = f"begin and end are not of one charge: {objections[0]}"


def _transactions(checked: Sequence[Checked]) -> Iterator[tuple[Sequence[Checked], Checked]]:
    """The transactions of one value with the begin, one with the end and any between; and the one with the end."""
    from edge.metering.ocmf.reading import BEGIN, ENDS

    by_transaction: dict[str, list[tuple[Checked, set[str | None]]]] = {}
    for c in checked:
        if c.record is not None and c.transaction_id is not None:
            kinds = {reading.transaction for reading in c.record.readings}
            by_transaction.setdefault(c.transaction_id, []).append((c, kinds))
    for parts in by_transaction.values():
        begins = [c for c, kinds in parts if BEGIN in kinds]
        ends = [c for c, kinds in parts if kinds & ENDS]
        # One half alone proves nothing, and of more nobody knows which belong together.
        if len(begins) == len(ends) == 1 and begins[0] is not ends[0]:
            yield [c for c, _ in parts], ends[0]


def _plain(energy_wh: Decimal | None) -> int | Decimal | None:
    """Whole Wh as an integer, parts of one with their digits."""
    if energy_wh is None or energy_wh != energy_wh.to_integral_value():
        return None if energy_wh is None else energy_wh.normalize()
    return int(energy_wh)
