"""A till's journal, brokers and a back office for tests of the way between them; all real, all on loopback."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge.backoffice.options import BackofficeOptions
from edge.backoffice.receiver import Receiver
from edge.backoffice.stats import Stats, collect
from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.domain.ledger.envelope import Head
from edge.errors import StoreError
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store
from edge.sync.contract.messages import StateFields
from edge.sync.contract.topics import peer
from edge.sync.options import UplinkOptions
from edge.sync.uplink import RolledBack, Uplink
from hw.virtual.broker import EmbeddedBroker, Mosquitto

#: What a busy two-core machine may need for something that takes milliseconds.
PATIENCE_S = 60.0


def now() -> Instant:
    return Instant(utc=datetime.now(UTC), boot_id="boot-1", monotonic_ns=time.monotonic_ns())


class Till:
    """A device that only writes its journal and sends it."""

    def __init__(self, folder: Path, *, site: str = "s1", device: str = "d1", **options: Any) -> None:
        self.folder, self.site, self.device = folder, site, device
        self.options = {
            "resend_s": 0.3,
            "resend_max_s": 2.0,
            "retry_s": 0.1,
            "retry_max_s": 0.5,
            "watermark_s": 0.05,
            **options,
        }
        self.rolled_back: list[RolledBack] = []
        self.crashes: list[Exception] = []
        folder.mkdir(exist_ok=True)
        self.store = self.open()
        self.uplink: Uplink | None = None

    @property
    def database(self) -> Path:
        return self.folder / "till.db"

    def open(self) -> Store:
        self.store = Store.open(
            self.database,
            key=load_or_make(self.folder / "ledger.key"),
            owner=Owner(site=self.site, device=self.device),
            prefix="CT",
            now=now(),
            checkpoint_entries=1_000_000,  # these tests count entries
        )
        return self.store

    def write(self, count: int = 1) -> None:
        """So many entries, in one commit."""

        def append(tx: Any) -> None:
            for n in range(count):
                tx.append(facts.DeviceStopped(reason=f"entry {n}"), now())

        self.store.submit(append).result(PATIENCE_S)

    def new_epoch(self) -> None:
        """What a re-epoch does, while everything runs."""

        def found(tx: Any) -> None:
            tx.connection.execute(
                "INSERT INTO epoch (epoch, ordinal, reason) VALUES ('NEWEPOCH', 2, 'new_epoch')"
            )
            tx.head = Head(epoch="NEWEPOCH")
            tx.append(facts.DeviceStopped(reason="the first of a new epoch"), now())

        self.store.submit(found).result(PATIENCE_S)

    @property
    def written(self) -> int:
        return self.store.head.seq

    def connect(self, *brokers: str, **parts: Any) -> Uplink:
        self.uplink = Uplink(
            UplinkOptions(brokers=brokers, **self.options),
            database=self.database,
            store=self.store,
            peer=peer(self.site, self.device),
            now=now,
            on_rolled_back=self.rolled_back.append,
            on_crash=self.crashes.append,
            **{"state": lambda: StateFields(version="1", boot_id="boot-1", clock_trusted=True), **parts},
        )
        self.store.on_commit(self.uplink.wake)
        self.uplink.start()
        return self.uplink

    def disconnect(self) -> None:
        if self.uplink is not None:
            self.uplink.stop(5)
            self.uplink = None

    def close(self) -> None:
        self.disconnect()
        self.store.close()
        assert self.crashes == []


class BackOffice:
    """The receiver in a thread of this process; `kill` is for the one in a process of its own."""

    def __init__(self, database: Path, *brokers: str, **options: Any) -> None:
        self.database = database
        ready = threading.Event()
        self._receiver = Receiver(
            BackofficeOptions(
                db=str(database), brokers=brokers, need_s=0.2, retry_s=0.1, retry_max_s=0.5, **options
            ),
            on_ready=ready.set,
        )
        self._thread = threading.Thread(target=self._receiver.run, daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE_S)

    def stats(self) -> Stats:
        return collect(self.database)

    def close(self) -> None:
        self._receiver.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


class BackOfficeProcess:
    """The receiver as people run it."""

    def __init__(self, database: Path, *brokers: str) -> None:
        self.database = database
        options = [part for broker in brokers for part in ("--broker", broker)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge", "backoffice", "run", "--db", str(database), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def stop(self) -> int:
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode


def eventually(condition: Callable[[], object], what: str = "it") -> None:
    """Wait for something that happens on its own; a test's time limit, never its measure."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S:.0f} s"
        time.sleep(0.01)


def booked(database: Path) -> int:
    """How many entries the back office has without a gap, over all epochs."""
    try:
        return sum(e.upto for d in collect(database).devices for e in d.epochs)
    except StoreError:  # the receiver was killed before it made its tables
        return 0


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    broker = Mosquitto.start()
    yield broker
    broker.stop()


@pytest.fixture(params=[Mosquitto, EmbeddedBroker], ids=["mosquitto", "embedded"])
def broker(request: pytest.FixtureRequest) -> Iterator[Mosquitto | EmbeddedBroker]:
    """Each kind of broker that the till is used with."""
    broker = request.param.start()
    yield broker
    broker.stop()


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    made = Till(tmp_path / "till")
    yield made
    made.close()


@pytest.fixture
def make_till(tmp_path: Path) -> Iterator[Callable[..., Till]]:
    made: list[Till] = []

    def make(name: str = "till", **options: Any) -> Till:
        made.append(Till(tmp_path / name, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def back_office(tmp_path: Path) -> Iterator[Callable[..., BackOffice]]:
    """Start receivers on one database; those still running end with the test."""
    made: list[BackOffice] = []

    def make(*brokers: str, database: Path | None = None, **options: Any) -> BackOffice:
        made.append(BackOffice(database or tmp_path / "books.db", *brokers, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def books(tmp_path: Path) -> Path:
    return tmp_path / "books.db"


@pytest.fixture
def wait() -> Callable[..., None]:
    return eventually


@pytest.fixture
def count_booked() -> Callable[[Path], int]:
    return booked


@pytest.fixture
def start_process() -> Callable[..., BackOfficeProcess]:
    return BackOfficeProcess
