"""Whatever happens to a ledger in whatever order: what is not acknowledged is there, and what is there verifies."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.domain.ledger import facts
from edge.store.backup import back_up
from edge.store.keys import load_or_make
from edge.store.restoring import restore
from edge.store.store import Owner

from .conftest import Till, checked


class History(RuleBasedStateMachine):
    """The model: every entry that was ever written, and how far each epoch was acknowledged."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.till = Till(Path(self.folder.name))
        self.public = self.till.store._key.public_hex
        self.written: dict[tuple[str, int], bytes] = {}
        self.acknowledged: dict[str, int] = {}
        self.days = 0
        self.changed = True

    def teardown(self):
        self.till.store.close()
        self.folder.cleanup()

    def note(self):
        """What was written since."""
        for entry in self.till.export()[1]:
            known = self.written.setdefault((entry.epoch, entry.seq), entry.raw)
            assert known == entry.raw, "an entry is never changed"
        self.changed = True

    @rule(card=st.sampled_from("AB"), invoiced=st.booleans())
    def sell(self, card, invoiced):
        self.till.sell(card, invoiced=invoiced)
        self.note()

    @rule(count=st.integers(1, 40))
    def other_facts(self, count):
        fact = facts.MeterHalted(evse_id="E", reason="jump")
        self.till.commit(lambda tx: [tx.append(fact, self.till.now()) for _ in range(count)])
        self.note()

    @rule(part=st.floats(0, 1))
    def acknowledge(self, part):
        head = self.till.store.head
        held = max((s for e, s in self.written if e == head.epoch), default=0)
        before = self.acknowledged.get(head.epoch, 0)
        upto = before + int((held - before) * part)
        if upto > before:
            self.days += 1
            self.till.acknowledge(upto, days_ago=400 - self.days)
            self.acknowledged[head.epoch] = upto

    @rule(entries_max=st.sampled_from([5, 60, 100_000]))
    def prune(self, entries_max):
        self.till.prune(entries_max=entries_max, rows_max=250)
        self.note()

    @rule()
    def restart(self):
        self.till.restart()

    @rule()
    def new_epoch(self):
        """The old one stays as it is; nobody acknowledges it any more in this model."""
        self.till.store.open_epoch("new_epoch", self.till.now()).result(60)
        self.note()

    @rule()
    def new_key(self):
        self.till.store.rotate_key(self.till.now()).result(60)
        self.note()

    @rule()
    def back_and_again(self):
        """Over a lost disk, from a backup of this moment."""
        backup = back_up(self.till.file, self.till.folder / "backup.db")
        self.till.store.close()
        self.till.file.unlink()
        restore(
            backup,
            self.till.file,
            key=load_or_make(self.till.folder / "key"),
            owner=Owner(site="s", device="d"),
            prefix="CT",
            at=self.till.now(),
        )
        self.till.open()
        self.note()

    @invariant()
    def what_is_there_verifies(self):
        if not getattr(self, "changed", False):
            return
        self.changed = False
        report = self.till.verified(public_key=self.public)
        assert report.problems == ()
        anchor, entries = self.till.export()
        alone = checked(anchor, entries, public_key=self.public)
        assert alone.problems == ()
        assert alone.entries == report.entries

    @invariant()
    def nothing_unacknowledged_is_gone(self):
        held = {(e.epoch, e.seq) for e in self.till.export()[1]}
        gone = self.written.keys() - held
        assert all(seq <= self.acknowledged.get(epoch, 0) for epoch, seq in gone)
        head = self.till.store.head
        assert (head.epoch, head.seq) in held


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=12, stateful_step_count=14, deadline=None)
