"""A till's real database, filled with the sessions that the real machine makes, without any device."""

from __future__ import annotations

import importlib.util
import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from edge.domain.instant import Instant
from edge.domain.ledger.checks import Checker
from edge.store.keys import load_or_make
from edge.store.pruning import Retention, cut, note_acknowledged, plan
from edge.store.reading import Reading
from edge.store.store import Owner, Store
from edge.store.verification import verify

OWNER = Owner(site="s", device="d")


def _charger_module():
    path = Path(__file__).parent.parent / "domain" / "conftest.py"
    name = "tests_domain_charger"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


class Till:
    """A charger of tests/domain whose journal is the real store in a file. Time is the charger's own."""

    def __init__(self, folder: Path, **options) -> None:
        self.folder = folder
        self.file = folder / "till.db"
        self.options = options
        self.store = None
        module = _charger_module()
        till = self

        class Journal:
            """What the charger needs of a journal."""

            def __init__(self, at):
                till.open(at)

            def commit(self, run):
                return till.commit(run)

            @property
            def db(self):
                return till.store._connection

            def entries(self):
                with Reading(till.file) as db:
                    return list(db.entries())

            state, facts, invoices = (
                module.Journal.state,
                module.Journal.facts,
                module.Journal.invoices,
            )

        before, module.Journal = module.Journal, Journal
        Journal.state, Journal.facts, Journal.invoices = before.state, before.facts, before.invoices
        try:
            self.charger = module.Charger()
        finally:
            module.Journal = before
        self.charger.devices_answer()

    def open(self, at=None, **changes):
        at = at or self.charger.now()
        options = {"owner": OWNER, "prefix": "CT", "now": at, **self.options, **changes}
        self.store = Store.open(self.file, key=load_or_make(self.folder / "key"), **options)
        return self.store

    def restart(self):
        self.store.close()
        return self.open()

    def now(self) -> Instant:
        return self.charger.now()

    def commit(self, run):
        return self.store.submit(run).result(60)

    def sell(self, card="A", *, seconds=400, invoiced=True):
        """One session, from tap to invoice; or a tap that nobody plugs in."""
        till = self.charger
        till.tap(card)
        till.deliver()
        if invoiced:
            till.plug()
            till.deliver()
        till.wait(seconds)
        if invoiced:
            till.pilot_to("A")
            till.deliver()
            till.deliver()
        till.wait(600)
        assert till.state.session is None

    def acknowledge(self, upto=None, *, days_ago=0):
        """The back office has booked the current epoch up to there."""
        head = self.store.head
        upto = head.seq if upto is None else upto

        def run(tx):
            (sha,) = tx.connection.execute(
                "SELECT hash FROM entry WHERE epoch = ? AND seq = ?", (head.epoch, upto)
            ).fetchone()
            tx.set_watermark(head.epoch, upto, sha, self.now())
            note_acknowledged(tx, self.now().utc - timedelta(days=days_ago))

        self.commit(run)

    def prune(self, *, rows_max=150, **retention):
        """Everything that may go; how many entries went."""
        gone = 0
        rules = Retention(**{"keep_days": 1, "entries_max": 1_000_000, **retention})
        while found := plan(self.file, rules, self.now().utc, rows_max=rows_max):
            gone += self.commit(lambda tx, found=found: cut(tx, found, OWNER, self.now()))
        return gone

    def verified(self, **options):
        with Reading(self.file) as db:
            return verify(db, **options)

    def rows(self):
        with Reading(self.file) as db:
            return len(list(db.entries()))

    def export(self):
        with Reading(self.file) as db:
            anchor = db.anchor()
            return anchor, list(db.entries())


def checked(anchor, entries, **options):
    """An export, checked with nothing else at hand."""
    checker = Checker(**options)
    if anchor is not None:
        checker.start(anchor)
    for entry in entries:
        checker.add(entry)
    return checker.report()


@pytest.fixture
def till(tmp_path):
    made = []

    def make(folder=None, **options):
        made.append(Till(folder or tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


@pytest.fixture(scope="session")
def check():
    return checked


def decoded(raw):
    return msgspec.json.decode(raw)
