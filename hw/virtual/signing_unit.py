"""What every virtual signing meter has: memory of registers, a clock that is set over the line, and a real key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hw.virtual.modbus_server import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, Refusal, Unit

SECRET = 0x5EED  # any number makes a key; this one makes the same in every run


class SigningUnit(ABC):
    """Memory, clock and key of a signing meter."""

    def __init__(
        self,
        curve: ec.EllipticCurve,
        *,
        energy_wh: Callable[[], int],
        now: Callable[[], datetime],
        serial: str = "20240001",
        plain: Unit | None = None,
        secret: int = SECRET,
    ) -> None:
        self.energy_wh, self.now, self.serial, self.plain = energy_wh, now, serial, plain
        self.key = ec.derive_private_key(secret, curve)
        self.memory: dict[int, int] = {}
        self.pagination = 0
        self.synchronized = False
        self.offset_min = 0
        self.busy = 0

    @property
    def public_key(self) -> bytes:
        """The key as DER."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def write(self, function: int, address: int, values: list[int]) -> bool:
        """Registers that may be written, then what writing them does."""
        if function not in {6, 16}:
            raise Refusal(ILLEGAL_FUNCTION)
        for register in range(address, address + len(values)):
            if not self.writable(register):
                raise Refusal(ILLEGAL_ADDRESS)
        for i, value in enumerate(values):
            self.memory[address + i] = value
        for register in range(address, address + len(values)):
            self.written(register)
        return True

    @abstractmethod
    def writable(self, register: int) -> bool:
        """Whether this register takes writes."""

    @abstractmethod
    def written(self, register: int) -> None:
        """What a write to it does."""

    def words(self, address: int, count: int) -> list[int]:
        """What lies in memory, zero where nothing was written."""
        return [self.memory.get(a, 0) for a in range(address, address + count)]

    def text(self, address: int, count: int) -> str:
        raw = b"".join(word.to_bytes(2, "big") for word in self.words(address, count))
        return raw.split(b"\0", 1)[0].decode("ascii")

    def store(self, address: int, data: bytes) -> int:
        """Put bytes into memory; returns how many registers they fill."""
        data += b"\0" * (len(data) % 2)
        for i in range(0, len(data), 2):
            self.memory[address + i // 2] = int.from_bytes(data[i : i + 2], "big")
        return len(data) // 2

    def timestamp(self) -> str:
        """TM of a reading."""
        local = self.now().astimezone(timezone(timedelta(minutes=self.offset_min)))
        return f"{local:%Y-%m-%dT%H:%M:%S},000{local:%z} {'S' if self.synchronized else 'U'}"

    def reading(self, transaction: str, value: str, register: str = "1-b:1.8.0") -> str:
        return (
            f'{{"TM":"{self.timestamp()}","TX":"{transaction}","RV":{value},"RI":"{register}",'
            '"RU":"kWh","RT":"AC","EF":"","ST":"G"}'
        )

    def sign(self, payload: str) -> bytes:
        return self.key.sign(payload.encode(), ec.ECDSA(hashes.SHA256()))

    def elsewhere(self, function: int, address: int, count: int) -> list[int] | None:
        if self.plain is None:
            raise Refusal(ILLEGAL_ADDRESS)
        return self.plain.read(function, address, count)


def kwh(wh: int, places: int = 3) -> str:
    """Wh as kWh with so many decimals, as a meter prints its register."""
    return f"{wh // 1000}.{wh % 1000:03}"[: len(str(wh // 1000)) + 1 + places]
