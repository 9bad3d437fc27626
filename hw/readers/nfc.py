"""Readers that nfcpy drives: PN532 on a serial line, USB readers, and its own udp field.

Type A cards at 106 kbit/s, which all membership cards and phones are. nfcpy has no maintained bounds against
a hostile card (it follows waiting time extensions and chained blocks forever), so every exchange goes through
`_BoundedLink`.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from edge.errors import CardError, CardLost, CardUnreadable, HardwareError
from edge.ports import CardReader, Clock
from hw.readers.errors import ReaderGone
from hw.readers.response import RESPONSE_MAX
from hw.readers.stream import APDU_MAX_S, Found, TapStream

#: Between two looks for a card: a tap is noticed at once, an idle reader costs next to nothing.
LOOK_EVERY_S: Final = 0.1

#: The card's time for one frame. nfcpy takes the card's own word, down to 5 ms; a busy computer needs more.
FRAME_MIN_S: Final = 0.25

#: Whole exchange of an APDU, retries and waiting time extensions included; below the watchdog's time.
EXCHANGE_MAX_S: Final = APDU_MAX_S - 1.0

#: A card that comes into the field slowly fails at first.
ACTIVATIONS_MAX: Final = 3

#: nfcpy's udp field waits 1 s for an answer. An empty field answers at once, so silence means that nobody
#: runs it.
UDP_SILENCE_S: Final = 0.9
UDP_SILENT_LOOKS_MAX: Final = 3

#: nfcpy's drivers for readers on a serial line.
_SERIAL: Final = re.compile(r"tty:(?P<device>/dev/[A-Za-z0-9._/\-]+):(?P<driver>pn532|arygon|rcs956)")
_PATH: Final = (
    r"^(usb(:[0-9A-Fa-f]{1,4}){0,2}|tty:[A-Za-z0-9]+:(pn532|arygon|rcs956)|"
    + _SERIAL.pattern.replace("?P<device>", "").replace("?P<driver>", "")
    + r"|udp:127\.0\.0\.1:[0-9]{1,5})$"
)


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`path` as nfcpy spells it: `usb`, `usb:054c:06c3`, `tty:AMA0:pn532`, `udp:127.0.0.1:54321`.

    A serial line may also be named whole: `tty:/dev/reader0:pn532`. The udp field and a pseudo-terminal are no
    devices but programs of this computer, so they take `virtual = true` beside them.
    """

    path: Annotated[str, Meta(pattern=_PATH, max_length=128)] = "usb"
    virtual: bool = False

    def __post_init__(self) -> None:
        if self.path.startswith(("udp", "tty:/dev/pts/")) and not self.virtual:
            raise ValueError(
                "no device but a program: set `virtual = true` if this is a demonstration or a test"
            )


def create(options: Options, *, clock: Clock) -> CardReader:
    """A card reader at `options.path`; it is opened when its taps are asked for."""
    return TapStream(f"reader {options.path}", lambda: NfcCoupler(options.path), clock=clock)


class NfcCoupler:
    """nfcpy's blocking calls, on the reader's thread only."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._frontend: Any = None
        self._target: Any = None
        self._link: _BoundedLink | None = None
        self._tag: Any = None
        self._silent_looks = 0
        self._pause = threading.Event()

    def open(self) -> None:
        try:
            import nfc.clf  # noqa: PLC0415 - an extra, and half a second on a Pi
        except ImportError as e:
            raise HardwareError("nfcpy is not installed", hint="pip install 'chargetill[nfc]'") from e
        with self._translated():
            frontend = nfc.clf.ContactlessFrontend()
            if (serial := _SERIAL.fullmatch(self._path)) is not None:
                frontend.device = _serial_device(serial["device"], serial["driver"])
                self._frontend = frontend
            elif frontend.open(self._path):
                self._frontend = frontend
        if self._frontend is None:
            raise ReaderGone(f"no reader at {self._path}")

    def find(self, within_s: float) -> Found | None:
        ends_at = time.monotonic() + within_s
        while True:
            with self._translated():
                found = self._look()
            if found is not None or time.monotonic() >= ends_at:
                return found
            self._pause.wait(LOOK_EVERY_S)

    def _look(self) -> Found | None:
        for _ in range(ACTIVATIONS_MAX):
            target = self._sense(None)
            if target is None or not target.sdd_res:
                return None
            self._target, self._tag = target, None
            speaks = bool(target.sel_res[0] & 0x20)  # ISO/IEC 14443-3, 6.5.3.4: compliant with part 4
            if not speaks or self._activate(target):
                break
        return Found(uid=bytes(target.sdd_res), speaks=speaks)

    def _sense(self, uid: bytes | None) -> Any:
        import nfc.clf  # noqa: PLC0415

        wanted = nfc.clf.RemoteTarget("106A")
        if uid is not None:
            wanted.sel_req = bytearray(uid)
        began_at = time.monotonic()
        target = self._frontend.sense(wanted, iterations=1)
        self._count_silence(silent=target is None and time.monotonic() - began_at > UDP_SILENCE_S)
        return target

    def _count_silence(self, *, silent: bool) -> None:
        if not self._path.startswith("udp"):
            return
        self._silent_looks = self._silent_looks + 1 if silent else 0
        if self._silent_looks >= UDP_SILENT_LOOKS_MAX:
            raise ReaderGone(f"nobody answers at {self._path}")

    def _activate(self, target: Any) -> bool:
        """Switch the card to ISO/IEC 14443-4. False where it does not; its UID still counts."""
        import nfc.clf  # noqa: PLC0415
        import nfc.tag.tt4  # noqa: PLC0415

        self._link = _BoundedLink(self._frontend)
        try:
            self._tag = nfc.tag.tt4.activate(self._link, target)
        except (nfc.clf.CommunicationError, IndexError, CardError):
            return False  # IndexError: nfcpy expects TA, TB and TC in every ATS
        return True

    def present(self) -> bool:
        with self._translated():
            if self._tag is None:
                uid = bytes(self._target.sdd_res)
                found = self._sense(uid)
                return found is not None and bytes(found.sdd_res) == uid
            return self._answers()

    def _answers(self) -> bool:
        import nfc.clf  # noqa: PLC0415

        assert self._link is not None
        self._link.start()
        try:
            return bool(self._tag.is_present)
        except (CardError, nfc.clf.CommunicationError, TypeError, IndexError):
            return False

    def transmit(self, command: bytes) -> bytes:
        import nfc.clf  # noqa: PLC0415
        import nfc.tag  # noqa: PLC0415

        if self._tag is None or self._link is None:
            raise CardUnreadable("the card's answer to select is not as ISO/IEC 14443-4 has it")
        self._link.start()
        with self._translated():
            try:
                return bytes(self._tag.transceive(command))
            except nfc.tag.TagCommandError as e:
                if int(e) == nfc.tag.PROTOCOL_ERROR:
                    raise CardUnreadable("the card breaks the block protocol of ISO/IEC 14443-4") from e
                raise CardLost("the card does not answer any more") from e
            except nfc.clf.CommunicationError as e:
                raise CardLost("the card has left the reader") from e
            except (IndexError, TypeError) as e:  # nfcpy indexes into empty blocks
                raise CardUnreadable("the card sends an empty block") from e

    def close(self) -> None:
        if self._frontend is not None:
            with contextlib.suppress(ReaderGone), self._translated():
                self._frontend.close()
            self._frontend = None

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Whatever else nfcpy runs into is the reader's fault: it parses answers of the chip unchecked."""
        try:
            yield
        except HardwareError:
            raise
        except Exception as e:
            reason = f"{type(e).__name__}: {e}"
            raise ReaderGone(f"the reader at {self._path} failed ({reason})") from e


def _serial_device(device: str, driver: str) -> Any:
    """A driver of nfcpy on a serial line named whole, which nfcpy's own search for `/dev/tty*` does not find."""
    from nfc.clf import transport  # noqa: PLC0415

    line = transport.TTY(device)
    try:
        found = importlib.import_module(f"nfc.clf.{driver}").init(line)
    except BaseException:
        line.close()
        raise
    found._path = device  # noqa: SLF001 - what nfcpy's own search sets
    return found


class _BoundedLink:
    """What nfcpy's tag sees of the frontend: the same exchange, within a time and a number of bytes."""

    def __init__(self, frontend: Any) -> None:
        self._frontend = frontend
        self.max_send_data_size: int = frontend.max_send_data_size
        self.max_recv_data_size: int = frontend.max_recv_data_size
        self.start()

    def start(self) -> None:
        """Another APDU: its own time and bytes."""
        self._ends_at = time.monotonic() + EXCHANGE_MAX_S
        self._received = 0

    def exchange(self, frame: bytes, timeout: float) -> bytearray:
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise CardLost(f"the card did not finish its answer within {EXCHANGE_MAX_S:g} s")
        answer: bytearray = self._frontend.exchange(frame, min(max(timeout, FRAME_MIN_S), left_s))
        self._received += len(answer)
        if self._received > RESPONSE_MAX + RESPONSE_MAX // 8:  # blocks carry one byte in 16 or more besides
            raise CardUnreadable("the card's answer does not end")
        return answer
