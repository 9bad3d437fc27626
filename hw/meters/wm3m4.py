"""Iskra WM3M4 and WM3M4C: readings, and sessions that the meter signs as one OCMF record.

Source: Iskra, WM3M4 & WM3M4C user's manual, 6.5 (digital signature) and 6.6 (power loss); the EVerest project's
driver. Readings are input registers, signing is in holding registers.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from msgspec import Meta

from edge.domain.energy import MeterIdentity, MeterValue
from edge.metering.ocmf import der, keys
from edge.metering.ocmf.algorithms import algorithm
from edge.metering.ocmf.keys import PublicKey
from edge.metering.ocmf.record import SignedRecord, sanitized
from edge.metering.reading import Limits
from edge.metering.signing import Held, Idle, Ready, Running, SignedSession, marked_text
from edge.ports import Clock
from hw.bus.budget import Load
from hw.bus.line import Baudrate
from hw.bus.pool import BusPool
from hw.meters import signed, values
from hw.meters.errors import MeterInvalid
from hw.meters.register import billable
from hw.meters.signed import Line, Registers, SigningFailed

MODEL = "Iskra WM3M4"
RATED_POWER_W = 55_200  # 3 x 230 V x 80 A
ENERGY, ENERGY_REGISTERS = 414, 6
LIVE, LIVE_REGISTERS = 107, 35
SPARE = 4  # two more 32-bit values follow both
IDENTITY, MODEL_REGISTERS, SERIAL_REGISTERS = 1, 8, 4
STATE, COMMAND, STATUS, TIME = 7000, 7051, 7052, 7053
DATASET_BYTES, DATA_BYTES, SIGNATURE_BYTES, ALGORITHM, SYNCHRONIZED = 7056, 7057, 7058, 7059, 7071
DATASET, DATA, KEY, SIGNATURE = 7100, 7612, 8124, 8188
KEY_REGISTERS = 32
DATASET_BYTES_MAX = 1024
DATA_BYTES_MAX = 2 * (KEY - DATA)
SIGNATURE_BYTES_MAX = 80  # an ECDSA signature on 256 bits takes 72, more with needless zeros
IDLE, ACTIVE, ACTIVE_AFTER_POWER_CUT, ACTIVE_AFTER_RESET = range(4)
STATUS_BUSY, STATUS_OK, STATUS_ERRORS = 2, 15, 128
BEGIN, END_WITH_BEGIN = ord("B") << 8, ord("r") << 8
SIGNATURE_NAME = "ECDSA-secp256r1-SHA256"
_IDENTIFICATION_BYTES_MAX = 120  # leaves the data set room for the rest


class Options(Line, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver = "wm3m4"`. The line's settings are those that the meter comes with."""

    unit: Annotated[int, Meta(ge=1, le=247)] = 33
    baudrate: Baudrate = 115_200


def load(options: Options) -> Load:
    """What one poll costs the line."""
    return options.load(MODEL, ENERGY_REGISTERS + SPARE, LIVE_REGISTERS + SPARE)


def create(options: Options, *, clock: Clock, buses: BusPool) -> Wm3m4:
    """The meter on its line; opens nothing yet. Raises CallError."""
    return Wm3m4(signed.registers(options, clock=clock, buses=buses), options, clock)


class Wm3m4:
    """Implements edge.ports.SignedMeter. The record stays readable until the next session begins."""

    def __init__(self, registers: Registers, options: Line, clock: Clock) -> None:
        self.limits = Limits(rated_power_w=RATED_POWER_W)
        self._registers, self._clock = registers, clock
        self._zone = options.zone()

    async def read(self) -> MeterValue:
        """One fresh reading. Raises MeterError."""
        energy = await self._registers.read(4, ENERGY, ENERGY_REGISTERS, SPARE, step=2)
        more = await self._registers.read(4, LIVE, LIVE_REGISTERS, SPARE, step=2)
        live = more.data
        exponent = int.from_bytes(energy.data[:2], "big", signed=True)
        if not -9 <= exponent <= 9:  # a register of 32 bits in nWh or GWh
            raise MeterInvalid(f"{MODEL}: the energy register has the exponent {exponent}")
        scale = Fraction(10) ** exponent
        value = values.number(energy.data[8:12], "s32", "big")
        if value is None:
            raise MeterInvalid(f"{MODEL}: the energy register holds no number")

        def at(register: int) -> bytes:
            start = 2 * (register - LIVE)
            return live[start : start + 4]

        return MeterValue(
            at=energy.at,
            energy_wh=billable(value.value * scale, MODEL),
            resolution_wh=max(1, math.ceil(scale)),
            power_w=round(decimal_float(at(140), signed=True)),
            current_ma=tuple(round(1000 * decimal_float(at(r), signed=True)) for r in (126, 128, 130)),
            voltage_mv=tuple(round(1000 * decimal_float(at(r), signed=False)) for r in (107, 109, 111)),
            sure=energy.sure and more.sure,
        )

    async def identify(self) -> MeterIdentity:
        """Who answers. Raises MeterError."""
        data = (await self._registers.read(4, IDENTITY, MODEL_REGISTERS + SERIAL_REGISTERS)).data
        return MeterIdentity(
            model=values.text(data[: 2 * MODEL_REGISTERS]) or MODEL,
            serial=values.text(data[2 * MODEL_REGISTERS :]),
        )

    async def close(self) -> None:
        """Nothing to do: the line belongs to the pool."""

    async def held(self) -> Held:
        """What the meter holds. After a power cut a session goes on, nameless. Raises MeterError."""
        state = await self._state()
        if state in {ACTIVE, ACTIVE_AFTER_RESET}:
            return Running(await self._dataset_session())
        if state == ACTIVE_AFTER_POWER_CUT:
            return Running(None)
        status = await signed.wait_for(
            self._status, lambda found: found != STATUS_BUSY, clock=self._clock, what="no signature"
        )
        if status != STATUS_OK:
            return Idle()
        record = await signed.readable(self._ocmf)
        if record is None or not any(r.transaction not in {None, "B", "C"} for r in record.readings):
            return Idle()
        return Ready(signed.session_of(record), blocking=False)

    async def begin_signed(self, session: SignedSession) -> None:
        """Begin unless this session runs already. Raises MeterError."""
        match await self.held():
            case Running(session_id=session.session_id):
                return
            case Running():
                raise SigningFailed("the meter holds another session: running")
            case _:
                pass
        await self._registers.write(ALGORITHM, b"\0\0")
        await self._describe(session)
        await signed.confirmed(self._registers.command(COMMAND, BEGIN))
        await self._until(ACTIVE, "the session did not begin")

    async def end_signed(self, session: SignedSession | None) -> None:
        """End whatever is open; after a power cut with time and texts set again (6.6). Raises MeterError."""
        state = await self._state()
        if state == IDLE:
            return
        if state == ACTIVE_AFTER_POWER_CUT:
            await self._describe(session)
        await signed.confirmed(self._registers.command(COMMAND, END_WITH_BEGIN))
        await self._until(IDLE, "the session did not end")

    async def fetch_signed(self) -> SignedRecord:
        """The record of the last session, and the meter's key. Raises MeterError."""

        async def get() -> tuple[bytes, bytes]:
            point = await self._registers.read(3, KEY, KEY_REGISTERS)
            known = algorithm(SIGNATURE_NAME)
            assert known is not None
            key = PublicKey(b"\x04" + point.data, known.curve)
            return await self._ocmf(), keys.to_der(key)

        return signed.of_session(await signed.fetched(get))

    async def acknowledge_signed(self) -> None:
        """Nothing to do: the record stays until the next session begins."""

    async def _state(self) -> int:
        return await self._registers.number(3, STATE)

    async def _status(self) -> int:
        return await self._registers.number(3, STATUS, spare=1)

    async def _until(self, state: int, what: str) -> None:
        """The state is reached and what it brought is signed. Raises SigningFailed for an error of the meter."""

        async def ask() -> tuple[int, int]:
            return await self._state(), await self._status()

        def signed_in_state(answer: tuple[int, int]) -> bool:
            if answer[1] >= STATUS_ERRORS:
                raise SigningFailed(f"{MODEL}: signature status {answer[1]}")
            return answer == (state, STATUS_OK)

        await signed.wait_for(ask, signed_in_state, clock=self._clock, what=what)

    async def _describe(self, session: SignedSession | None) -> None:
        """Time and the texts that the meter signs; it fills in who it is and what it read."""
        if self._clock.trusted():
            now = self._clock.now()
            offset_min = signed.offset_min(now, self._zone)
            seconds = int(now.utc.timestamp())
            await self._registers.write(
                TIME, offset_min.to_bytes(2, "big", signed=True) + seconds.to_bytes(4, "big")
            )
            await self._registers.write(SYNCHRONIZED, b"\0\2")
        session = session or SignedSession(session_id="0")
        template = {
            "FV": "1.0", "GI": "", "GS": "", "GV": "", "PG": "", "MV": "", "MM": "", "MS": "", "MF": "",
            "IS": True, "IF": [], "IT": "LOCAL",
            "ID": marked_text(session, session.tariff_text, max_bytes=_IDENTIFICATION_BYTES_MAX),
            "CT": "EVSEID", "CI": sanitized(session.evse_id, max_bytes=40), "RD": [],
        }  # fmt: skip
        data = json.dumps(template, separators=(",", ":")).encode("ascii")
        assert len(data) <= DATASET_BYTES_MAX
        await self._registers.write(DATASET, data)
        await self._registers.write(DATASET_BYTES, len(data).to_bytes(2, "big"))

    async def _dataset_session(self) -> str | None:
        size = await self._registers.number(3, DATASET_BYTES, spare=1)
        if not 0 < size <= DATASET_BYTES_MAX:
            return None
        data = (await self._registers.block(3, DATASET, (size + 1) // 2))[:size]
        record = signed.parsed(b"OCMF|" + data + b'|{"SD":""}')
        return None if record is None else signed.session_of(record)

    async def _ocmf(self) -> bytes:
        """The record, put together from the signed data and the signature; empty where their sizes cannot be."""
        data_size = await self._registers.number(3, DATA_BYTES, spare=1)
        signature_size = await self._registers.number(3, SIGNATURE_BYTES)
        if not 0 < data_size <= DATA_BYTES_MAX or not 0 < signature_size <= SIGNATURE_BYTES_MAX:
            return b""
        data = (await self._registers.block(3, DATA, (data_size + 1) // 2))[:data_size]
        raw = (await self._registers.block(3, SIGNATURE, (signature_size + 1) // 2))[:signature_size]
        section = json.dumps({"SA": SIGNATURE_NAME, "SD": minimal(raw).hex().upper()}, separators=(",", ":"))
        return b"OCMF|" + data + b"|" + section.encode("ascii")


def minimal(signature: bytes) -> bytes:
    """The same signature in strict DER: the meter leaves zeros in front of r and s, which some verifiers refuse."""
    try:
        return encode_dss_signature(*der.signature_numbers(signature))
    except der.NotDer:
        return signature


def decimal_float(data: bytes, *, signed: bool) -> Fraction:
    """T5 and T6 of Iskra's manuals: a decimal exponent of 8 bits, then 24 bits, unsigned or signed."""
    exponent = int.from_bytes(data[:1], "big", signed=True)
    return int.from_bytes(data[1:4], "big", signed=signed) * Fraction(10) ** exponent
