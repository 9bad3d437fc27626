"""RSA keys drawn from a seed, so that a demo's cards are the same tomorrow. For test cards only."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

#: Test cards sign with e = 3, as most real ones do (EMV Book 2, 11.2.1 allows 3 and 65537).
EXPONENT: Final = 3

_SIEVE: Final = tuple(p for p in range(3, 2000, 2) if all(p % q for q in range(3, int(p**0.5) + 1, 2)))

#: Miller-Rabin rounds for numbers that nobody chose to deceive us (FIPS 186-5, table B.1 asks for fewer).
_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A key of `size` bytes. `recoverable` is RSA without any padding, as EMV Book 2, annex A2.1 has it."""

    modulus: bytes
    secret: int

    @property
    def size(self) -> int:
        return len(self.modulus)

    def sign(self, data: bytes) -> bytes:
        """`data` to the power of the secret exponent; it has the key's size and is less than the modulus."""
        assert len(data) == self.size
        n = int.from_bytes(self.modulus, "big")
        return pow(int.from_bytes(data, "big"), self.secret, n).to_bytes(self.size, "big")


def draw_key(bits: int, draw: random.Random) -> PrivateKey:
    """A key of exactly `bits`."""
    p = _prime(bits // 2, draw)
    while (q := _prime(bits // 2, draw)) == p:
        pass
    n = p * q
    return PrivateKey(n.to_bytes(bits // 8, "big"), pow(EXPONENT, -1, (p - 1) * (q - 1)))


def _prime(bits: int, draw: random.Random) -> int:
    """A prime p with both upper bits set, and p - 1 not divisible by the public exponent."""
    while True:
        start = draw.getrandbits(bits) | (3 << (bits - 2)) | 1
        remainders = [start % p for p in _SIEVE]
        for step in range(0, 4 * bits, 2):
            if any((r + step) % p == 0 for r, p in zip(remainders, _SIEVE, strict=True)):
                continue
            candidate = start + step
            if (candidate - 1) % EXPONENT and candidate >> bits == 0 and _is_prime(candidate, draw):
                return candidate


def _is_prime(n: int, draw: random.Random) -> bool:
    """Miller-Rabin."""
    if pow(2, n - 1, n) != 1:
        return False
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(_ROUNDS):
        x = pow(draw.randrange(2, n - 1), odd, n)
        if x in {1, n - 1}:
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True
