"""What the acquirer must be told of a card: kept in memory, for one request, for two minutes at most (I6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge.emv.kernel.outcome import CardNumber, OnlineRequest
from edge.emv.pan import PAN_MAX, PAN_MIN

#: From the tap to the request pass a commit and at most one wait for the connection.
OFFER_MAX_S: Final = 120

#: One reader serves a few EVSEs; more cards than this do not wait for their request at once.
OFFERS_MAX: Final = 8

_TRACK_2_MAX: Final = 37
_ICC_BYTES_MAX: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CardData:
    """The kernel's outcome for an online request. Its number shows itself truncated, and nothing can serialize it.

    `sequence_no`: tag 5F34, 0 to 99. `icc`: the value of DE55. `entry_mode`: DE22.
    """

    number: CardNumber
    icc: bytes
    sequence_no: int | None = None
    entry_mode: str = "072"  # contactless chip; the charger has no PIN entry

    def __post_init__(self) -> None:
        pan, _, track_2 = self.number.reveal()
        if not (pan.isascii() and pan.isdigit() and PAN_MIN <= len(pan) <= PAN_MAX):
            raise ValueError("not a card number")
        if len((track_2 or "").upper().rstrip("F")) > _TRACK_2_MAX or not 0 < len(self.icc) <= _ICC_BYTES_MAX:
            raise ValueError("more card data than a message takes, or none")

    def __repr__(self) -> str:
        return f"CardData({self.number!r})"

    @classmethod
    def of(cls, request: OnlineRequest) -> CardData:
        """What a kernel asks the issuer."""
        return cls(number=request.card.number, icc=request.de55, sequence_no=request.card.sequence)

    def fields(self) -> dict[int, str]:
        """The elements of a request that only the card can fill. Wherever this goes, it goes nowhere else."""
        pan, expiry, track_2 = self.number.reveal()
        fields = {2: pan, 14: expiry, 22: self.entry_mode, 55: self.icc.hex().upper()}
        if self.sequence_no is not None:
            fields[23] = f"{self.sequence_no:03}"
        if track_2 is not None:
            fields[35] = track_2.upper().rstrip("F").replace("D", "=")
        return fields


class Offers:
    """Card data that waits for its request, by payment reference or by the token that the card became."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._now = monotonic_s
        self._waiting: dict[str, tuple[float, CardData]] = {}

    def offer(self, name: str, card: CardData) -> None:
        """Keep `card` for the request about `name`. The oldest goes when too many wait."""
        self._drop_old()
        self._waiting.pop(name, None)
        while len(self._waiting) >= OFFERS_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[name] = (self._now(), card)

    def take(self, *names: str) -> CardData | None:
        """The card data offered under any of the names, which is then forgotten here."""
        self._drop_old()
        found = [each for name in names if (each := self._waiting.pop(name, None)) is not None]
        return found[0][1] if found else None

    def withdraw(self, name: str) -> None:
        """Nobody will ask."""
        self._waiting.pop(name, None)

    def __len__(self) -> int:
        self._drop_old()
        return len(self._waiting)

    def _drop_old(self) -> None:
        oldest = self._now() - OFFER_MAX_S
        self._waiting = {n: each for n, each in self._waiting.items() if each[0] > oldest}
