#!/usr/bin/env python3
"""Kill everything between the journal and the books, many times, and look whether an entry is lost or doubled.

    .venv/bin/python scripts/campaigns/sync.py --trials 200 --seed 1 --brokers 2 --json --state FILE

A trial starts a till that writes as fast as it may, brokers that keep nothing on disk, and a receiver; kills each
of them with SIGKILL, freezes brokers (a cut link), and fills the disk under either side (as root, on a tmpfs).
Meanwhile the back office orders and the till asks for permissions. Then everything runs again, and the books must
hold exactly what the till has said was committed; each order must be answered and carried out at most once, exactly
once where the answer was yes; each permission that the till was told must stand in the books, the same each time.
One line of JSON per trial; a campaign with `--state` goes on where it ended.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge.backoffice.orders import Orders, orders_key
from edge.backoffice.stats import collect
from edge.backoffice.verify import verify
from edge.errors import StoreError
from edge.store.connection import open_reader
from edge.sync.contract.orders import ListedMember, RemoteStop
from edge.sync.contract.topics import peer
from hw.virtual.broker import EmbeddedBroker, Mosquitto

Fault = Literal["till", "receiver", "broker", "freeze", "till_disk", "books_disk"]

_PEER = peer("s1", "d1")

_TILL = Path(__file__).parent / "parts" / "sync_till.py"

#: A tmpfs that a trial fits into with room to spare, and that is quickly filled.
_DISK_BYTES = 48 * 1024 * 1024

#: What an order may be answered that was not, or perhaps not, carried out.
_HONEST = {"order.interrupted", "order.old"}

#: How often the next fault waits until entries move again; else it may hit what has not even started.
_CAUGHT_UP = 0.6

#: Longer than any resend or reconnect bound below, on a busy machine.
_CONVERGENCE_MAX_S = 90.0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial did and found. `committed` is what the till's process said before it died."""

    seed: int
    brokers: int
    faults: dict[str, int]
    committed: int
    journal: int
    booked: int
    convergence_s: float
    lost: int
    orders: int
    permissions: int
    problems: tuple[str, ...]


class _World:
    """The processes of one trial."""

    def __init__(self, folder: Path, brokers: int, rng: random.Random) -> None:
        self.rng, self.folder = rng, folder
        self.till_folder, self.books_folder = folder / "till", folder / "books"
        self.books = self.books_folder / "books.db"
        kind = Mosquitto if Mosquitto.installed() else EmbeddedBroker
        self.brokers = [kind.start() for _ in range(brokers)]
        self.said = folder / "said"
        self.key = orders_key(self.books)
        self.ordered = 0
        orders = Orders(self.books, self.key)
        orders.put_members("s1", [_member(0), _member(1), msgspec.structs.replace(_member(2), blocked=True)])
        orders.close()
        self.till = self._start_till(quiet=False)
        self.receiver = self._start_receiver()

    @property
    def _addresses(self) -> list[str]:
        return [broker.address for broker in self.brokers]

    def _start_till(self, *, quiet: bool) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(_TILL), str(self.till_folder), "--key", self.key.public_hex]
        command += ["--quiet"] if quiet else []
        with self.said.open("ab") as out:
            return subprocess.Popen([*command, *self._addresses], stdout=out, stderr=subprocess.DEVNULL)

    def _start_receiver(self) -> subprocess.Popen[bytes]:
        options = [part for address in self._addresses for part in ("--broker", address)]
        return subprocess.Popen(
            [sys.executable, "-m", "edge", "backoffice", "run", "--db", str(self.books), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def order(self) -> None:
        """One more order; on a full disk there is none."""
        with contextlib.suppress(StoreError):
            orders = Orders(self.books, self.key)
            try:
                orders.command(_PEER, RemoteStop(session_id=f"order {self.ordered + 1}"))
                self.ordered += 1
            finally:
                orders.close()

    def _unanswered(self) -> int:
        orders = Orders(self.books, self.key)
        try:
            return sum(order.reply is None for order in orders.status(_PEER))
        finally:
            orders.close()

    def do(self, fault: Fault) -> None:
        pause_s = self.rng.uniform(0, 0.4)
        match fault:
            case "till":
                _kill(self.till)
                time.sleep(pause_s)
                self.till = self._start_till(quiet=False)
            case "receiver":
                _kill(self.receiver)
                time.sleep(pause_s)
                self.receiver = self._start_receiver()
            case "broker":
                broker = self.rng.choice(self.brokers)
                broker.kill()
                time.sleep(pause_s)
                broker.restart()
            case "freeze":
                broker = self.rng.choice(self.brokers)
                broker.freeze()
                time.sleep(pause_s + 0.5)
                broker.thaw()
            case "till_disk":
                self._fill(self.till_folder, pause_s)
            case "books_disk":
                self._fill(self.books_folder, pause_s)

    def _fill(self, folder: Path, pause_s: float) -> None:
        filler = folder / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        time.sleep(pause_s + 0.3)
        filler.unlink()

    def converge(self) -> tuple[float, int, int]:
        """Everything runs, nothing new is written: how long until the books have it all."""
        _kill(self.till)
        if self.receiver.poll() is not None:
            self.receiver = self._start_receiver()
        self.till = self._start_till(quiet=True)
        began, journal = time.monotonic(), -1
        while time.monotonic() - began < _CONVERGENCE_MAX_S:
            with contextlib.suppress(StoreError, sqlite3.Error):  # killed before it made its tables
                journal, booked = _last(self.till_folder / "till.db"), _booked(self.books)
                if not self._unanswered() and journal == booked and self._acknowledged() == journal:
                    break
            if self.receiver.poll() is not None:
                self.receiver = self._start_receiver()
            time.sleep(0.05)
        return time.monotonic() - began, journal, _booked(self.books)

    def committed(self) -> int:
        """The highest number that the till has said."""
        return max((int(line) for line in self._said() if line.isdecimal()), default=0)

    def _said(self) -> list[str]:
        return self.said.read_text().split("\n")[:-1]

    def moves(self) -> None:
        """Until something more is booked, or a process that a full disk ended is seen to be gone."""
        before, ends = self._reached(), time.monotonic() + _CONVERGENCE_MAX_S
        while self._reached() <= before and time.monotonic() < ends:
            if self.till.poll() is not None or self.receiver.poll() is not None:
                return
            time.sleep(0.05)

    def _reached(self) -> int:
        with contextlib.suppress(StoreError, sqlite3.Error):
            return _booked(self.books)
        return 0

    def wrong_orders(self) -> list[str]:
        """Orders without an answer, done twice, or not done though the answer was yes."""
        db = open_reader(self.till_folder / "till.db")
        rows = db.execute("SELECT raw FROM entry WHERE type = 'chargetill.device.stopped.v1'").fetchall()
        db.close()
        done = Counter(msgspec.json.decode(raw)["data"]["reason"] for (raw,) in rows)
        found = []
        orders = Orders(self.books, self.key)
        for order in orders.status(_PEER):
            name = f"order {order.version}"
            if order.reply is None:
                found.append(f"{name}: no answer")
            elif done[name] > 1 or (order.reply.ok and done[name] != 1):
                found.append(f"{name}: done {done[name]} times, ok {order.reply.ok}")
            elif order.reply.error is not None and order.reply.error.code not in _HONEST:
                found.append(f"{name}: {order.reply.error.code}")
        orders.close()
        return found

    def permissions(self) -> tuple[int, list[str]]:
        """How many answers the till was told, and those that the books know otherwise."""
        db = open_reader(self.books)
        kept = {
            reference: f"refused {refused}" if refused else f"granted {authorization_id}"
            for reference, refused, authorization_id in db.execute(
                "SELECT reference, refused, authorization_id FROM authorization"
            )
        }
        db.close()
        told = [line.split() for line in self._said() if line[:1] in {"g", "r"}]
        wrong = [
            f"{reference}: told {what} {which}, kept {kept.get(reference)}"
            for what, reference, which in told
            if kept.get(reference) != f"{what} {which}"
        ]
        return len(told), wrong

    def _acknowledged(self) -> int:
        db = open_reader(self.till_folder / "till.db")
        row = db.execute("SELECT upto FROM watermark").fetchone()
        db.close()
        return 0 if row is None else int(row[0])

    def end(self) -> None:
        for process in (self.till, self.receiver):
            _kill(process)
        for broker in self.brokers:
            broker.stop()


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _last(database: Path) -> int:
    db = open_reader(database)
    try:
        (last,) = db.execute("SELECT max(seq) FROM entry").fetchone()
    finally:
        db.close()
    return int(last or 0)


def _booked(database: Path) -> int:
    return sum(e.upto for d in collect(database).devices for e in d.epochs)


@contextlib.contextmanager
def _disks(folder: Path) -> Iterator[bool]:
    """Both sides on small disks of their own, where that is allowed; False where it is not."""
    mounted: list[Path] = []
    for name in ("till", "books"):
        disk = folder / name
        disk.mkdir()
        options = f"size={_DISK_BYTES}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        if os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            mounted.append(disk)
    try:
        yield len(mounted) == 2
    finally:
        for disk in mounted:
            subprocess.run(["umount", "-l", str(disk)], check=True)


def run(seed: int, brokers: int) -> Trial:
    """One trial."""
    rng = random.Random(seed)  # noqa: S311  (a campaign must be repeatable)
    done: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="campaign-") as temporary, _disks(Path(temporary)) as disks:
        kinds: list[Fault] = ["till", "till", "receiver", "receiver", "broker", "broker", "freeze"]
        kinds += ["till_disk", "books_disk"] if disks else []
        world = _World(Path(temporary), brokers, rng)
        try:
            world.moves()
            for _ in range(rng.randint(3, 6)):
                fault = rng.choice(kinds)
                done[fault] = done.get(fault, 0) + 1
                world.order()
                world.do(fault)
                world.order()
                if rng.random() < _CAUGHT_UP:
                    world.moves()
                time.sleep(rng.uniform(0.05, 0.6))
            seconds, journal, booked = world.converge()
        finally:
            world.end()
        committed, (permissions, wrong) = world.committed(), world.permissions()
        problems = (*verify(world.books).problems, *world.wrong_orders(), *wrong)
    return Trial(
        seed=seed,
        brokers=brokers,
        faults=done,
        committed=committed,
        journal=journal,
        booked=booked,
        convergence_s=round(seconds, 2),
        lost=max(0, committed - booked) + max(0, journal - booked),
        orders=world.ordered,
        permissions=permissions,
        problems=problems,
    )


def _member(number: int) -> ListedMember:
    return ListedMember(token=f"{number:064x}", account=f"A-{number}", limit_minor=500)


def _summary(trials: list[Trial]) -> dict[str, Any]:
    times = sorted(trial.convergence_s for trial in trials) or [0.0]
    faults: dict[str, int] = {}
    for trial in trials:
        for name, count in trial.faults.items():
            faults[name] = faults.get(name, 0) + count
    return {
        "trials": len(trials),
        "entries": sum(trial.booked for trial in trials),
        "faults": faults,
        "orders": sum(trial.orders for trial in trials),
        "permissions": sum(trial.permissions for trial in trials),
        "lost": sum(trial.lost for trial in trials),
        "with_problems": sum(bool(trial.problems) for trial in trials),
        "convergence_s": {"median": times[len(times) // 2], "max": times[-1]},
    }


def main() -> None:
    """Run the campaign; exit 1 if anything was lost or does not verify."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--brokers", type=int, default=0, help="how many; default: one and two in turn")
    parser.add_argument(
        "--state", type=Path, help="keep each trial's line here, and go on after the last one"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what a trial started ends with it
    trials: list[Trial] = []
    if arguments.state is not None and arguments.state.exists():
        trials = [msgspec.json.decode(line, type=Trial) for line in arguments.state.read_bytes().splitlines()]
    for number in range(len(trials), arguments.trials):
        trial = run(arguments.seed * 1_000_000 + number, arguments.brokers or 1 + number % 2)
        trials.append(trial)
        line = msgspec.json.encode(trial).decode()
        if arguments.state is not None:
            with arguments.state.open("a") as file:
                file.write(line + "\n")
        print(line if arguments.json else f"{number + 1}/{arguments.trials} {line}", flush=True)
    summary = _summary(trials)
    print(msgspec.json.encode(summary).decode())
    if summary["lost"] or summary["with_problems"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
