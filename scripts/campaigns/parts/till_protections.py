"""The till without one of its protections: what the campaign has to notice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal
from unittest.mock import patch

from edge.domain.instant import Instant
from edge.runtime import keeper as keeping
from edge.runtime.controller import EvseController
from edge.store import store as storing
from hw.bus.bus import Bus
from hw.bus.marks import Mark
from hw.evse import heidelberg

Protection = Literal["fsync", "intent", "ack", "quarantine", "lease"]


@contextmanager
def without(protection: Protection | None) -> Iterator[None]:
    """Within this the till runs without it."""
    with ExitStack() as stack:
        for target, name, new in () if protection is None else _PATCHES[protection]():
            stack.enter_context(patch.object(target, name, new))
        yield


def _fsync() -> list[tuple[Any, str, Any]]:
    """Commits that return before they are on the medium."""
    opened = storing.open_writer

    def hasty(path: Any) -> Any:
        connection = opened(path)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    return [(storing, "open_writer", hasty)]


def _intent() -> list[tuple[Any, str, Any]]:
    """Effects that begin before the commit of the step that asked for them."""
    commit = EvseController._commit  # noqa: SLF001

    async def late(controller: Any, outcome: Any, at: Any) -> Any:
        before = controller.state
        controller.state = outcome.state
        for effect in outcome.effects:
            controller._perform(effect, at)  # noqa: SLF001
        await controller._clock.sleep(0.5)  # noqa: SLF001
        controller.state = before
        return await commit(controller, outcome, at)

    return [(EvseController, "_commit", late)]


def _ack() -> list[tuple[Any, str, Any]]:
    """What stands in the journal counts as acknowledged, and may be pruned."""
    note = keeping.note_acknowledged

    def believed(tx: Any, now: Any) -> None:
        at = Instant(utc=now, boot_id="", monotonic_ns=0)
        tx.set_watermark(tx.head.epoch, tx.head.seq, tx.head.hash, at)
        note(tx, now)

    return [(keeping, "note_acknowledged", believed)]


def _quarantine() -> list[tuple[Any, str, Any]]:
    """A bus that goes on at once after a fault, and asks in the same way each time."""

    def forgetful(bus: Any, unit: Any, request: Any, stray: int) -> None:
        del bus, unit, request, stray

    def first(_bus: Any, plan: Any, _now: float) -> Any:
        return *plan.variants[0], True

    received = Bus._on_bytes  # noqa: SLF001

    def careless(bus: Any, data: bytes) -> None:
        received(bus, data)
        bus._unsettled = False  # noqa: SLF001

    def trusting(mark: Any, at: float, turn: int, _ghost_s: float, *, answered: bool) -> None:
        mark.at, mark.turn, mark.answered = at, turn, answered

    return [
        (Bus, "_fault", forgetful),
        (Bus, "_choose", first),
        (Bus, "_on_bytes", careless),
        (Mark, "used", trusting),
    ]


def _lease() -> list[tuple[Any, str, Any]]:
    """A wallbox whose permission lasts until somebody takes it back."""

    async def prepare(evse: Any) -> None:
        await evse._set(heidelberg.CURRENT_DA, 0)  # noqa: SLF001
        await evse._set(heidelberg.WATCHDOG_MS, 0)  # noqa: SLF001
        await evse._set(heidelberg.STANDBY, heidelberg.STANDBY_OFF)  # noqa: SLF001
        await evse._set(heidelberg.LOCK, heidelberg.UNLOCKED)  # noqa: SLF001
        evse._permitted, evse._allowed, evse._owed = None, False, False  # noqa: SLF001

    return [(heidelberg.Heidelberg, "prepare", prepare)]


_PATCHES = {"fsync": _fsync, "intent": _intent, "ack": _ack, "quarantine": _quarantine, "lease": _lease}
