"""Where a trial's till may die: at every write of its disk, commit, effect, and message of each protocol.

A point is a name such as `commit session.opened` (the commit with that fact is durable, and nobody has acted upon it),
`effect Capture` (it is about to begin), `zvt 06 22` (the packet is about to leave), or `iso8583 reply` (it has come and
is about to be heard). A life ends at the n-th time at one of some points, drawn over the kinds, or after so many steps.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final, Literal, get_args

import msgspec

from edge.domain.ledger.facts import Fact
from edge.domain.session import effects as fx

Kind = Literal["disk", "commit", "effect", "meter", "wallbox", "zvt", "iso8583", "card", "mqtt"]

_PREFIX: Final = "chargetill."


def name_of(fact_type: str) -> str:
    """`session.opened` for `chargetill.session.opened.v1`."""
    return fact_type.removeprefix(_PREFIX).rpartition(".")[0]


#: Facts that people order, or that a story without their cause never writes.
_UNUSED: Final = (
    "device.decommissioned", "evse.blocked", "evse.unblocked", "ledger.key_succeeded", "ledger.rolled_back",
    "ledger.carried", "plan.", "statement.",
)  # fmt: skip

#: What only an eventful trial comes by (parts/till_scene.py): invoices that are taken back.
_EVENTFUL: Final = ("credit_note.", "refund.")

#: Written before a life can be made to die.
_EARLY: Final = ("ledger.opened",)

_OTHERS: Final[dict[Kind, tuple[str, ...]]] = {
    "disk": ("write", "sync"),
    "meter": ("read", "reply", "sign"),
    "wallbox": ("read", "reply", "permit", "revoke", "set"),
    "zvt": (
        "06 C0", "06 22", "06 23", "06 24", "06 25", "06 50", "06 1E", "06 20", "06 00", "06 B0",
        "06 E0", "05 01", "80 00", "reply",
    ),
    "iso8583": ("0100", "0100 increment", "0220", "0420", "0800", "repeat", "reply"),
    "card": ("command",),
    "mqtt": ("entries", "state", "authorize", "acknowledged", "answered", "order"),
}  # fmt: skip


def _facts(kind: type[Fact]) -> Iterable[type[Fact]]:
    for each in kind.__subclasses__():
        yield each
        yield from _facts(each)


def _points(*, eventful: bool) -> dict[Kind, tuple[str, ...]]:
    types = sorted({name_of(f.TYPE) for f in _facts(Fact) if "TYPE" in vars(f)})
    never = (*_UNUSED, *_EARLY, *(() if eventful else _EVENTFUL))
    written = [t for t in types if not t.startswith(never)]
    effects = [each.__name__ for each in get_args(fx.Effect)]
    found = {"commit": tuple(written), "effect": tuple(effects), **_OTHERS}
    if eventful:
        found["iso8583"] = (*found["iso8583"], "0200")
    return {kind: tuple(f"{kind} {each}" for each in found[kind]) for kind in get_args(Kind)}


#: Every point by its kind, and those of an ordinary trial.
POINTS: Final = _points(eventful=True)
_ORDINARY: Final = _points(eventful=False)


#: How often a life of some minutes comes by the points that it comes by often; all others are rare.
_OFTEN: Final = {
    "disk write": 400, "disk sync": 40, "meter read": 200, "meter reply": 200, "wallbox read": 200,
    "wallbox reply": 300, "wallbox permit": 30, "zvt reply": 60, "zvt 80 00": 60, "card command": 30,
    "mqtt entries": 20, "mqtt acknowledged": 20,
}  # fmt: skip

#: What few lives come by at all.
EVENTS: Final = (
    "commit credit_note.sealed", "commit refund.requested", "commit refund.done", "iso8583 0200",
    "commit evse.contactor_welded", "commit evse.contactor_released",
)  # fmt: skip


class Fuse:
    """When a life ends: at the first of some points that is come by as often as it says, or at step `steps`."""

    def __init__(self, *, steps: int | None = None, points: dict[str, int] | None = None) -> None:
        self._steps, self._left = steps, points or {}

    @classmethod
    def drawn(
        cls, rng: random.Random, steps_max: int, kinds: Collection[Kind], *, eventful: bool = False
    ) -> Fuse:
        """A third of them at any step, early ones as likely as all others; else at a point of one of some kinds."""
        all_points = POINTS if eventful else _ORDINARY
        steps = rng.choice((rng.randint(1, 100), rng.randint(1, steps_max), rng.randint(200, steps_max)))
        if rng.random() < 1 / 3:
            return cls(steps=steps)
        points = {}
        others = [k for k in all_points if k in kinds and k != "commit"]
        for kind in ("commit", "commit", *rng.sample(others, 3)):
            point = rng.choice(all_points[kind])
            points[point] = rng.randint(1, _OFTEN[point]) if point in _OFTEN else rng.choice((1, 1, 2, 3))
        return cls(steps=steps_max, points=points)

    def burns(self, steps: int, points: Collection[str]) -> str | None:
        """The point at which it ends, None as long as it goes on."""
        for point in points:
            if point in self._left:
                self._left[point] -= 1
                if self._left[point] <= 0:
                    return point
        if self._steps is not None and steps >= self._steps:
            return next(iter(points))
        return None


class Passed(msgspec.Struct, frozen=True):
    """How many trials came by a point, and how many died there."""

    passed: int
    died: int


def coverage(passed: Iterable[Collection[str]], died: Iterable[Collection[str]]) -> dict[str, Any]:
    """By kind, each point with the trials that came by and died there; `never`: points that no trial came by."""
    by, at = Counter[str](), Counter[str]()
    for points in passed:
        by.update(points)
    for points in died:
        at.update(points)
    table: dict[str, dict[str, Passed]] = defaultdict(dict)
    never = []
    for kind, points in POINTS.items():
        others = sorted(p for p in by if p.startswith(f"{kind} ") and p not in points)
        for point in (*points, *others):
            if by[point]:
                table[kind][point.removeprefix(f"{kind} ")] = Passed(by[point], at[point])
            else:
                never.append(point)
    return {"points": dict(table), "never": never}
