"""Where each figure comes from: the database through a reader of its own, the controllers, the kernel."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from edge.domain.instant import Instant
from edge.domain.view import View
from edge.metrics.exposition import Family, family
from edge.store.reading import Reading, Row
from edge.sync.uplink.queue import QueueStatus, queue_status


class Evse(Protocol):
    """What is asked of a controller."""

    @property
    def evse_id(self) -> str: ...

    @property
    def shown(self) -> View | None: ...

    @property
    def meter_read_at(self) -> datetime | None: ...


class Clock(Protocol):
    """Both clocks of the till."""

    def now(self) -> Instant: ...

    def trusted(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is measured. `connected` is None where there is no back office."""

    version: str
    database: Path
    evses: Sequence[Evse]
    clock: Clock
    connected: Callable[[], bool | None]


def families(sources: Sources) -> Iterator[Family]:
    """Every figure. Blocks for as long as the database takes; raises StoreError."""
    began = time.monotonic()
    yield Family(
        name="chargetill_build_info",
        kind="gauge",
        help="The version that runs.",
        samples=(((("version", sources.version),), 1),),
    )
    with Reading(sources.database) as db:
        stats, outcomes = db.stats(), db.outcomes()
    yield from _books(stats, outcomes)
    yield from _evses(sources)
    queue = queue_status(sources.database, brokers=None, now=sources.clock.now().utc)
    yield from _sync(queue, sources.connected())
    yield family(
        "chargetill_clock_trusted",
        "gauge",
        "1 when the wall clock may date an invoice.",
        sources.clock.trusted(),
    )
    yield from _disk(sources.database)
    yield from _process()
    yield family(
        "chargetill_scrape_seconds", "gauge", "What this answer took to measure.", time.monotonic() - began
    )


def _books(stats: Row, outcomes: dict[str, tuple[int, int]]) -> Iterator[Family]:
    yield Family(
        name="chargetill_sessions_total",
        kind="counter",
        help="Sessions that ended, by outcome.",
        samples=tuple(((("outcome", name),), count) for name, (count, _) in outcomes.items()),
    )
    yield family("chargetill_sessions_open", "gauge", "Sessions that run.", stats["open_sessions"])
    yield family(
        "chargetill_energy_wh_total",
        "counter",
        "Energy of the sessions that ended, in Wh.",
        sum(energy_wh for _, energy_wh in outcomes.values()),
    )
    yield Family(
        name="chargetill_revenue_minor",
        kind="gauge",
        help="Invoiced minus credited, tax included, in minor units of the currency.",
        samples=tuple(((("currency", t["currency"]),), t["payable_minor"]) for t in stats["totals"]),
    )
    yield family("chargetill_invoices_total", "counter", "Invoices that were sealed.", stats["invoices"])
    yield family("chargetill_open_holds", "gauge", "Holds that have not ended.", len(stats["open_holds"]))
    yield family("chargetill_journal_entries", "gauge", "Entries in the journal.", stats["entries"])


def _evses(sources: Sources) -> Iterator[Family]:
    now = sources.clock.now().utc
    shown = [(e.evse_id, e.shown) for e in sources.evses]
    yield Family(
        name="chargetill_evse_in_order",
        kind="gauge",
        help="0 while an EVSE sells nothing.",
        samples=tuple(((("evse_id", i),), None if v is None else v.kind != "out_of_order") for i, v in shown),
    )
    yield Family(
        name="chargetill_evse_state",
        kind="gauge",
        help="1 for the state that an EVSE's screen shows, with the reason where it is out of order.",
        samples=tuple(
            ((("evse_id", i), ("state", v.kind), ("reason", v.reason or "")), 1)
            for i, v in shown
            if v is not None
        ),
    )
    yield Family(
        name="chargetill_evse_power_w",
        kind="gauge",
        help="Power at the meter, in W, while a session runs.",
        samples=tuple(((("evse_id", i),), None if v is None else v.power_w) for i, v in shown),
    )
    yield Family(
        name="chargetill_meter_age_seconds",
        kind="gauge",
        help="Since the last good reading of the meter.",
        samples=tuple(((("evse_id", e.evse_id),), _age_s(now, e.meter_read_at)) for e in sources.evses),
    )


def _age_s(now: datetime, at: datetime | None) -> float | None:
    return None if at is None else max(0.0, round((now - at).total_seconds(), 1))


def _sync(queue: QueueStatus, connected: bool | None) -> Iterator[Family]:  # noqa: FBT001
    yield family("chargetill_sync_connected", "gauge", "1 while a broker has us.", connected)
    yield family(
        "chargetill_sync_waiting_entries",
        "gauge",
        "Entries that the back office has not acknowledged.",
        queue.waiting,
    )
    yield family(
        "chargetill_sync_oldest_waiting_seconds",
        "gauge",
        "How long the oldest of them waits.",
        queue.oldest_waiting_s or 0,
    )
    yield family(
        "chargetill_sync_refused_entries",
        "gauge",
        "Entries that the back office refuses: a person has to look at its quarantine.",
        queue.refused,
    )


def _disk(database: Path) -> Iterator[Family]:
    parts = [database, database.with_name(database.name + "-wal")]
    size = sum(p.stat().st_size for p in parts if p.exists())
    yield family("chargetill_database_bytes", "gauge", "The database with its write-ahead log.", size)
    free = shutil.disk_usage(database.parent).free
    yield family("chargetill_disk_free_bytes", "gauge", "Room on the disk of the database.", free)


def _process() -> Iterator[Family]:
    """Names and meanings as Prometheus' own clients have them."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    yield family(
        "process_resident_memory_bytes", "gauge", "Memory in use.", pages * os.sysconf("SC_PAGE_SIZE")
    )
    times = os.times()
    yield family("process_cpu_seconds_total", "counter", "CPU time.", round(times.user + times.system, 2))
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    running_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    yield family("process_start_time_seconds", "gauge", "When it started.", round(time.time() - running_s, 2))
    yield family(
        "process_open_fds", "gauge", "Open file descriptors.", len(list(Path("/proc/self/fd").iterdir()))
    )
