"""The operator of a trial's site, who does what only a person may, sooner or later: ends holds that are nobody's, says
that a contactor was replaced, takes invoices back at the till and from the back office.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any, Final

from parts.till_scene import Scene

from edge.errors import TillError
from edge.runtime import release
from edge.store.connection import open_reader

#: Attempts to take an invoice back in one trial: some in part, and some at one that was taken back already.
_CREDITS: Final = (2, 6)

#: An order that is not carried out by then died with the till, or its disk.
_CARRIED_OUT_S: Final = 30.0


async def look_after(scene: Scene) -> None:
    """Until cancelled: holds that are nobody's, and contactors that were replaced."""
    rng = random.Random(scene.site.rng.random())  # noqa: S311  (a campaign must be repeatable)
    while True:
        await asyncio.sleep(rng.uniform(60, 300))
        life = scene.life
        entrances = None if life is None or not life.alive else life.till._entrances  # noqa: SLF001
        for _, desk in () if entrances is None else entrances._desks:  # noqa: SLF001
            for number in desk.orphans:
                with contextlib.suppress(Exception):
                    await desk.release(number)
        for stand in scene.site.stands:
            controller = scene.controller(stand.number)
            if controller is not None and controller.state.welded is not None and not stand.welded:
                await _ordered(scene, _released(scene, controller.evse_id))


async def takes_back(scene: Scene) -> None:
    """In an eventful trial: some invoices that the back office has, on its order or at the till, whole or in part."""
    rng = random.Random(f"credit {scene.seed}")  # noqa: S311  (a campaign must be repeatable)
    for _ in range(rng.randint(*_CREDITS) if scene.eventful else 0):
        await asyncio.sleep(rng.uniform(20, 200))
        found = scene.site.books.db.execute(
            "SELECT number, payable_minor FROM invoice WHERE corrects IS NULL ORDER BY number"
        ).fetchall()
        life = scene.life
        if not found or scene.resting or life is None or life.office is None or life.till._credits is None:  # noqa: SLF001
            continue
        number, payable_minor = rng.choice(found)
        if scene.site.broker_up and rng.random() < 0.5:
            await _ordered(scene, life.office.take_back(number))
            continue
        part = f"0.{rng.randint(1, 99):02d}" if payable_minor and rng.random() < 0.5 else None
        order = {"number": number, "reason": "taken back", "amount": part}
        await _ordered(scene, life.till._credits.ordered(order))  # noqa: SLF001


def refunds_open(scene: Scene) -> bool:
    """Whether some money is still on its way back."""
    assert scene.life is not None
    with contextlib.closing(open_reader(scene.life.config.database)) as db:
        return db.execute("SELECT 1 FROM refund WHERE status = 'requested' LIMIT 1").fetchone() is not None


async def _released(scene: Scene, evse_id: str) -> None:
    assert scene.life is not None
    till = scene.life.till
    await release.handlers(till._controllers, till._clock)["evse.release"]({"evse_id": evse_id})  # noqa: SLF001


async def _ordered(scene: Scene, order: Any) -> None:
    """The till may refuse it, or die over it; what else it ends with is found."""
    life = scene.life
    assert life is not None
    if not life.alive:
        order.close()
        return
    task = life.start(order)
    await asyncio.wait({task}, timeout=_CARRIED_OUT_S)
    if task.done() and not task.cancelled() and life.alive:
        error = task.exception()
        if error is not None and not isinstance(error, TillError):
            scene.site.problems.append(f"an operator's order ended with {error!r}")
