"""A journal to send, and who receives it; for the benchmarks of the sync."""

from __future__ import annotations

import compileall
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.backoffice.access import BACKOFFICE_NAME, Authority
from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store

_HOUSE = Path(__file__).resolve().parents[3]

_ROWS_PER_COMMIT = 1000


def now() -> Instant:
    """The time by this computer."""
    return Instant(utc=datetime.now(UTC), boot_id="bench", monotonic_ns=time.monotonic_ns())


def make_journal(folder: Path, entries: int) -> Store:
    """Entries of about 600 bytes, as a session's checkpoints have."""
    store = Store.open(
        folder / "till.db",
        key=load_or_make(folder / "ledger.key"),
        owner=Owner(site="s1", device="d1"),
        prefix="CT",
        now=now(),
    )
    for _ in range(entries // _ROWS_PER_COMMIT):
        write(store, _ROWS_PER_COMMIT)
    return store


def write(store: Store, count: int) -> None:
    """So many entries in one durable commit."""
    fact = facts.PaymentDeclined(
        session_id="01JD0000000000000000000000", payment_ref="x" * 36, reason="y" * 120
    )

    def append(tx: Any) -> None:
        for _ in range(count):
            tx.append(fact, now())

    store.submit(append).result()


def identity(access: Authority, name: str) -> str:
    """The line of a configuration that says who somebody is at the broker."""
    ca, cert, key = (access.folder / file for file in ("ca.pem", f"{name}.pem", f"{name}.key"))
    return f'tls = {{ ca = "{ca}", cert = "{cert}", key = "{key}" }}\n'


@contextlib.contextmanager
def receiver(folder: Path, *brokers: str, tls: Authority | None = None) -> Iterator[None]:
    """The reference back office in a process of its own, subscribed at the first broker that takes it."""
    config = folder / "backoffice.toml"
    names = ", ".join(f'"{broker}"' for broker in brokers)
    text = f'db = "{folder / "books.db"}"\nbrokers = [{names}]\n'
    config.write_text(text + ("" if tls is None else identity(tls, BACKOFFICE_NAME)))
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "backoffice", "run", "--config", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the back office does not start")
        yield
    finally:
        process.terminate()
        process.wait()


def compile_house() -> None:
    """Bytecode of every module, as an installed till has it: a daemon that compiles stays larger."""
    for room in ("edge", "hw"):
        compileall.compile_dir(_HOUSE / room, quiet=2)
