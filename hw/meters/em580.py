"""Carlo Gavazzi EM580: readings by its profile, and sessions that it signs as one OCMF file.

Source: Carlo Gavazzi, EM580 communication protocol, tables 4.18-4.21 and 4.32-4.39; the EVerest project's driver.
Everything is read with function 4 and written with function 16.
"""

from __future__ import annotations

from typing import Final

from edge.domain.energy import MeterIdentity, MeterValue
from edge.metering.ocmf.record import SignedRecord
from edge.metering.reading import Limits
from edge.metering.signing import (
    Corrupted,
    Held,
    Idle,
    Ready,
    Running,
    SignedSession,
    marked_session,
    marked_text,
)
from edge.ports import Clock
from hw.bus.budget import Load
from hw.bus.pool import BusPool
from hw.meters import register, signed
from hw.meters.register import RegisterMeter
from hw.meters.signed import Line, Registers, SigningFailed

PROFILE: Final = "carlo_gavazzi_em580"
KEY_TYPE, KEY_DER = 0x24FF, 0x2600
KEY_DER_REGISTERS = {0: 46, 1: 62}  # by key type: 256 bit, 384 bit; always read whole
TARIFF_TEXT, TARIFF_TEXT_REGISTERS = 0x6900, 126
IDENTIFICATION, EVSE_ID, EVSE_ID_REGISTERS = 0x7000, 0x701C, 20
UTC_OFFSET, UTC_TIME, MODALITY, COMMAND = 0x7031, 0x7032, 0x7036, 0x7040
STATE, SIZE, FILE = 0x7100, 0x7101, 0x7110
FILE_REGISTERS_MAX = 2031
NOT_READY, RUNNING, READY, CORRUPTED = range(4)
BEGIN, END = ord("B"), ord("E")
LOCAL = 70  # OCMF 1.2, table 17: an id made here
_TARIFF_TEXT_BYTES_MAX = 238  # one write request of 120 registers, with its zero


class Options(Line, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver = "em580"`."""


def load(options: Options) -> Load:
    """What one poll costs the line."""
    return register.load(_plain(options))


def create(options: Options, *, clock: Clock, buses: BusPool) -> Em580:
    """The meter on its line; opens nothing yet. Raises CallError."""
    plain = register.create(_plain(options), clock=clock, buses=buses)
    return Em580(plain, signed.registers(options, clock=clock, buses=buses), options, clock)


def _plain(options: Options) -> register.Options:
    return register.Options(
        profile=PROFILE,
        port=options.port,
        unit=options.unit,
        baudrate=options.baudrate,
        parity=options.parity,
        stopbits=options.stopbits,
        timeout_s=options.timeout_s,
        gap_ms=options.line_gap_ms,
    )


class Em580:
    """Implements edge.ports.SignedMeter. One file tells begin and end; it waits until it is acknowledged."""

    def __init__(self, plain: RegisterMeter, registers: Registers, options: Line, clock: Clock) -> None:
        self.limits: Limits = plain.limits
        self._plain, self._registers, self._clock = plain, registers, clock
        self._zone = options.zone()

    async def read(self) -> MeterValue:
        """One fresh reading. Raises MeterError."""
        return await self._plain.read()

    async def identify(self) -> MeterIdentity:
        """Who answers. Raises MeterError."""
        return await self._plain.identify()

    async def close(self) -> None:
        """Nothing to do: the line belongs to the pool."""

    async def held(self) -> Held:
        """What the meter holds; a session that a power cut ended is Ready. Raises MeterError."""
        match await self._state():
            case 0:
                return Idle()
            case 1:
                return Running(await self._running())
            case 2:
                record = signed.parsed(await self._file())
                return Ready(None if record is None else signed.session_of(record))
            case _:
                return Corrupted()

    async def begin_signed(self, session: SignedSession) -> None:
        """Begin unless this session runs already. Raises MeterError."""
        match await self.held():
            case Running(session_id=session.session_id):
                return
            case Idle():
                pass
            case other:
                raise SigningFailed(f"the meter holds another session: {type(other).__name__.lower()}")
        await self._set_time()
        identification = b"".join(
            number.to_bytes(2, "big")
            for number in (1, 0, 0, 0, 0, 0, LOCAL)  # assigned; no level; no flags; type
        )
        await self._registers.write(
            IDENTIFICATION, identification + signed.chars(session.session_id, 20) + b"\0\0"
        )
        await self._registers.write(EVSE_ID, signed.chars(session.evse_id, EVSE_ID_REGISTERS))
        text = marked_text(session, session.tariff_text, max_bytes=_TARIFF_TEXT_BYTES_MAX)
        await self._registers.write(TARIFF_TEXT, text.encode("ascii") + b"\0")
        await self._registers.write(MODALITY, b"\0\0")
        await signed.confirmed(self._registers.command(COMMAND, BEGIN))
        await self._until({RUNNING}, "the session did not begin")
        if await self._running() != session.session_id:
            raise SigningFailed("the session began without its texts: the power was cut in between")

    async def end_signed(self, session: SignedSession | None) -> None:
        """End whatever runs, and wait for its file. Raises MeterError."""
        del session
        if await self._state() == RUNNING:
            await signed.confirmed(self._registers.command(COMMAND, END))
        await self._until({NOT_READY, READY, CORRUPTED}, "the session did not end")

    async def fetch_signed(self) -> SignedRecord:
        """The file and the meter's key. Raises MeterError."""

        async def get() -> tuple[bytes, bytes]:
            return await self._file(), await self._key()

        return await signed.fetched(get, signs_compact=True)

    async def acknowledge_signed(self) -> None:
        """The file was kept: the meter is free for the next session. Raises MeterError."""
        await signed.confirmed(self._registers.command(STATE, NOT_READY))
        await self._until({NOT_READY}, "the file was not given up")

    async def _running(self) -> str | None:
        """The session of ours that the open session is marked with."""
        text = await self._registers.text(4, TARIFF_TEXT, TARIFF_TEXT_REGISTERS)
        return marked_session(text.decode("ascii", "replace"))

    async def _until(self, states: set[int], what: str) -> None:
        await signed.wait_for(self._state, states.__contains__, clock=self._clock, what=what)

    async def _state(self) -> int:
        return await self._registers.number(4, STATE, spare=1)

    async def _file(self) -> bytes:
        size = await self._registers.number(4, SIZE, spare=1)
        if not 0 < size <= FILE_REGISTERS_MAX:
            raise SigningFailed(f"a file of {size} registers")
        return signed.until_zero(await self._registers.block(4, FILE, size))

    async def _key(self) -> bytes:
        count = KEY_DER_REGISTERS.get(await self._registers.number(4, KEY_TYPE))
        if count is None:
            raise SigningFailed(
                "the meter has no signature keys", hint="this variant is not made for billing"
            )
        return signed.without_filling((await self._registers.read(4, KEY_DER, count)).data)

    async def _set_time(self) -> None:
        """Before a session only, and only a time that is trusted: the meter signs what state its clock is in."""
        if not self._clock.trusted():
            return
        now = self._clock.now()
        offset_min = signed.offset_min(now, self._zone)
        words = int(now.utc.timestamp()).to_bytes(8, "big")
        low_word_first = b"".join(words[i : i + 2] for i in (6, 4, 2, 0))
        block = offset_min.to_bytes(2, "big", signed=True) + low_word_first

        async def write() -> bool:
            await self._registers.write(UTC_OFFSET, block)
            return True

        # Shortly after a power cut the meter refuses the time (its clock starts later than its bus).
        await signed.wait_for(write, bool, clock=self._clock, what="the time was not taken")
