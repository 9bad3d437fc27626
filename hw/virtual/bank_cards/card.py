"""A bank card or a phone in the field: the directory of its applications (PPSE), and one that is selected."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from edge.emv.tlv import encode
from hw.virtual.bank_cards.application import Application, data_of
from hw.virtual.cards import ATS, NO_SUCH_COMMAND, NOT_FOUND, OK

PPSE: Final = b"2PAY.SYS.DDF01"

_SELECT: Final = b"\x00\xa4\x04"
_PARTIAL_MIN: Final = 5


class BankCard:
    """Implements hw.virtual.cards.VirtualCard. Applications stand in order of priority.

    `uid`: None is a phone, which draws another one at each tap.
    """

    sak = 0x20
    ats = ATS

    def __init__(
        self, applications: Sequence[Application], *, uid: bytes | None, draw: random.Random
    ) -> None:
        self.applications = tuple(applications)
        self._uid = uid
        self._draw = draw
        self._selected: Application | None = None

    def enter(self) -> bytes:
        self._selected = None
        for application in self.applications:
            application.reset()
        return self._uid if self._uid is not None else b"\x08" + self._draw.randbytes(3)

    def apdu(self, command: bytes) -> bytes | None:
        if len(command) < 4:
            return NO_SUCH_COMMAND
        if command[:3] == _SELECT:
            return self._select(data_of(command), following=command[3] == 0x02)
        return NO_SUCH_COMMAND if self._selected is None else self._selected.command(command)

    def _select(self, name: bytes, *, following: bool) -> bytes:
        """By name, by the beginning of a name, and on to the next one that begins so (ISO/IEC 7816-4, 11.1.1)."""
        if name == PPSE:
            return self._directory()
        fitting = [a for a in self.applications if a.aid.startswith(name) and len(name) >= _PARTIAL_MIN]
        if following and self._selected in fitting:
            fitting = fitting[fitting.index(self._selected) + 1 :]
        if not fitting:
            return NOT_FOUND
        self._selected = fitting[0]
        self._selected.reset()
        return self._selected.fci(1 + self.applications.index(self._selected))

    def _directory(self) -> bytes:
        self._selected = None
        entries = b"".join(
            encode(
                "61",
                encode("4F", application.aid)
                + encode("50", application.label.encode())
                + encode("87", bytes((priority,)))
                + encode("9F2A", bytes((application.kernel,))),
            )
            for priority, application in enumerate(self.applications, start=1)
        )
        return encode("6F", encode("84", PPSE) + encode("A5", encode("BF0C", entries))) + OK
