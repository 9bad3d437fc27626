"""From a packet to named fields.

Card data ends here: a card number leaves truncated, tracks, expiry dates, passwords and PIN data not at all, and
texts go through the scrubber. What a packet says beyond that stands in its `fields`, by the names that
`chargetill zvt decode` prints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from hw.terminals.zvt import tlv
from hw.terminals.zvt.errors import ZvtError
from hw.terminals.zvt.packet import Packet, spelled
from hw.terminals.zvt.tables import BMPS, COMMANDS, NEGATIVE, POSITIVE, Bmp, Command
from hw.terminals.zvt.text import decode_text, scrub_line
from hw.terminals.zvt.tlv import Tlv
from hw.terminals.zvt.values import HIDDEN_WHOLE, Value, decode_value, packed
from hw.terminals.zvt.words import WRONG_CURRENCY

STATUS: Final = 0x040F
INTERMEDIATE: Final = 0x04FF
COMPLETION: Final = 0x060F
ABORTED: Final = 0x061E
READ_CARD: Final = 0x06C0
YES: Final = 0x8000

_CONTAINER: Final = 0x06

_PASSWORD_BYTES: Final = 3


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A packet that has been understood. `tlv` is the container's content, empty where there is none."""

    command: int
    name: str
    fields: dict[str, Value]
    tlv: tuple[Tlv, ...] = ()

    def number(self, name: str) -> int | None:
        """A field that is an integer; None where it is missing."""
        value = self.fields.get(name)
        return value if isinstance(value, int) else None

    def text(self, name: str) -> str | None:
        """A field that is text; None where it is missing."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else None


def known(command: int) -> Command | None:
    """What the protocol says of a command."""
    if command == YES:
        return POSITIVE
    if command >> 8 == YES >> 8 | 4:
        return NEGATIVE if command & 0xFF else POSITIVE
    return COMMANDS.get(command)


def parse(packet: Packet) -> Message:
    """The fields of a packet. Raises ZvtError with the place of what does not fit."""
    command = known(packet.command)
    if command is None:
        raise ZvtError(f"{spelled(packet.command)} is no command", offset=0)
    parser = _Parser(packet)
    try:
        parser.run(command)
    except ZvtError as e:
        head = 3 if len(packet.data) < 0xFF else 5
        raise ZvtError(f"{command.name}: {e.what}", offset=head + e.offset) from None
    return Message(command=packet.command, name=command.name, fields=parser.fields, tlv=parser.tlv)


def show(message: Message) -> dict[str, object]:
    """What may be shown of a message: `{"command", "name", "fields"}`, the container as a tree."""
    fields: dict[str, object] = dict(message.fields)
    if message.tlv:
        fields["tlv"] = tlv.describe(message.tlv)
    return {"command": spelled(message.command), "name": message.name, "fields": fields}


class _Parser:
    """Walks over the data of one packet; `fields` and `tlv` are what it found."""

    def __init__(self, packet: Packet) -> None:
        self._command = packet.command
        self._data = packet.data
        self.fields: dict[str, Value] = {}
        self.tlv: tuple[Tlv, ...] = ()

    def run(self, command: Command) -> None:
        match command.layout:
            case "bmps":
                self._bmps(0)
            case "nothing":
                if self._data:
                    raise ZvtError("data where none belongs", offset=0)
            case "password":
                self._first_that_fits((self._after_password, self._bmps_only))
            case "password?" | "status enquiry":
                self._first_that_fits((self._bmps_only, self._after_password))
            case "registration":
                self._first_that_fits((self._registration_with_currency, self._registration))
            case "intermediate status":
                self._intermediate()
            case "completion":
                self._completion()
            case "abort":
                self._abort()
            case "read card":
                self.fields["timeout_s"] = self._byte(0, "the timeout")
                self._bmps(1)
            case "print line":
                self._print_line()
            case "byte":
                self.fields["value"] = self._byte(0, "the value")
                self._bmps(1)
            case "acknowledgement":
                self._acknowledgement()
            case "vendor function":
                self._vendor_function()
            case "unknown":  # what cannot be read cannot be scrubbed
                self.fields["data"] = HIDDEN_WHOLE
        self._lift()

    def _first_that_fits(self, ways: tuple[Callable[[], None], ...]) -> None:
        """The first reading that takes all of the data. Where none does, the error that came furthest."""
        furthest: ZvtError | None = None
        for way in ways:
            self.fields, self.tlv = {}, ()
            try:
                way()
            except ZvtError as e:
                furthest = e if furthest is None or e.offset > furthest.offset else furthest
            else:
                return
        assert furthest is not None
        raise furthest

    def _bmps_only(self) -> None:
        self._bmps(0)

    def _after_status(self) -> None:
        self.fields["status_code"] = self._byte(0, "the status")
        self._bmps(1)

    def _after_password(self) -> None:
        self._password()
        self._bmps(_PASSWORD_BYTES)

    def _password(self) -> None:
        if not self._slice(0, _PASSWORD_BYTES, "the password").hex().isdecimal():
            raise ZvtError("the password is not in BCD", offset=0)
        self.fields["password"] = HIDDEN_WHOLE

    def _registration(self) -> None:
        self._password()
        self.fields["config_byte"] = self._byte(_PASSWORD_BYTES, "the config byte")
        self._bmps(_PASSWORD_BYTES + 1)

    def _registration_with_currency(self) -> None:
        self._password()
        self.fields["config_byte"] = self._byte(_PASSWORD_BYTES, "the config byte")
        at = _PASSWORD_BYTES + 1
        if len(self._data) > at:
            self.fields["currency"] = packed(self._slice(at, at + 2, "the currency"), "the currency", at)
            at += 2
        self._bmps(at)

    def _intermediate(self) -> None:
        self.fields["status_code"] = self._byte(0, "the status")
        if len(self._data) > 1:
            self.fields["timeout_min"] = packed(self._data[1:2], "the timeout", 1)
        self._bmps(2)

    def _completion(self) -> None:
        """Four forms: BMPs; after a status enquiry a version, a status byte and a container, or these without the
        version; and the plain text of a cVEND's system information.
        """
        data = self._data
        if data[:1] >= b"\xf0":
            size, at = self._var_length(0, 3, "the software version")
            version = self._slice(at, at + size, "the software version")
            self.fields["software_version"] = scrub_line(decode_text(version))
            self.fields["status_code"] = self._byte(at + size, "the status")
            self._bmps(at + size + 1)
        elif len(data) >= 36 and data.isascii() and data.decode().isprintable():
            text = scrub_line(data.decode())
            terminal_id = text[25:33].strip()
            self.fields["device_id"] = text[:8]
            self.fields["software_version"] = text[8:25].strip()
            self.fields["terminal_id"] = int(terminal_id) if terminal_id.isdecimal() else terminal_id
            rest = text[33:]
            if len(rest) > 4:
                self.fields["battery"], rest = rest[:4], rest[4:]
            self.fields["temperature"] = rest
        elif len(data) == 1:
            self._after_status()
        else:
            self._first_that_fits((self._bmps_only, self._after_status))

    def _abort(self) -> None:
        if self._command == ABORTED:
            self.fields["error_code"] = self._byte(0, "the error code")
        if self._data[:1] == bytes((WRONG_CURRENCY,)):
            self._first_that_fits((self._abort_with_currency, self._abort_plain))
        else:
            self._bmps(1)

    def _abort_plain(self) -> None:
        self.fields["error_code"] = self._data[0]
        self._bmps(1)

    def _abort_with_currency(self) -> None:
        self.fields["error_code"] = self._data[0]
        if len(self._data) > 1:
            self.fields["currency"] = packed(self._slice(1, 3, "the currency"), "the currency", 1)
        self._bmps(3)

    def _print_line(self) -> None:
        self.fields["attribute"] = self._byte(0, "the attribute")
        text_end = len(self._data)
        at = self._data.find(_CONTAINER, 1)
        while at >= 0:
            try:
                objects, end = tlv.container(self._data, at + 1)
            except ZvtError:
                end = -1
            if end == len(self._data):
                self.tlv, text_end = objects, at
                break
            at = self._data.find(_CONTAINER, at + 1)
        line = decode_text(self._data[1:text_end], tlv.charset(self.tlv))
        self.fields["lines"] = [scrub_line(line)]

    def _acknowledgement(self) -> None:
        if self._command & 0xFF:
            self.fields["error_code"] = self._command & 0xFF
        before = dict(self.fields)
        try:
            self._bmps(0)
        except ZvtError:
            self.fields, self.tlv = before, ()
            self.fields["data"] = HIDDEN_WHOLE  # what a customer typed, for instance

    def _vendor_function(self) -> None:
        at = 0
        if len(self._data) == _PASSWORD_BYTES + 2:
            self._password()
            at = _PASSWORD_BYTES
        self.fields["function"] = int.from_bytes(self._slice(at, at + 2, "the function"), "big")
        self._bmps(at + 2)

    def _lift(self) -> None:
        """Out of the container what has a field of its own."""
        if not self.tlv:
            return
        chars = tlv.charset(self.tlv)
        lines = [scrub_line(decode_text(line, chars)) for line in tlv.every(self.tlv, "07")]
        if lines or self._command == 0x06D3:
            self.fields.setdefault("lines", lines)
        for tag, name in (("1F40", "device_name"), ("1F41", "software_version"), ("1F17", "error_text")):
            value = tlv.find(self.tlv, tag)
            if value is not None:
                self.fields.setdefault(name, scrub_line(decode_text(value, chars)))
        terminal_id = tlv.find(self.tlv, "1F44")
        if terminal_id is not None and terminal_id.hex().isdecimal():
            self.fields.setdefault("terminal_id", int(terminal_id.hex()))
        numbers = _receipts(self.tlv)
        if numbers:
            self.fields["open_receipts"] = numbers

    def _bmps(self, at: int) -> None:
        """BMPs from `at` to the end of the data."""
        while at < len(self._data):
            number = self._data[at]
            field = BMPS.get(number)
            if field is None:
                raise ZvtError(f"{number:02X} is no BMP", offset=at)
            at = self._field(field, f"BMP {number:02X}", at + 1)

    def _field(self, field: Bmp, what: str, at: int) -> int:
        """One BMP's value at `at`; returns where it ends."""
        if field.kind == "tlv":
            if self.tlv:
                raise ZvtError(f"{what} stands twice", offset=at - 1)
            self.tlv, end = tlv.container(self._data, at)
            return end
        if isinstance(field.length, int):
            size = field.length
        else:
            size, at = self._var_length(at, len(field.length), what)
        data = self._slice(at, at + size, what)
        name = self._name(field)
        if field.kind == "line":
            lines = self.fields.setdefault("lines", [])
            assert isinstance(lines, list)
            lines.append(scrub_line(decode_text(data)))  # type: ignore[arg-type]
            return at + size
        if name in self.fields:
            raise ZvtError(f"{what} stands twice", offset=at)
        self.fields[name] = decode_value(field, data, what, at)
        return at + size

    def _name(self, field: Bmp) -> str:
        """BMP 19 means three things, by the command that it stands in."""
        if field.name == "payment_type":
            return {COMPLETION: "status_byte", READ_CARD: "card_type"}.get(self._command, field.name)
        return field.name

    def _var_length(self, at: int, digits: int, what: str) -> tuple[int, int]:
        """LLVAR and LLLVAR: a decimal digit in the low half of each byte, F in the high half."""
        coded = self._slice(at, at + digits, f"the length of {what}")
        size = 0
        for byte in coded:
            if byte >> 4 != 0xF or byte & 0xF > 9:
                raise ZvtError(f"the length of {what} is not coded as F0 to F9", offset=at)
            size = 10 * size + (byte & 0xF)
        return size, at + digits

    def _byte(self, at: int, what: str) -> int:
        return self._slice(at, at + 1, what)[0]

    def _slice(self, at: int, end: int, what: str) -> bytes:
        if end > len(self._data):
            raise ZvtError(
                f"{what} takes {end - at} bytes, {max(0, len(self._data) - at)} are left", offset=at
            )
        return self._data[at:end]


def _receipts(objects: tuple[Tlv, ...]) -> list[int]:
    """The receipt numbers in the list of open pre-authorizations (tag 23, each in a tag 08)."""
    numbers = []
    for top in objects:
        for each in top.walk():
            if each.tag != "23":
                continue
            for value in tlv.every(each.children or (), "08"):
                for i in range(0, len(value) - 1, 2):
                    digits = value[i : i + 2].hex()
                    if digits.isdecimal():
                        numbers.append(int(digits))
    return numbers
