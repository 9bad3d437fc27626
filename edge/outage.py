"""A till whose disk fails: it sells nothing, says so on its screen and upstream, and waits until the disk is well.

    outage = Outage(config, board, clock)
    await outage.last(error, stop)         # returns when the database takes a commit again, or `stop` is set

The contactors are open by then. What was under way stands in the journal where its last commit left it, and the next
start, which follows at once in the same process, resumes or ends it. Nothing is ever repaired or laid aside: a ledger
that is broken waits for a person. Part of the composition root.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Final, cast

from edge import __version__, log
from edge.config import Config
from edge.domain.view import View
from edge.errors import StoreError
from edge.kiosk import Board, KioskOptions
from edge.ports import Clock
from edge.runtime.watchdog import interval_s, notify
from edge.store.connection import (
    StoreCorrupt,
    StoreFull,
    StoreReadOnly,
    StoreUnreadable,
    check_whole,
    open_writer,
    translated,
)
from edge.store.store import take_lock
from edge.sync.contract.messages import EvseHealth, StateFields
from edge.sync.contract.topics import peer
from edge.sync.options import UplinkOptions
from edge.sync.uplink import Uplink

#: What a till lives through. Every other error of the store is a mistake, or another daemon.
ENDURED: Final = (StoreFull, StoreReadOnly, StoreUnreadable, StoreCorrupt)

#: Why nothing is sold, as the screen and the state topic have it.
REASON: Final = "store_failed"

#: Between two looks at the disk: at first soon, for what heals by itself; then as often as a person would look.
_LOOK_S: Final = 5.0
_LOOK_MAX_S: Final = 60.0

#: What is well for so long has healed: the next failure starts again with short waits.
_WELL_S: Final = 600.0

#: For the goodbye upstream.
_STOP_S: Final = 2.0


class _NoStore:
    """What the uplink writes its watermark to: nothing is kept, which is safe (edge/sync/uplink/watermark.py)."""

    def submit(self, _run: Callable[[Any], Any]) -> Future[Any]:
        raise StoreUnreadable("the database takes no commits")


class Outage:
    """See the module. One for the life of a process: failures that follow each other are waited for longer."""

    def __init__(self, config: Config, board: Board, clock: Clock) -> None:
        self._config = config
        self._board = board
        self._clock = clock
        self._look_s = _LOOK_S
        self._ended_s: float | None = None

    async def last(self, error: StoreError, stop: asyncio.Event) -> None:
        """Until the database takes a commit again, or `stop` is set."""
        log.error("till.out_of_order", error=error, reason=REASON)
        if self._ended_s is None or time.monotonic() - self._ended_s >= _WELL_S:
            self._look_s = _LOOK_S
        for evse in self._config.evses:
            section = evse.section
            self._board.show(
                View(evse_id=section.id, label=section.label, kind="out_of_order", reason=REASON)
            )
        uplink = self._uplink()
        around: list[asyncio.Future[None]] = [asyncio.ensure_future(_signs_of_life())]
        if self._config.kiosk is not None:
            options = cast("KioskOptions", self._config.kiosk)
            from edge.kiosk.server import serve as serve_kiosk

            around.append(asyncio.ensure_future(serve_kiosk(self._board, options)))
        try:
            notify(f"READY=1\nSTATUS=out of order: {error.message}")
            await self._heals(error, stop)
        finally:
            for task in around:
                task.cancel()
            await asyncio.gather(*around, return_exceptions=True)
            if uplink is not None:
                await asyncio.to_thread(uplink.stop, _STOP_S)
            self._ended_s = time.monotonic()
        notify("STATUS=")

    async def _heals(self, error: StoreError, stop: asyncio.Event) -> None:
        said = error.code
        while not stop.is_set():
            try:
                async with asyncio.timeout(self._look_s):
                    await stop.wait()
            except TimeoutError:
                self._look_s = min(2 * self._look_s, _LOOK_MAX_S)
            else:
                return
            try:
                await asyncio.to_thread(probe, self._config.database)
            except StoreError as e:
                if e.code != said:
                    log.error("till.out_of_order", error=e, reason=REASON)
                said = e.code
            else:
                log.event("till.disk_recovered", database=str(self._config.database))
                return

    def _uplink(self) -> Uplink | None:
        """The way up, as far as the journal can be read: what waits is sent, and the state says why nothing is sold."""
        config = self._config
        if config.mqtt is None:
            return None
        uplink = Uplink(
            cast("UplinkOptions", config.mqtt),
            database=config.database,
            store=_NoStore(),
            peer=peer(config.device.site, config.device.name),
            now=self._clock.now,
            state=self._state,
            on_rolled_back=lambda _: (
                None
            ),  # the next start finds it again, with a journal to write it down in
            on_crash=lambda e: log.warning("sync.silent", error=e),
        )
        uplink.start()
        return uplink

    def _state(self) -> StateFields:
        return StateFields(
            version=__version__,
            boot_id=self._clock.now().boot_id,
            clock_trusted=self._clock.trusted(),
            evses=tuple(
                EvseHealth(evse_id=e.section.id, kind="out_of_order", reason=REASON, meter_read_at=None)
                for e in self._config.evses
            ),
        )


def probe(path: Path) -> None:
    """A whole database takes a commit: one that writes a page, and syncs it. Raises StoreError."""
    if not path.exists():
        raise StoreUnreadable(f"{path} is gone")
    lock = take_lock(path)
    try:
        with closing(open_writer(path)) as db, translated("write", path):
            check_whole(db, path)
            _write(db)
    finally:
        os.close(lock)


def _write(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for marked in (version + 1, version):  # in one transaction: it ends as it began, and the page was written
        if not db.in_transaction:
            db.execute("BEGIN IMMEDIATE")
        db.execute(f"PRAGMA user_version = {marked}")
    db.execute("COMMIT")


async def _signs_of_life() -> None:
    """The process is as it should be: systemd need not end it."""
    wanted_s = interval_s()
    while True:
        await asyncio.sleep(60.0 if wanted_s is None else wanted_s / 3)
        if wanted_s is not None:
            notify("WATCHDOG=1")
