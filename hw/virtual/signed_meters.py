"""Virtual signing meters: EM580, WM3M4 and BSM-WS36A with real keys, following the registers' real procedures.

Each is a unit on a Modbus server. `cut_power` is what a power cut does to it: what the maker keeps in permanent
memory stays, the rest is gone. Registers that are not about signing are those of `plain`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hw.meters import bsm, em580, wm3m4
from hw.virtual.modbus_server import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, Refusal, Unit
from hw.virtual.signing_unit import SigningUnit, kwh

BUSY_READS = 2  # how often the state is read until a signature is done

_EM580_SIGNING = (
    range(em580.KEY_TYPE, em580.KEY_TYPE + 1),
    range(em580.KEY_DER, em580.KEY_DER + em580.KEY_DER_REGISTERS[1]),
    range(em580.TARIFF_TEXT, em580.TARIFF_TEXT + em580.TARIFF_TEXT_REGISTERS),
    range(em580.STATE, em580.FILE + em580.FILE_REGISTERS_MAX),
)


class VirtualEm580(SigningUnit):
    """Carlo Gavazzi EM580. A power cut ends the session; its file says so (reading `P`).

    `spaced`: as firmware in the field does, it puts spaces into the file that it did not sign.
    """

    spaced = False

    def __init__(
        self,
        *,
        energy_wh: Callable[[], int],
        now: Callable[[], datetime],
        curve: ec.EllipticCurve | None = None,
        serial: str = "BX0340001",
        plain: Unit | None = None,
    ) -> None:
        curve = curve or ec.BrainpoolP384R1()
        super().__init__(curve, energy_wh=energy_wh, now=now, serial=serial, plain=plain)
        self.state = em580.NOT_READY
        self._begin = self._texts = ""
        key_type = 0 if curve.key_size == 256 else 1
        self._name = f"ECDSA-{'brainpoolP256r1' if key_type == 0 else 'brainpoolP384r1'}-SHA256"
        self.memory[em580.KEY_TYPE] = key_type
        self.store(em580.KEY_DER, self.public_key)

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        signing = any(address in part and address + count - 1 in part for part in _EM580_SIGNING)
        if not signing:
            return self.elsewhere(function, address, count)
        if function != 4:
            raise Refusal(ILLEGAL_FUNCTION)
        if address == em580.STATE:
            self._proceed()
            self.memory[em580.STATE] = self.state
        return self.words(address, count)

    def writable(self, register: int) -> bool:
        texts = em580.TARIFF_TEXT <= register < em580.TARIFF_TEXT + em580.TARIFF_TEXT_REGISTERS
        return texts or em580.IDENTIFICATION <= register <= em580.COMMAND or register == em580.STATE

    def written(self, register: int) -> None:
        if register == em580.UTC_TIME + 3:
            self.synchronized = True
            offset = self.memory.get(em580.UTC_OFFSET, 0)
            self.offset_min = offset - 0x10000 if offset & 0x8000 else offset
        elif register == em580.COMMAND:
            self._command(self.memory[register])
        elif register == em580.STATE and self.state in {em580.READY, em580.CORRUPTED}:
            if self.memory[register] != em580.NOT_READY:
                raise Refusal(ILLEGAL_VALUE)
            self.state = em580.NOT_READY
            self.memory[em580.SIZE] = 0

    def cut_power(self) -> None:
        if self.state == em580.RUNNING:
            self._finish("P")
        self.busy = 0
        self.synchronized = False
        self.store(em580.TARIFF_TEXT, bytes(2 * em580.TARIFF_TEXT_REGISTERS))

    def _command(self, command: int) -> None:
        if command == em580.BEGIN and self.state == em580.NOT_READY:
            self.state = em580.RUNNING
            self._begin = self.reading("B", kwh(self.energy_wh()))
            tariff = self.text(em580.TARIFF_TEXT, em580.TARIFF_TEXT_REGISTERS)
            self._texts = (
                f'"IS":true,"IL":"NONE","IF":[],"IT":"LOCAL","ID":"{self.text(0x7007, 20)}",'
                f'"TT":"{tariff}","CT":"EVSEID","CI":"{self.text(em580.EVSE_ID, em580.EVSE_ID_REGISTERS)}"'
            )
        elif command == em580.END and self.state == em580.RUNNING and not self.busy:
            self.busy = BUSY_READS
        elif command != em580.END or self.state != em580.RUNNING:
            raise Refusal(ILLEGAL_VALUE)

    def _proceed(self) -> None:
        if self.busy:
            self.busy -= 1
            if not self.busy:
                self._finish("E")

    def _finish(self, transaction: str) -> None:
        self.pagination += 1
        end = self.reading(transaction, kwh(self.energy_wh()))
        payload = (
            f'{{"FV":"1.2","GI":"CARLO GAVAZZI EM580","GS":"{self.serial}","GV":"1.0.0","PG":"T{self.pagination}",'
            f'"MV":"CARLO GAVAZZI","MM":"EM580","MS":"{self.serial}","MF":"1.0.0",{self._texts},'
            f'"RD":[{self._begin},{end}]}}'
        )
        section = f'{{"SA":"{self._name}","SD":"{self.sign(payload).hex().upper()}"}}'
        if self.spaced:
            payload = payload.replace('"RV":', '"RV": ')
        self.memory[em580.SIZE] = self.store(em580.FILE, f"OCMF|{payload}|{section}\0\0".encode())
        self.state = em580.READY


class VirtualWm3m4(SigningUnit):
    """Iskra WM3M4C. A session goes on after a power cut, but wants time and texts again before it ends."""

    def __init__(
        self,
        *,
        energy_wh: Callable[[], int],
        now: Callable[[], datetime],
        serial: str = "33220001",
        power_w: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(ec.SECP256R1(), energy_wh=energy_wh, now=now, serial=serial)
        self.power_w = power_w
        self.state = wm3m4.IDLE
        self._begin: dict[str, object] = {}
        self.memory[wm3m4.STATUS] = 1
        self.store(wm3m4.KEY, self.public_key[-64:])

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        if function == 4:
            return self._inputs(address, count)
        if function != 3 or not ((address == wm3m4.STATE and count == 1) or 7050 < address < 8300):
            raise Refusal(ILLEGAL_ADDRESS)
        if address == wm3m4.STATUS and self.busy:
            self.busy -= 1
            if not self.busy:
                self.memory[wm3m4.STATUS] = wm3m4.STATUS_OK
        self.memory[wm3m4.STATE] = self.state
        return self.words(address, count)

    def writable(self, register: int) -> bool:
        written = {wm3m4.COMMAND, wm3m4.DATASET_BYTES, wm3m4.ALGORITHM, wm3m4.SYNCHRONIZED}
        time = wm3m4.TIME <= register < wm3m4.TIME + 3
        return register in written or time or wm3m4.DATASET <= register < wm3m4.DATA

    def written(self, register: int) -> None:
        if register == wm3m4.SYNCHRONIZED:
            self.synchronized = self.memory[register] == 2
            offset = self.memory.get(wm3m4.TIME, 0)
            self.offset_min = offset - 0x10000 if offset & 0x8000 else offset
        elif register == wm3m4.COMMAND:
            self._command(self.memory[register])

    def cut_power(self) -> None:
        if self.state != wm3m4.IDLE:
            self.state = wm3m4.ACTIVE_AFTER_POWER_CUT
        self.synchronized, self.busy = False, 0
        key = self.words(wm3m4.KEY, wm3m4.KEY_REGISTERS)
        self.memory = {wm3m4.STATUS: 1} | {wm3m4.KEY + i: word for i, word in enumerate(key)}

    def _command(self, command: int) -> None:
        begins = command == wm3m4.BEGIN and self.state == wm3m4.IDLE
        ends = command == wm3m4.END_WITH_BEGIN and self.state != wm3m4.IDLE
        size = self.memory.get(wm3m4.DATASET_BYTES, 0)
        raw = b"".join(w.to_bytes(2, "big") for w in self.words(wm3m4.DATASET, (size + 1) // 2))[:size]
        if not begins and not ends:
            self.memory[wm3m4.STATUS] = 131
            return
        if not self.synchronized:
            self.memory[wm3m4.STATUS] = 128
            return
        if not raw:
            self.memory[wm3m4.STATUS] = 253
            return
        data = json.loads(raw)
        self.pagination += 1
        now: dict[str, object] = json.loads(self.reading("B" if begins else "E", kwh(self.energy_wh())))
        if begins:
            self._begin = now
        data |= {
            "GS": self.serial, "PG": f"T{self.pagination}", "MV": "Iskra", "MM": "WM3M4C", "MS": self.serial,
            "RD": [now] if begins else [self._begin, now],
        }  # fmt: skip
        self.state = wm3m4.ACTIVE if begins else wm3m4.IDLE
        self._output(json.dumps(data, separators=(",", ":")))

    def _output(self, payload: str) -> None:
        r, s = decode_dss_signature(self.sign(payload))
        numbers = b"".join(
            b"\x02\x21" + n.to_bytes(33, "big") for n in (r, s)
        )  # never minimal: as firmware is
        signature = b"\x30" + bytes([len(numbers)]) + numbers
        self.store(wm3m4.DATA, payload.encode())
        self.store(wm3m4.SIGNATURE, signature)
        self.memory |= {wm3m4.DATA_BYTES: len(payload), wm3m4.SIGNATURE_BYTES: len(signature)}
        self.memory[wm3m4.STATUS], self.busy = 2, BUSY_READS

    def _inputs(self, address: int, count: int) -> list[int]:
        """Model, serial, energy in 10 Wh, and the live values in T5 and T6."""
        table: dict[int, int] = {}
        saved, self.memory = self.memory, table
        self.store(wm3m4.IDENTITY, b"WM3M4C".ljust(16, b"\0") + self.serial.encode().ljust(8, b"\0"))
        self.store(wm3m4.ENERGY, (1).to_bytes(2, "big"))
        self.store(wm3m4.ENERGY + 4, (self.energy_wh() // 10).to_bytes(4, "big"))
        for register in (107, 109, 111):
            self.store(register, b"\xff" + (2300).to_bytes(3, "big"))
        phase_ma = self.power_w() * 1000 // 690
        for register in (126, 128, 130):
            self.store(register, b"\xfd" + phase_ma.to_bytes(3, "big", signed=True))
        self.store(140, b"\x00" + self.power_w().to_bytes(3, "big", signed=True))
        self.memory = saved
        return [table.get(a, 0) for a in range(address, address + count)]


class VirtualBsm(SigningUnit):
    """Bauer BSM-WS36A. Snapshots, texts and time are gone after a power cut; the energy registers are not."""

    def __init__(
        self,
        *,
        energy_wh: Callable[[], int],
        now: Callable[[], datetime],
        serial: str = "001BZR1520240001",
        power_w: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(ec.SECP256R1(), energy_wh=energy_wh, now=now, serial=serial)
        self.power_w = power_w
        self._since_begin_wh = 0
        self._updating: dict[int, int] = {}
        self._pairs = {
            bsm.START: ("B", 3), bsm.END: ("E", 4), bsm.TURN_ON: ("B", 1), bsm.TURN_OFF: ("E", 2),
        }  # fmt: skip
        self.fails_with: int | None = None
        self.cut_power()

    def read(self, function: int, address: int, count: int) -> list[int] | None:
        if function != 3 or not 40000 <= address < 44300:
            raise Refusal(ILLEGAL_ADDRESS)
        for snapshot in self._pairs:
            if address == snapshot.status and snapshot.status in self._updating:
                self._updating[snapshot.status] -= 1
                if not self._updating[snapshot.status]:
                    del self._updating[snapshot.status]
                    self._snapshot(snapshot)
        self._live()
        return self.words(address, count)

    def writable(self, register: int) -> bool:
        texts = bsm.META <= register < bsm.META + bsm.META_REGISTERS
        time = bsm.EPOCH <= register < bsm.EPOCH + 3
        return texts or time or register in {snapshot.status for snapshot in self._pairs}

    def written(self, register: int) -> None:
        if register == bsm.EPOCH + 2:
            self.synchronized = True
            offset = self.memory[register]
            self.offset_min = offset - 0x10000 if offset & 0x8000 else offset
        for snapshot in self._pairs:
            if register == snapshot.status:
                if self.memory[register] != bsm.UPDATING:
                    raise Refusal(ILLEGAL_VALUE)
                self.memory[snapshot.ocmf_status] = bsm.UPDATING
                self._updating[register] = BUSY_READS

    def cut_power(self) -> None:
        self.memory, self._updating, self.synchronized = {}, {}, False
        for snapshot in self._pairs:
            self.memory[snapshot.status] = self.memory[snapshot.ocmf_status] = bsm.INVALID
        self.store(bsm.EPOCH, b"\xff" * 4 + b"\x80\x00")
        self.store(bsm.SERIAL, self.serial.encode())
        self.memory[bsm.KEY_BYTES] = len(self.public_key)
        self.store(bsm.KEY, self.public_key)

    def _snapshot(self, snapshot: bsm.Snapshot) -> None:
        if self.fails_with is not None:
            self.memory[snapshot.status] = self.memory[snapshot.ocmf_status] = self.fails_with
            return
        transaction, kind = self._pairs[snapshot]
        total_wh = self.energy_wh()
        if transaction == "B":
            self._since_begin_wh = total_wh
        self.pagination += 1
        reading = self.reading(transaction, kwh(total_wh - self._since_begin_wh, 2), "1-0:1.8.0*198")
        extra = f',"XV":{kwh(total_wh, 2)},"XI":"1-0:1.8.0*255","XU":"kWh","XT":{kind}}}'
        payload = (
            f'{{"FV":"1.0","GI":"BAUER Electronic BSM-WS36A","GS":"{self.serial}","GV":"1.9","PG":"T{self.pagination}",'
            f'"MV":"BAUER Electronic","MM":"BSM-WS36A","MS":"{self.serial}","IS":true,"IT":"UNDEFINED",'
            f'"ID":"{self.text(bsm.META, bsm.META_REGISTERS)}","RD":[{reading[:-1]}{extra}]}}'
        )
        section = f'{{"SA":"ECDSA-secp256r1-SHA256","SD":"{self.sign(payload).hex()}"}}'
        self.store(snapshot.ocmf, f"OCMF|{payload}|{section}".encode().ljust(2 * bsm.OCMF_REGISTERS, b"\0"))
        self.memory[snapshot.status] = self.memory[snapshot.ocmf_status] = bsm.VALID

    def _live(self) -> None:
        self.store(40136, (self.energy_wh() // 10).to_bytes(4, "big"))
        self.memory[40144] = 1
        self.memory[40108], self.memory[40112] = self.power_w() // 10 & 0xFFFF, 1
        for phase in range(3):
            self.memory[40093 + phase] = self.power_w() * 10 // 690
            self.memory[40098 + phase] = 2300
        self.memory[40096], self.memory[40105] = 0xFFFF, 0xFFFF
        if self.synchronized:
            self.store(bsm.EPOCH, int(self.now().astimezone(UTC).timestamp()).to_bytes(4, "big"))
