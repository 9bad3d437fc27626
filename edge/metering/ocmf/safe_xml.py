"""The XML of the S.A.F.E. transparency software: signed values with the keys that verify them.

    <values>
      <value transactionId="7" context="Transaction.Begin">
        <signedData format="OCMF" encoding="plain">OCMF|{..}|{..}</signedData>
        <publicKey encoding="hex">3059..</publicKey>
      </value>
    </values>

A file from anywhere is read: one with a document type is refused before any entity is looked at, and size, depth
and number of values are bounded.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from xml.parsers import expat  # document types, and with them entities, are refused below
from xml.sax.saxutils import escape, quoteattr

import msgspec

from edge.metering.ocmf import keys
from edge.metering.ocmf.errors import ContainerUnreadable, RecordMalformed
from edge.metering.ocmf.keys import Key, PublicKey

XML_BYTES_MAX = 8 * 1024 * 1024  # ten thousand records of the usual size
VALUES_MAX = 10_000
DEPTH_MAX = 16  # the format needs three
_SPACE = " "
_DATA, _KEY = {"signedData", "encodedData"}, {"publicKey"}  # early versions of the software: encodedData
_NOT_IN_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One `value`. `data` and `key` are the texts as they stand there; None where an attribute is missing."""

    data: str
    transaction_id: str | None = None
    context: str | None = None
    format: str | None = None
    encoding: str | None = None
    key: str | None = None
    key_encoding: str | None = None

    def record(self) -> bytes | None:
        """The bytes of the OCMF record; None when the value says that it is in another format.

        Raises RecordMalformed when they cannot be decoded.
        """
        text = self.data.strip()
        said = (self.format or "").strip().lower()  # some backends write it small
        if said not in {"", "ocmf"}:
            return None
        compact = "".join(text.split())
        try:
            match (self.encoding or "plain").strip().lower():
                case "plain":
                    data = text.encode()
                case "hex":
                    data = bytes.fromhex(compact)
                case "base64":
                    data = base64.b64decode(compact, validate=True)
                case "base32":
                    data = base64.b32decode(compact)
                case _:
                    raise RecordMalformed(f"signed data in the unknown encoding {self.encoding!r:.40}")
        except (ValueError, binascii.Error) as e:
            raise RecordMalformed(f"signed data that is no {self.encoding}") from e
        return None if not said and not data.lstrip().startswith(b"OCMF") else data

    def public_key(self) -> Key | None:
        """The key beside the data; None when there is none. Raises KeyUnreadable."""
        return None if self.key is None or not self.key.strip() else keys.from_text(self.key.strip())


class SignedValue(msgspec.Struct, frozen=True, kw_only=True):
    """What `write` puts into one `value`: an OCMF record as the meter gave it, and the meter's key."""

    ocmf: bytes
    public_key: PublicKey
    transaction_id: int
    context: str = "Transaction.End"


def looks_like_xml(data: bytes) -> bool:
    """True for what begins as XML does."""
    return data.startswith((b"\xfe\xff", b"\xff\xfe")) or data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def read(data: bytes) -> tuple[Value, ...]:
    """All values of a file. Raises ContainerUnreadable."""
    if len(data) > XML_BYTES_MAX:
        raise ContainerUnreadable(f"a file of {len(data)} bytes; at most {XML_BYTES_MAX} are read")
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=_SPACE)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data.lstrip(), True)
    except expat.ExpatError as e:
        raise ContainerUnreadable(
            f"not well-formed XML: {expat.ErrorString(e.code)}, line {e.lineno}, column {e.offset + 1}"
        ) from e
    except (LookupError, ValueError) as e:
        raise ContainerUnreadable(f"XML in an encoding that is not read: {e}"[:200]) from e
    if not reader.values:
        raise ContainerUnreadable("XML without signed values")
    return tuple(reader.values)


def write(values: Sequence[SignedValue]) -> bytes:
    """The file for these values, with every byte of the records as it was signed. The keys' curves are known."""
    lines = ['<?xml version="1.0" encoding="UTF-8" standalone="yes"?>', "<values>"]
    for value in values:
        encoding, text = _carried(value.ocmf)
        lines += [
            f'  <value transactionId="{value.transaction_id}" context={quoteattr(value.context)}>',
            f'    <signedData format="OCMF" encoding="{encoding}">{text}</signedData>',
            f'    <publicKey encoding="hex">{keys.to_der(value.public_key).hex().upper()}</publicKey>',
            "  </value>",
        ]
    return "\n".join([*lines, "</values>", ""]).encode()


def _carried(ocmf: bytes) -> tuple[str, str]:
    """Encoding and text of a record: plain where XML can carry every character of it, else base64."""
    try:
        text = ocmf.decode()
    except UnicodeDecodeError:
        text = "\0"
    if _NOT_IN_XML.search(text):
        return "base64", base64.b64encode(ocmf).decode()
    return "plain", escape(text)


class _Reader:
    """Collects values while the parser runs. An element's name is its local one: namespaces do not matter."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._depth = 0
        self._value: dict[str, str] = {}
        self._collecting: str | None = None
        self._text: list[str] = []

    def doctype(self, *_declaration: object) -> None:
        raise ContainerUnreadable("XML with a document type", hint="signed values need none; it is not read")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ContainerUnreadable(f"XML nested deeper than {DEPTH_MAX} elements")
        local = _local(name)
        if self._collecting is not None:
            return
        if local == "value":
            self._value = _present(
                transaction_id=attributes.get("transactionId"), context=attributes.get("context")
            )
        elif local in _DATA or local in _KEY:
            self._collecting, self._text = local, []
            if local in _DATA:
                self._finish(keep=("transaction_id", "context"))  # a second one in the same value
                own = attributes.get("transactionId")
                self._value |= _present(
                    format=attributes.get("format"),
                    encoding=attributes.get("encoding"),
                    transaction_id=self._value.get("transaction_id", own),
                )
            else:
                self._value |= _present(key_encoding=attributes.get("encoding"))

    def text(self, text: str) -> None:
        if self._collecting is not None:
            self._text.append(text)

    def end(self, name: str) -> None:
        self._depth -= 1
        local = _local(name)
        if local == self._collecting:
            self._value["data" if local in _DATA else "key"] = "".join(self._text)
            self._collecting = None
        if self._collecting is None and (local == "value" or self._depth == 0):
            self._finish()

    def _finish(self, keep: tuple[str, ...] = ()) -> None:
        if "data" in self._value:
            if len(self.values) == VALUES_MAX:
                raise ContainerUnreadable(f"XML with more than {VALUES_MAX} signed values")
            self.values.append(msgspec.convert(self._value, Value))
            self._value = {name: text for name, text in self._value.items() if name in keep}
        if not keep:
            self._value = {}


def _local(name: str) -> str:
    return name.rpartition(_SPACE)[2]


def _present(**attributes: str | None) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if value is not None}
