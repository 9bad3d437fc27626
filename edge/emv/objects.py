"""The data objects that a card gave, by tag, once each (EMV Book 3, 10.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edge.emv import tlv
from edge.emv.errors import CardDataInvalid
from edge.emv.tlv import Tlv

#: What the card is, and what it proves that with: it has to say the same wherever it says it.
_PROVEN: Final = frozenset(
    ("57", "5A", "82", "8F", "90", "92", "93", "94", "9F32", "9F46", "9F47", "9F48", "9F4A", "9F4B", "9F69")
)


class Objects:
    """A card's primitive data objects. Never shown or sent as a whole: it holds card data.

    `strict`: an object that comes twice with different values is an error. Else only where the card's proof depends on
    it, and what comes last counts: transcripts are of cards that terminals have taken.
    """

    __slots__ = ("_strict", "_values")

    def __init__(self, *, strict: bool = True) -> None:
        self._strict = strict
        self._values: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"Objects({' '.join(self._values)})"

    def __contains__(self, tag: object) -> bool:
        return tag in self._values

    def get(self, tag: str) -> bytes | None:
        """The value of a data object, or None where the card gave none."""
        return self._values.get(tag)

    def need(self, tag: str) -> bytes:
        """The value of a data object that has to be there, and not empty. Raises CardDataInvalid."""
        value = self._values.get(tag)
        if not value:
            raise CardDataInvalid(f"the card gave no {tag}")
        return value

    def values(self) -> dict[str, bytes]:
        """All of them, by tag."""
        return dict(self._values)

    def add(self, tag: str, value: bytes) -> None:
        """Raises CardDataInvalid where the card gave another value before."""
        known = self._values.get(tag, value)
        if known != value and (self._strict or tag in _PROVEN):
            raise CardDataInvalid(f"the card gave {tag} twice, with different values")
        self._values[tag] = value

    def add_all(self, objects: Iterable[Tlv]) -> None:
        """Every primitive object at any depth. Raises CardDataInvalid."""
        for top in objects:
            for each in top.walk():
                if not each.constructed:
                    self.add(each.tag, each.value)


def inside(data: bytes, template: str) -> tuple[Tlv, ...]:
    """The objects in a template that is all of `data`. Raises CardDataInvalid, TlvError."""
    objects = tlv.parse(data)
    if len(objects) != 1 or objects[0].tag != template:
        raise CardDataInvalid(f"an answer that is no template {template}")
    return objects[0].children
