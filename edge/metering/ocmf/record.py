"""An OCMF record: the signed bytes as they came, and what they say.

`OCMF|{payload}|{signature}` (OCMF 1.2). The signature covers the payload's bytes, so those are kept and never
written again from the parsed JSON. Payload and signature part at the last `|{`: a careless meter lets a `|`
into a text. The transparency software also takes `OCMF|{payload}|{signature}|key`, and all of it in hex.
"""

from __future__ import annotations

import contextlib
import json
import re
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

from edge.metering.ocmf.algorithms import DEFAULT
from edge.metering.ocmf.errors import RecordMalformed
from edge.metering.ocmf.reading import Reading, exact, readings

HEADER = b"OCMF|"
RECORD_BYTES_MAX = 65_536  # the longest files of meters are 4 KB; a record with all readings of a day 30 KB
TARIFF_TEXT_MAX = 250  # OCMF 1.2, table 4
_CUT = re.compile(rb"\|\s*\{")
_KEY = re.compile(rb"\}\s*\|([^{}|]*)\Z")
_HEX_HEADER = HEADER.hex().encode()
_HEX_RECORDS_MAX = 10_000  # as many as a file of the size that is read holds
_SEVERAL = re.compile(
    rb"(?:\A\s*|[\r\n}][ \t]*)(?=OCMF\|\s*\{)"
)  # linear: a file of white space is read once
_PAGINATION = re.compile(r"([A-Z])0*([0-9]{1,18})")
_FORBIDDEN = {ord("|"): "/", ord('"'): "'", ord("\\"): "/", ord("€"): "EUR", ord("\u00df"): "ss"}


class Pagination(msgspec.Struct, frozen=True):
    """The place of a record in its meter's series: `T12` is number 12 of the transaction context."""

    context: str
    number: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One record. `raw` is all of it, `payload` what is signed; texts that the meter left out are None.

    `key` is the text of a public key behind the signature, which is no part of the format.
    """

    raw: bytes
    payload: bytes
    readings: tuple[Reading, ...]
    pagination: Pagination | None
    gateway_serial: str | None
    meter_serial: str | None
    identification: str | None
    tariff_text: str | None
    evse_id: str | None
    algorithm: str
    signature_encoding: str
    signature_mime: str
    signature_data: str
    key: str | None = None

    @property
    def source(self) -> tuple[str | None, str | None]:
        """Who measured: gateway and meter (OCMF 1.2, relation of serial numbers)."""
        return self.gateway_serial, self.meter_serial


class SignedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record as the meter gave it. `public_key` is DER; `verified` whether it verifies the record.

    A record that does not verify is kept all the same: it is what the meter said.
    """

    ocmf: bytes
    public_key: bytes
    session_id: str | None
    verified: bool


def parse(raw: bytes) -> Record:
    """The record in these bytes; white space around it does not belong to it. Raises RecordMalformed."""
    raw = raw.removeprefix(b"\xef\xbb\xbf").strip()
    if not raw.startswith(HEADER):
        raise RecordMalformed("not an OCMF record")
    if len(raw) > RECORD_BYTES_MAX:
        raise RecordMalformed(f"a record of {len(raw)} bytes")
    cuts = [match.start() for match in _CUT.finditer(raw, len(HEADER))]
    if not cuts:
        raise RecordMalformed("the signature is missing")
    payload, signature = raw[len(HEADER) : cuts[-1]], raw[cuts[-1] + 1 :]
    appended = _KEY.search(signature)
    if appended is not None:
        signature = signature[: appended.start() + 1]
    data, signed = _object(payload, "payload"), _object(signature, "signature")
    return Record(
        raw=raw,
        payload=payload,
        readings=readings(data.get("RD")),
        pagination=_pagination(data.get("PG")),
        gateway_serial=_text(data, "GS"),
        meter_serial=_text(data, "MS"),
        identification=_text(data, "ID"),
        tariff_text=_text(data, "TT"),
        evse_id=_text(data, "CI"),
        algorithm=_given(signed, "SA", DEFAULT),
        signature_encoding=_given(signed, "SE", "hex").lower(),
        signature_mime=_given(signed, "SM", "application/x-der").lower(),
        signature_data=_given(signed, "SD", None),
        key=None if appended is None else appended[1].decode("ascii", "replace").strip() or None,
    )


def split(data: bytes) -> tuple[bytes, ...]:
    """The records of a file that holds one or several, one after another; empty when there is none."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    words = data.split(maxsplit=_HEX_RECORDS_MAX)
    if words and all(word[: len(_HEX_HEADER)].lower() == _HEX_HEADER for word in words):
        with contextlib.suppress(ValueError):
            return tuple(bytes.fromhex(word.decode("ascii")) for word in words)
    starts = [match.end() for match in _SEVERAL.finditer(data)]
    if len(starts) > 1 and len(data) <= RECORD_BYTES_MAX:
        with contextlib.suppress(RecordMalformed):
            return (parse(data).raw,)  # a text within a record looks like another one
    if not starts:
        return (data.strip(),) if data.lstrip().startswith(HEADER) else ()
    return tuple(data[start:end].strip() for start, end in zip(starts, [*starts[1:], len(data)], strict=True))


def sanitized(text: str, *, max_bytes: int) -> str:
    """A text that a meter can sign: printable ASCII without `|`, quotes and backslashes, cut to `max_bytes`.

    `|` would part the record at the wrong place; meters write their JSON without escaping.
    """
    import unicodedata  # noqa: PLC0415  # its tables load slowly, and only writing needs them

    plain = unicodedata.normalize("NFKD", text.translate(_FORBIDDEN))
    kept = "".join(c if " " <= c <= "~" else " " if c.isspace() else "" for c in plain)
    return kept.translate(_FORBIDDEN)[:max_bytes]


def _object(data: bytes, part: str) -> dict[str, Any]:
    try:
        found = json.loads(
            data.decode("utf-8"),
            parse_float=_number,
            parse_int=_number,
            parse_constant=_refuse,
            object_pairs_hook=_unique,
        )
    except UnicodeDecodeError as e:
        raise RecordMalformed(f"the {part} is not UTF-8") from e
    except json.JSONDecodeError as e:
        raise RecordMalformed(f"the {part} is not JSON: {e.msg} at character {e.pos}") from e
    except (_BadJsonError, RecursionError) as e:
        raise RecordMalformed(f"the {part} is not JSON that a meter writes: {e}"[:200]) from e
    if not isinstance(found, dict):
        raise RecordMalformed(f"the {part} is not an object")
    return found


class _BadJsonError(ValueError):
    """JSON that leaves open what it means."""


def _number(digits: str) -> Decimal:
    found = exact(digits)
    if found is None:
        raise _BadJsonError(f"{digits[:40]} is no number of a meter")
    return found


def _refuse(constant: str) -> NoReturn:
    raise _BadJsonError(f"{constant} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _BadJsonError("a key stands twice")
    return found


def _text(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value else None


def _given(data: dict[str, Any], key: str, default: str | None) -> str:
    value = data.get(key, default)
    if not isinstance(value, str):
        raise RecordMalformed(f"the signature has no {key}")
    return value


def _pagination(value: object) -> Pagination | None:
    match = _PAGINATION.fullmatch(value) if isinstance(value, str) else None
    return None if match is None else Pagination(match[1], int(match[2]))
