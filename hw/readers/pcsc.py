"""Readers that pcscd drives, through pyscard: whatever has a CCID or PC/SC driver.

pcscd tells when a card comes, so nothing is polled while the reader is idle. Which readers there are may change
at any time, and pcscd itself may be restarted: each of them ends the stream of taps, which is then opened anew.
"""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from edge.errors import CardError, CardLost, CardUnreadable, HardwareError
from edge.ports import CardReader, Clock
from hw.readers.errors import ReaderGone
from hw.readers.response import complete
from hw.readers.stream import Found, TapStream

#: PC/SC part 3, 3.2.2.1.3: Get Data, UID.
_GET_UID: Final = bytes.fromhex("FFCA000000")

#: PC/SC part 3, 3.1.3.2.3: the historical bytes of a storage card's ATR, which has no APDUs of its own.
_STORAGE: Final = bytes.fromhex("804F0CA000000306")

#: How Debian's vsmartcard-vpcd and our own pcscd name its readers.
_VPCD: Final = "Virtual PCD"

#: A card that lies on the reader and cannot be read is tried again after this time.
LOOK_AGAIN_S: Final = 0.3

#: ISO/IEC 14443-3: UIDs have 4, 7 or 10 bytes; a few readers say 8 for ISO/IEC 15693.
_UID_LENGTHS: Final = (4, 7, 8, 10)


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`reader` is a part of the reader's name as `pcsc_scan` shows it; empty takes the only reader there is.

    Whoever reaches vpcd's port can hold a card to its readers, so they are left out unless `virtual` is true.
    """

    reader: Annotated[str, Meta(max_length=128)] = ""
    virtual: bool = False


def create(options: Options, *, clock: Clock) -> CardReader:
    """A card reader that pcscd knows as `options.reader`; it is opened when its taps are asked for."""
    name = f"PC/SC reader {options.reader}".rstrip()
    return TapStream(name, lambda: PcscCoupler(options.reader, virtual=options.virtual), clock=clock)


class PcscCoupler:
    """PC/SC calls, on the reader's thread only."""

    def __init__(self, wanted: str, *, virtual: bool = False) -> None:
        self._wanted = wanted
        self._virtual = virtual
        self._reader = ""
        self._context: Any = None
        self._card: Any = None
        self._protocol = 0
        self._events = 0
        self._lost = False
        self._pause = threading.Event()

    def open(self) -> None:
        s = _scard()
        code, self._context = s.SCardEstablishContext(s.SCARD_SCOPE_USER)
        if code != s.SCARD_S_SUCCESS:
            raise ReaderGone(
                f"pcscd does not answer ({_name(code)})",
                hint="`systemctl status pcscd.socket`; on Debian 13 the service user needs the polkit rule",
            )
        code, names = s.SCardListReaders(self._context, [])
        readers = [name for name in names or () if self._virtual or not name.startswith(_VPCD)]
        if code != s.SCARD_S_SUCCESS or not readers:
            raise ReaderGone("pcscd knows no reader", hint="`pcsc_scan` shows what pcscd sees")
        matching = [name for name in readers if self._wanted in name]
        if not matching:
            raise ReaderGone(f"no PC/SC reader `{self._wanted}`", hint=f"there is {'; '.join(readers)}")
        if len(matching) > 1 and not self._wanted:
            raise ReaderGone(
                f"{len(matching)} PC/SC readers and none is named", hint=f"name one of {'; '.join(readers)}"
            )
        self._reader = matching[0]

    def find(self, within_s: float) -> Found | None:
        s = _scard()
        state = self._status(0, s.SCARD_STATE_UNAWARE)
        if not state & s.SCARD_STATE_PRESENT:
            state = self._status(int(within_s * 1000), state & ~s.SCARD_STATE_CHANGED)
        if not state & s.SCARD_STATE_PRESENT:
            return None
        self._events = state >> 16
        try:
            return self._identify()
        except CardError:
            # It is leaving, or it has no UID: a contact card, or one upside down.
            self._leave()
            self._pause.wait(LOOK_AGAIN_S)
            return None

    def _identify(self) -> Found:
        """Connect, and ask the reader for the card's UID. Raises CardError, ReaderGone."""
        s = _scard()
        code, card, self._protocol = s.SCardConnect(
            self._context, self._reader, s.SCARD_SHARE_SHARED, s.SCARD_PROTOCOL_T0 | s.SCARD_PROTOCOL_T1
        )
        self._check(code)
        self._card, self._lost = card, False
        answer = complete(self.transmit, _GET_UID)
        uid = answer[:-2]
        if answer[-2:] != b"\x90\x00" or len(uid) not in _UID_LENGTHS:
            raise CardUnreadable("the card has no UID")
        code, _, _, _, atr = s.SCardStatus(card)
        self._check(code)
        return Found(uid=uid, speaks=_STORAGE not in bytes(atr))

    def present(self) -> bool:
        s = _scard()
        state = self._status(0, s.SCARD_STATE_UNAWARE)
        still = bool(state & s.SCARD_STATE_PRESENT) and state >> 16 == self._events and not self._lost
        if not still:
            self._leave()
        return still

    def transmit(self, command: bytes) -> bytes:
        s = _scard()
        if self._card is None:
            raise CardLost("the card has left the reader")
        code, answer = s.SCardTransmit(self._card, _pci(s, self._protocol), list(command))
        self._lost = self._lost or not answer
        self._check(code)
        return bytes(answer)

    def close(self) -> None:
        if self._context is not None:
            self._leave()
            _scard().SCardReleaseContext(self._context)
            self._context = None

    def _leave(self) -> None:
        if self._card is not None:
            s = _scard()
            # Neither reset nor power off: where the card has just left, pcscd 1.9 never sees the next one come.
            s.SCardDisconnect(self._card, s.SCARD_LEAVE_CARD)
            self._card = None

    def _status(self, timeout_ms: int, known: int) -> int:
        """The reader's event state (its upper half counts events), at the latest after `timeout_ms`."""
        s = _scard()
        code, states = s.SCardGetStatusChange(self._context, timeout_ms, [(self._reader, known)])
        if code == s.SCARD_E_TIMEOUT:
            return known
        if code != s.SCARD_S_SUCCESS:
            raise ReaderGone(f"the PC/SC reader {self._reader} is gone ({_name(code)})")
        state: int = states[0][1]
        if state & (s.SCARD_STATE_UNKNOWN | s.SCARD_STATE_UNAVAILABLE | s.SCARD_STATE_IGNORE):
            raise ReaderGone(f"the PC/SC reader {self._reader} is gone")
        return state

    def _check(self, code: int) -> None:
        s = _scard()
        if code == s.SCARD_S_SUCCESS:
            return
        raise _error(s, code, self._reader)


def _error(s: ModuleType, code: int, reader: str) -> HardwareError:
    """What a PC/SC return code means for whoever holds the card."""
    lost = {
        s.SCARD_W_REMOVED_CARD,
        s.SCARD_W_RESET_CARD,
        s.SCARD_E_NO_SMARTCARD,
        s.SCARD_E_NOT_TRANSACTED,
        s.SCARD_W_UNPOWERED_CARD,
        s.SCARD_W_UNRESPONSIVE_CARD,
        s.SCARD_E_INVALID_HANDLE,
    }
    unreadable = {s.SCARD_E_INSUFFICIENT_BUFFER, s.SCARD_E_PROTO_MISMATCH, s.SCARD_W_UNSUPPORTED_CARD}
    if code in lost:
        return CardLost(f"the card has left the reader ({_name(code)})")
    if code in unreadable:
        return CardUnreadable(f"the card breaks the rules ({_name(code)})")
    if code == s.SCARD_E_SHARING_VIOLATION:
        return CardError("another program uses the card", hint="stop what else reads cards on this computer")
    return ReaderGone(f"the PC/SC reader {reader} failed ({_name(code)})")


def _pci(s: ModuleType, protocol: int) -> int:
    pci: int = s.SCARD_PCI_T0 if protocol == s.SCARD_PROTOCOL_T0 else s.SCARD_PCI_T1
    return pci


def _name(code: int) -> str:
    """A PC/SC return code as its documentation spells it."""
    return f"0x{code & 0xFFFFFFFF:08X}"


def _scard() -> ModuleType:
    try:
        from smartcard import scard  # noqa: PLC0415 - an extra, with no wheel for Linux
    except ImportError as e:
        raise HardwareError(
            "pyscard is not installed", hint="apt install python3-pyscard, or pip install 'chargetill[pcsc]'"
        ) from e
    module: ModuleType = scard
    return module
