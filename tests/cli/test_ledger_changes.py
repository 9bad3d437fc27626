"""Commands that change the ledger, with a running daemon and without one."""

from __future__ import annotations

import json
import sqlite3

import pytest

from edge import inventory
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store


def said(done):
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.fixture
def founded(place):
    """A till whose ledger was begun."""
    config = inventory.load(place.config)
    owner = Owner(site=config.device.site, device=config.device.name)
    now = inventory.make_clock(config).now()
    Store.open(place.database, key=load_or_make(config.key), owner=owner, prefix="CT", now=now).close()
    return place


def rows(place, statement):
    db = sqlite3.connect(place.database)
    found = db.execute(statement).fetchall()
    db.close()
    return found


@pytest.mark.parametrize("running", [True, False])
def test_epoch_key_and_pruning_with_and_without_a_daemon(founded, daemon, call, running):
    if running:
        till = daemon(founded.config)
        till.says("till.ready")
    config = ("--config", founded.config)
    first = said(call(*config, "ledger", "stats", "--json"))
    opened = said(call(*config, "ledger", "new-epoch", "--json"))
    assert (opened["previous"], opened["carried"]) == (first["epoch"], 0)
    key = said(call(*config, "ledger", "rotate-key", "--json"))["key_id"]
    assert said(call(*config, "ledger", "prune", "--json")) == {"pruned": 0}
    stats = said(call(*config, "ledger", "stats", "--json"))
    assert (stats["epoch"], stats["key_id"], stats["closed"]) == (opened["epoch"], key, None)
    assert stats["waiting"] == stats["entries"]
    assert stats["database_bytes"] > 0
    assert said(call(*config, "ledger", "verify"))["problems"] == []
    if running:
        refused = call(*config, "ledger", "restore", founded.database, "--json")
        assert refused.error["code"] in ("store.busy", "call.restore")
        assert till.stop() == 0
        again = daemon(founded.config)
        again.says("till.ready")
        assert again.stop() == 0


def test_a_backup_is_restored_where_the_disk_was_lost(founded, daemon, call, tmp_path):
    config = ("--config", founded.config)
    backup = tmp_path / "backup.db"
    assert call(*config, "ledger", "backup", backup).code == 0
    till = daemon(founded.config)
    till.says("till.ready")
    assert till.stop() == 0
    newer = call(*config, "ledger", "restore", backup, "--json")
    assert (newer.code, newer.error["code"]) == (3, "ledger.newer")
    founded.database.unlink()
    done = said(call(*config, "ledger", "restore", backup, "--json"))
    assert done["laid_aside"] is None
    text = call(*config, "ledger", "restore", backup, "--force").out
    assert "laid aside: " in text
    till = daemon(founded.config)
    till.says("till.ready")
    assert till.stop() == 0
    assert said(call(*config, "ledger", "verify"))["problems"] == []


def test_erasing_what_is_not_there_is_a_no(founded, call):
    done = call("--config", founded.config, "privacy", "erase", "--token", "ab" * 32, "--json")
    assert done.code == 1
    assert json.loads(done.out) == {"sessions": [], "open_sessions": [], "counters": 0, "buyers": 0}
    assert call("--config", founded.config, "privacy", "erase", "--json").error["code"] == "call.usage"


@pytest.mark.parametrize("running", [True, False])
def test_a_decommissioned_till_hands_over_its_ledger_and_never_sells_again(
    founded, daemon, call, running, tmp_path
):
    config = ("--config", founded.config)
    if running:
        till = daemon(founded.config)
        till.says("till.ready")
    folder = tmp_path / "handed over"
    done = said(call(*config, "decommission", folder, "--json"))
    assert (done["acknowledged"], done["problems"]) == (True, [])
    files = ["ledger.ndjson", "public.key", "till.db", "verify.json"]
    assert sorted(f.name for f in folder.iterdir()) == files
    assert all(f.stat().st_mode & 0o777 == 0o600 for f in folder.iterdir())
    checked = call(
        "ledger", "verify", "--file", folder / "ledger.ndjson", "--public-key", folder / "public.key"
    )
    assert said(checked)["problems"] == []
    assert rows(founded, "SELECT closed FROM epoch") == [("decommissioned",)]
    assert said(call(*config, "decommission", folder, "--json"))["entries"] == done["entries"]
    refused = call(*config, "ledger", "new-epoch", "--json")
    assert (refused.code, refused.error["code"]) == (3, "ledger.decommissioned")
    if running:
        assert till.stop() == 0
        return
    assert "sells nothing: decommissioned" in call(*config, "ledger", "stats").out
    assert (founded.folder / "ledger.key").exists()
    done = said(call(*config, "decommission", folder, "--destroy-keys", "--json"))
    assert {"ledger.key", "operator.key"} <= {f.rpartition("/")[2] for f in done["keys_destroyed"]}
    assert list(founded.folder.glob("*.key")) == []
    again = said(call(*config, "decommission", folder, "--destroy-keys", "--json"))
    assert (again["keys_destroyed"], again["problems"]) == ([], [])
    assert list(founded.folder.glob("*.key")) == [], "none was made anew"


def test_what_the_back_office_does_not_have_is_not_left_behind(founded, call, tmp_path):
    founded.add('\n[mqtt]\nbrokers = ["127.0.0.1:9"]\n')
    config = ("--config", founded.config)
    done = call(*config, "decommission", tmp_path / "f", "--json")
    assert (done.code, done.error["code"]) == (3, "decommission.not_acknowledged")
    assert rows(founded, "SELECT closed FROM epoch") == [(None,)]
    done = call(*config, "decommission", tmp_path / "f", "--unacknowledged", "--destroy-keys", "--json")
    assert done.code == 1
    assert json.loads(done.out)["acknowledged"] is False
    assert (founded.folder / "ledger.key").exists()


def test_open_sessions_are_named_and_nothing_is_decommissioned(founded, call, tmp_path):
    db = sqlite3.connect(founded.database)
    db.execute(
        "INSERT INTO session (session_id, evse_id, opened_at, method, tariff_hash, status) "
        "VALUES ('s-17', 'E', '2026-01-01', 'account', 'h', 'charging')"
    )
    db.commit()
    db.close()
    done = call("--config", founded.config, "decommission", tmp_path / "f", "--json")
    assert (done.code, done.error["code"]) == (3, "decommission.sessions_open")
    assert "s-17" in done.error["message"]
    assert not (tmp_path / "f").exists()
