"""New epochs, new keys, and backups that come back: each leaves one chain that the public key proves."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import warnings
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge.domain.ledger import facts
from edge.domain.ledger.envelope import open_envelope, read_fact
from edge.domain.session.state import Stopping
from edge.store import pruning, restoring
from edge.store import store as store_module
from edge.store.backup import back_up
from edge.store.connection import StoreCorrupt
from edge.store.epochs import CARRIED, DECOMMISSIONED, ROLLED_BACK, LedgerDecommissioned
from edge.store.keys import KeyUnusable, load_or_make, make_successor
from edge.store.reading import Reading
from edge.store.reopening import reopen
from edge.store.restoring import LedgerNewer, RestoreRefused, restore
from edge.store.store import LedgerForeign, Owner, StoreInUse
from edge.store.transaction import Tx

OWNER = Owner(site="s", device="d")


def kinds(entries, epoch=None):
    return [e.type for e in entries if epoch in (None, e.epoch)]


def found(one, reason="ahead"):
    head = one.store.head
    return facts.LedgerRolledBack(
        epoch=head.epoch, reason=reason, held=head.seq, acknowledged=head.seq + 7, head="ab" * 32
    )


# --- epochs


def test_a_new_epoch_says_where_the_old_one_ended_and_numbers_begin_anew(till):
    one = till()
    one.sell()
    old = one.store.head
    opened = one.store.open_epoch("new_epoch", one.now()).result(60)
    one.sell()
    assert (opened.previous, opened.carried) == (old.epoch, 0)
    assert one.store.head.epoch == opened.epoch != old.epoch
    _, entries = one.export()
    first = read_fact(open_envelope(next(e for e in entries if e.epoch == opened.epoch).raw))
    assert (first.previous_epoch, first.previous_upto, first.previous_head) == (old.epoch, old.seq, old.hash)
    numbers = [i.number for i in one.charger.journal.invoices()]
    assert numbers == [f"CT-{old.epoch}-000001", f"CT-{opened.epoch}-000001"]
    assert one.verified().problems == ()
    assert one.restart().head.epoch == opened.epoch


def test_an_epoch_that_hides_the_end_of_the_one_before_is_found(till, check):
    one = till()
    one.sell()
    one.store.open_epoch("new_epoch", one.now()).result(60)
    _, entries = one.export()
    at = next(n for n, e in enumerate(entries) if n and e.type == facts.LedgerOpened.TYPE)
    assert check(None, entries).problems == ()
    assert any("does not follow" in p for p in check(None, entries[: at - 1] + entries[at:]).problems)


def test_a_rolled_back_ledger_stays_closed_until_a_new_epoch_carries_what_was_stuck(till):
    one = till()
    one.sell()
    one.acknowledge()
    one.sell()
    stuck = one.store.head.seq
    assert one.store.roll_back(found(one), one.now()).result(60)
    assert not one.store.roll_back(found(one), one.now()).result(60)
    assert one.store.closed == ROLLED_BACK
    assert one.restart().closed == ROLLED_BACK
    old = one.store.head
    opened = one.store.open_epoch("new_epoch", one.now()).result(60)
    assert one.store.closed is None
    assert opened.carried == kinds(one.export()[1]).count(facts.LedgerCarried.TYPE) > 0
    _, entries = one.export()
    carried = [read_fact(open_envelope(e.raw)) for e in entries if e.type == facts.LedgerCarried.TYPE]
    originals = {e.seq: e.raw for e in entries if e.epoch == old.epoch}
    assert [c.raw.encode() for c in carried] == [originals[c.seq] for c in carried]
    assert stuck in {c.seq for c in carried}
    assert one.verified().problems == ()
    assert not one.store.roll_back(replace(found(one), epoch=old.epoch), one.now()).result(60)


def test_a_back_office_older_than_what_was_pruned_gets_the_rest_in_a_new_epoch(till):
    one = till()
    for _ in range(4):
        one.sell()
    one.acknowledge(days_ago=5)
    one.prune()
    one.sell()
    one.commit(lambda tx: tx.connection.execute("UPDATE watermark SET upto = 2"))
    old = one.store.head.epoch
    opened = one.store.open_epoch("new_epoch", one.now()).result(60)
    assert opened.carried > 0
    row = one.store._connection.execute("SELECT closed FROM epoch WHERE epoch = ?", (old,)).fetchone()
    assert row == (CARRIED,)
    assert one.verified().problems == ()


def test_a_decommissioned_ledger_opens_again_by_provisioning_only(till):
    one = till()
    one.sell()
    one.store.decommission("sold", one.now()).result(60)
    assert one.store.closed == DECOMMISSIONED
    last = one.store.head.seq
    one.store.decommission("again", one.now()).result(60)
    assert one.store.head.seq == last
    with pytest.raises(LedgerDecommissioned):
        one.store.open_epoch("new_epoch", one.now()).result(60)
    assert one.restart().closed == DECOMMISSIONED
    one.store.open_epoch("provisioned", one.now()).result(60)
    assert one.store.closed is None
    assert one.verified().problems == ()


def test_provisioning_reopens_what_was_decommissioned_and_nothing_else(till):
    one = till()
    one.sell()
    one.store.close()
    how = {"key": load_or_make(one.folder / "key"), "owner": OWNER, "at": one.now()}
    assert reopen(one.folder / "none.db", **how) is None
    assert reopen(one.file, **how) is None
    one.open()
    one.store.decommission("moved", one.now()).result(60)
    one.store.close()
    with pytest.raises(LedgerForeign):
        reopen(one.file, **{**how, "owner": Owner(site="s", device="other")})
    assert reopen(one.file, **how) == one.open().head.epoch
    assert one.store.closed is None
    assert one.verified().problems == ()


def test_every_hundred_entries_and_an_ordered_stop_are_signed(till):
    one = till()
    for n in range(250):
        one.commit(lambda tx, n=n: tx.append(facts.MeterHalted(evse_id="E", reason=str(n)), one.now()))
        if n == 120:
            one.restart()
    _, entries = one.export()
    signed = [e.seq for e in entries if e.type == facts.LedgerCheckpoint.TYPE]
    assert all(b - a <= 101 for a, b in zip([0, *signed], [*signed, one.store.head.seq], strict=True))


# --- keys


def test_a_key_names_its_successor_and_the_chain_is_followed_from_either(till, check):
    one = till()
    one.sell()
    first = one.store._key.public_hex
    for _ in range(2):
        one.store.rotate_key(one.now()).result(60)
        one.sell()
    last = one.store._key.public_hex
    assert load_or_make(one.folder / "key").public_hex == last != first
    assert not (one.folder / "key.next").exists()
    _, entries = one.export()
    for key in (None, first, last):
        assert check(None, entries, public_key=key).problems == ()
    assert check(None, entries, public_key="cd" * 32).problems
    one.acknowledge(days_ago=5)
    one.prune()
    anchor, rest = one.export()
    for key in (None, first, last):
        assert check(anchor, rest, public_key=key).problems == ()
    assert one.restart().key_id == read_key(rest)


def read_key(entries):
    return open_envelope(entries[-1].raw).keyid


def test_a_successor_that_its_predecessor_did_not_sign_is_found(till, check, tmp_path):
    one = till()
    one.sell()
    stranger = load_or_make(tmp_path / "stranger")
    honest = one.store._key

    def forged(tx):
        fact = facts.LedgerKeySucceeded(
            key_id=stranger.key_id, public_key=stranger.public_hex, signature=stranger.sign(b"me")
        )
        tx.append(fact, one.now())
        tx.key = stranger
        tx.sign(one.now())
        tx.key = honest

    one.commit(forged)
    _, entries = one.export()
    says = "; ".join(check(None, entries, public_key=honest.public_hex).problems)
    assert "not signed by the one before" in says
    assert "names key" in says


def test_a_power_cut_between_the_new_key_and_its_place_is_mended_at_the_next_start(till, monkeypatch):
    one = till()
    one.sell()
    monkeypatch.setattr(store_module, "take_over", lambda *_: None)
    key_id = one.store.rotate_key(one.now()).result(60)
    one.sell()
    monkeypatch.undo()
    assert load_or_make(one.folder / "key").key_id != key_id
    assert one.restart().key_id == key_id == load_or_make(one.folder / "key").key_id
    assert one.verified().problems == ()


def test_a_new_key_that_was_made_and_never_named_does_no_harm(till):
    one = till()
    make_successor(one.folder / "key")
    key_id = one.store.key_id
    assert one.restart().key_id == key_id
    one.store.rotate_key(one.now()).result(60)
    assert one.restart().key_id != key_id
    assert one.verified().problems == ()
    one.store.close()
    shutil.copy(one.folder / "key", one.folder / "safe")
    (one.folder / "key").unlink()
    with pytest.raises(KeyUnusable):
        one.open()
    (one.folder / "safe").replace(one.folder / "key")
    one.open()


# --- backups


def restored(one, backup, **options):
    options = {
        "key": load_or_make(one.folder / "key"), "owner": OWNER, "prefix": "CT", "at": one.now(), **options,
    }  # fmt: skip
    return restore(backup, one.file, **options)


@pytest.fixture
def backed(till, tmp_path):
    one = till()
    one.sell()
    return one, back_up(one.file, tmp_path / "backup.db")


def test_a_backup_over_nothing_opens_a_new_epoch(backed):
    one, backup = backed
    old = one.store.head
    one.store.close()
    one.file.unlink()
    done = restored(one, backup)
    assert (done.previous_epoch, done.previous_upto, done.laid_aside) == (old.epoch, old.seq, None)
    assert one.open().head.epoch == done.epoch
    one.sell()
    assert one.verified(public_key=one.store._key.public_hex).problems == ()
    assert one.file.stat().st_mode & 0o777 == 0o600


def test_a_newer_ledger_is_not_overwritten_unless_it_has_to_be(backed):
    one, backup = backed
    one.sell()
    one.store.close()
    with pytest.raises(LedgerNewer):
        restored(one, backup)
    assert one.verified().invoices == 2
    done = restored(one, backup, force=True)
    assert one.verified().invoices == 1
    with Reading(one.folder / "till.db.replaced-1") as aside:
        assert len(list(aside.invoices())) == 2
    assert done.laid_aside == str(one.folder / "till.db.replaced-1")
    one.open()


def test_a_ledger_that_cannot_be_read_is_laid_aside(backed):
    one, backup = backed
    one.store.close()
    one.file.write_bytes(b"nothing that SQLite knows" * 400)
    restored(one, backup)
    assert one.open().closed is None
    assert (one.folder / "till.db.replaced-1").read_bytes().startswith(b"nothing")
    with pytest.raises(StoreCorrupt), Reading(one.folder / "till.db.replaced-1"):
        pass


def test_what_is_no_backup_of_this_till_is_refused(backed, tmp_path):
    one, backup = backed
    with pytest.raises(StoreInUse):
        restored(one, backup)
    one.store.close()
    before = one.file.read_bytes()
    with pytest.raises(LedgerForeign):
        restored(one, backup, owner=Owner(site="s", device="other"))
    with pytest.raises(RestoreRefused):
        restored(one, one.file)
    broken = tmp_path / "broken.db"
    shutil.copy(backup, broken)
    db = sqlite3.connect(broken)
    db.execute("DELETE FROM entry WHERE seq = 5")
    db.commit()
    db.close()
    with pytest.raises(RestoreRefused, match="problems"):
        restored(one, broken)
    assert one.file.read_bytes() == before
    one.open()


def test_a_session_that_was_open_in_the_backup_is_closed_as_the_backup_knew_it(till, tmp_path):
    """The register has gone on with other cars: their energy is nobody's of the backup."""
    one = till()
    one.charger.tap("C")
    one.charger.deliver()
    one.charger.plug()
    one.charger.deliver()
    one.charger.wait(2000)
    backup = back_up(one.file, tmp_path / "b.db")
    known = one.charger.journal.state().session.measured
    one.charger.pilot_to("A")
    one.charger.deliver()
    one.charger.deliver()
    one.store.close()
    done = restored(one, backup, force=True)
    assert done.sessions_closed == 1
    one.open()
    state = one.charger.journal.state()
    assert isinstance(state.session.state, Stopping)
    one.charger.state = state
    one.charger.register_mwh += 500_000_000
    one.charger.pending.clear()
    one.charger.crash(off_s=3600, new_boot=True)
    one.charger.devices_answer()
    one.charger.deliver()
    one.charger.deliver()
    one.charger.wait(60)
    (ended,) = one.charger.journal.facts(facts.EnergyEnded)
    assert (ended.register_wh, ended.estimated, ended.reason) == (known.last_wh, True, "restored")
    assert one.verified().problems == ()


def test_a_hold_without_energy_in_the_backup_is_given_back(till, tmp_path):
    one = till()
    one.charger.tap("C")
    one.charger.deliver()
    backup = back_up(one.file, tmp_path / "b.db")
    one.store.close()
    restored(one, backup, force=True)
    one.open()
    one.charger.state = one.charger.journal.state()
    one.charger.pending.clear()
    one.charger.crash(off_s=3600, new_boot=True)
    one.charger.devices_answer()
    one.charger.deliver()
    one.charger.wait(30)
    report = one.verified()
    assert (report.problems, report.open_holds) == ((), ())


def test_a_lost_key_begins_a_new_chain_that_the_new_key_proves(backed):
    one, backup = backed
    old = one.store._key.public_hex
    one.store.close()
    one.file.unlink()
    (one.folder / "key").unlink()
    restored(one, backup)
    new = one.open()._key.public_hex
    assert one.verified().problems == ()
    assert one.verified(public_key=new).problems == ()
    assert any("did not name" in p for p in one.verified(public_key=old).problems)


# --- killed in the middle


def killed(at, run, *traps):
    """Run in a process of its own, which is killed at the `at`-th call of what is trapped. True: it got to its end."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # the child calls nothing that another thread may hold
        child = os.fork()
    if child == 0:
        calls = 0

        def trap(owner, name):
            real = getattr(owner, name)

            def trapped(*args, **options):
                nonlocal calls
                calls += 1
                if calls == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **options)

            setattr(owner, name, trapped)

        try:
            for owner, name in traps:
                trap(owner, name)
            run()
        except BaseException:  # noqa: BLE001  (a child that fails must not go on as pytest)
            os._exit(70)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return status == 0


@pytest.mark.parametrize("at", range(1, 13))
def test_a_restore_that_is_killed_leaves_the_old_ledger_or_the_new_one(backed, at):
    one, backup = backed
    one.sell()
    old = one.store.head
    one.store.close()
    traps = [
        (os, "fsync"), (os, "link"), (Path, "replace"), (restoring, "open_epoch"), (restoring, "open_writer"),
        (restoring, "copy_of"), (restoring, "migrate"),
    ]  # fmt: skip
    done = killed(at, lambda: restored(one, backup, force=True), *traps)
    head = one.open().head
    assert head == old or head.epoch != old.epoch
    if done:
        assert head.epoch != old.epoch
    one.sell()
    assert one.verified(public_key=one.store._key.public_hex).problems == ()


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("what", ["prune", "new epoch", "key"])
def test_what_is_killed_in_the_middle_was_done_whole_or_not_at_all(till, what, at):
    one = till()
    for _ in range(3):
        one.sell()
    one.acknowledge(days_ago=5)
    before, rows = one.store.head, one.rows()
    one.store.close()

    def run():
        one.open()
        match what:
            case "prune":
                one.prune()
            case "new epoch":
                one.store.open_epoch("new_epoch", one.now()).result(60)
            case "key":
                one.store.rotate_key(one.now()).result(60)

    traps = {
        "prune": [(pruning, "write_anchor"), (Tx, "append"), (pruning, "anchor_of")],
        "new epoch": [(Tx, "append"), (Tx, "sign")],
        "key": [(Tx, "append"), (Tx, "sign"), (Path, "replace"), (os, "fsync")],
    }
    done = killed(at, run, *traps[what])
    one.open()
    assert not done or one.store.head != before
    assert (one.rows() == rows) == (one.store.head == before)
    one.sell()
    assert one.verified(public_key=one.store._key.public_hex).problems == ()
