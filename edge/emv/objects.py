"""The data objects that a card gave, by tag, once each (EMV Book 3, 10.2)."""

from __future__ import annotations

from collections.abc import Iterable

from edge.emv import tlv
from edge.emv.errors import CardDataInvalid
from edge.emv.tlv import Tlv


class Objects:
    """A card's primitive data objects. Never shown or sent as a whole: it holds card data."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
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
        if self._values.setdefault(tag, value) != value:
            raise CardDataInvalid(f"the card gave {tag} twice, with different values")

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
