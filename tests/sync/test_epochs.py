"""Old disks, pruned journals and restored back offices: what the two sides do until they agree again."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from edge.backoffice.verify import verify
from edge.domain.ledger import facts
from edge.store.pruning import Retention, cut, plan
from edge.store.store import Owner

from .conftest import PATIENCE_S, now

OWNER = Owner(site="s1", device="d1")


def opened(session_id: str) -> facts.SessionOpened:
    return facts.SessionOpened(
        session_id=session_id, evse_id="E", tariff_hash="0" * 64, time_zone="UTC", evse_kind="AC",
        method="account", token_commitment="0" * 64, account="A",
    )  # fmt: skip


def commit(till, fact) -> None:
    till.store.submit(lambda tx: tx.append(fact, now())).result(PATIENCE_S)


def sessions(books: Path) -> list[str]:
    db = sqlite3.connect(books)
    found = [s for (s,) in db.execute("SELECT session_id FROM session ORDER BY opened_at, session_id")]
    db.close()
    return found


def closed(till) -> None:
    """The journal is written down as rolled back, as the daemon does it."""
    found = till.rolled_back[0]
    fact = facts.LedgerRolledBack(
        epoch=found.epoch,
        reason=found.reason,
        held=found.held,
        acknowledged=found.acknowledged,
        head=found.head,
    )
    assert till.store.roll_back(fact, now()).result(PATIENCE_S)


def test_what_was_sold_with_an_old_disk_arrives_in_the_new_epoch_once(
    make_till, mosquitto, back_office, wait, books, tmp_path: Path
) -> None:
    office = back_office(mosquitto.address)
    till = make_till("till")
    commit(till, opened("first"))
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().acknowledged == till.written, "the first entries")
    till.close()
    shutil.copytree(till.folder, tmp_path / "old")
    till.open()
    commit(till, opened("lost"))
    till.write(5)
    till.connect(mosquitto.address)
    wait(lambda: till.uplink.status().acknowledged == till.written, "everything")
    till.close()

    old = make_till("old")
    commit(old, opened("forked"))
    old.connect(mosquitto.address)
    wait(lambda: old.rolled_back, "the news")
    closed(old)
    commit(old, opened("while closed"))
    done = old.store.open_epoch("new_epoch", now()).result(PATIENCE_S)
    commit(old, opened("after"))
    assert done.carried >= 3
    wait(lambda: old.uplink.status().waiting == 0, "both epochs")
    wait(lambda: len(sessions(books)) == 5, "every session")
    assert sorted(sessions(books)) == ["after", "first", "forked", "lost", "while closed"]
    assert not old.uplink.status().rolled_back
    (device,) = office.stats().devices
    assert [e.upto for e in device.epochs][1] == old.written
    old.disconnect()
    old.connect(mosquitto.address)
    wait(lambda: old.uplink.status().connected, "a connection")
    wait(lambda: old.uplink.status().waiting == 0, "nothing of the old epoch comes up again")
    assert len(sessions(books)) == 5


def test_a_pruned_journal_goes_on_and_a_new_key_is_understood(
    make_till, mosquitto, back_office, wait, books
) -> None:
    back_office(mosquitto.address)
    till = make_till(watermark_s=0.05)
    till.connect(mosquitto.address)

    def acknowledged() -> bool:
        return till.uplink.status().acknowledged == till.written

    for _ in range(3):
        till.write(40)
        till.store.submit(lambda tx: tx.sign(now())).result(PATIENCE_S)
    wait(acknowledged, "everything")
    till.disconnect()  # the watermark is written down
    found = plan(till.database, Retention(entries_max=10), now().utc)
    assert till.store.submit(lambda tx: cut(tx, found, OWNER, now())).result(PATIENCE_S) > 80
    till.store.rotate_key(now()).result(PATIENCE_S)
    till.connect(mosquitto.address)
    till.write(3)
    wait(acknowledged, "what came after")
    assert verify(books).problems == ()
    till.disconnect()
    till.connect(mosquitto.address)
    till.write()
    wait(acknowledged, "after a reconnection")


def test_a_back_office_that_lost_what_was_pruned_gets_the_rest_in_a_new_epoch(
    make_till, mosquitto, back_office, wait, books, tmp_path: Path
) -> None:
    office = back_office(mosquitto.address)
    till = make_till()
    till.connect(mosquitto.address)
    till.write(10)
    wait(lambda: till.uplink.status().acknowledged == till.written, "the first ten")
    till.disconnect()
    office.close()
    shutil.copy(books, tmp_path / "backup.db")
    office = back_office(mosquitto.address)
    till.connect(mosquitto.address)
    commit(till, opened("pruned"))
    till.write(100)
    till.store.submit(lambda tx: tx.sign(now())).result(PATIENCE_S)
    till.write(2)
    wait(lambda: till.uplink.status().acknowledged == till.written, "everything")
    till.disconnect()
    office.close()
    db = sqlite3.connect(till.database)
    db.execute("UPDATE session SET status = 'ended'")
    db.commit()
    db.close()
    found = plan(till.database, Retention(entries_max=1), now().utc)
    assert till.store.submit(lambda tx: cut(tx, found, OWNER, now())).result(PATIENCE_S) > 100

    restored = back_office(mosquitto.address, database=tmp_path / "backup.db")
    till.connect(mosquitto.address)
    wait(lambda: "pruned" in (till.uplink.status().trouble or ""), "the trouble")
    wait(lambda: till.store._connection.execute("SELECT upto FROM watermark").fetchone()[0] < 20, "the fall")
    done = till.store.open_epoch("new_epoch", now()).result(PATIENCE_S)
    assert done.carried > 0
    commit(till, opened("new"))
    wait(lambda: till.uplink.status().waiting == 0, "the new epoch")
    (device,) = restored.stats().devices
    assert device.epochs[-1].upto == till.written
    assert "new" in sessions(tmp_path / "backup.db")
