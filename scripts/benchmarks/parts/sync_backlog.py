"""The whole daemon with a journal that nobody has acknowledged, while it sends it: its memory at its highest."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from parts.sync_world import compile_house, identity, make_journal, receiver

from edge.backoffice.access import Authority
from edge.sync.contract.topics import Peer
from hw.virtual.broker import EmbeddedBroker, Mosquitto
from hw.virtual.place import evse, furnish, head

#: The daemon is watched for so long from its first acknowledgement on; the backlog lasts longer.
_WATCH_S = 15.0

#: Opening a journal of a million entries, on a disk that has to be read.
_START_MAX_S = 120.0

_EVSES = (
    evse("DE*T*1", label="1"),
    evse("DE*T*2", label="2", meter_at="tcp://127.0.0.3:9", charge_point_at="tcp://127.0.0.4:9"),
)


def backlog(entries: int, kind: type[Mosquitto | EmbeddedBroker]) -> dict[str, dict[str, float]]:
    """The daemon's highest memory (MB of 10^6 bytes, and MiB) while it sends, and how much it sent meanwhile: `plain`,
    and over `tls` with a certificate of its own where the broker can.
    """
    compile_house()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_journal(folder, entries).close()
        database = folder / "till.db"
        if kind is not Mosquitto:
            return {"plain": _sent(folder, kind.start(), entries, tls=None)}
        shutil.copyfile(database, folder / "whole.db")
        found = {"plain": _sent(folder, kind.start(), entries, tls=None)}
        for file in ("till.db-wal", "till.db-shm", *(path.name for path in folder.glob("books.db*"))):
            (folder / file).unlink(missing_ok=True)
        (folder / "whole.db").replace(database)
        access = Authority.open(folder / "access")
        found["tls"] = _sent(folder, _guarded(access), entries, tls=access)
        return found


def _guarded(access: Authority) -> Mosquitto:
    """A broker that lets in who has a certificate, each at its own topics."""
    access.issue_broker(("127.0.0.1",))
    access.issue_device(Peer("s1", "d1"))
    access.issue_backoffice()
    broker = Mosquitto.start()
    broker.stop()
    broker.lines = tuple(access.write_mosquitto(broker.port, address="127.0.0.1").read_text().splitlines())
    broker.restart()
    return broker


def _sent(
    folder: Path, broker: Mosquitto | EmbeddedBroker, entries: int, *, tls: Authority | None
) -> dict[str, float]:
    mqtt = f'[mqtt]\nbrokers = ["{broker.address}"]\n'
    if tls is not None:
        mqtt += identity(tls, "device-s1.d1")
    furnish(folder, "".join((head(), mqtt, *_EVSES)))
    with receiver(folder, broker.address, tls=tls):
        highest_kib = _highest(folder)
    broker.stop()
    return {
        "entries": entries,
        "acknowledged": _acknowledged(folder / "till.db"),
        "rss_mb": round(highest_kib * 1024 / 1e6, 1),
        "rss_mib": round(highest_kib / 1024, 1),
    }


def _highest(folder: Path) -> int:
    """VmHWM of the daemon in KiB, shared libraries included."""
    daemon = subprocess.Popen(
        [sys.executable, "-m", "edge", "--config", folder / "config.toml", "run"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ends = time.monotonic() + _START_MAX_S
        while not _acknowledged(folder / "till.db"):
            if daemon.poll() is not None or time.monotonic() >= ends:
                raise RuntimeError("the daemon sends nothing")
            time.sleep(0.5)
        time.sleep(_WATCH_S)
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])
    finally:
        daemon.terminate()
        daemon.wait()


def _acknowledged(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        (upto,) = db.execute("SELECT COALESCE(SUM(upto), 0) FROM watermark").fetchone()
    return int(upto)
