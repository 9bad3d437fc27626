"""Who charged where is nobody else's business: files are the service's own, whatever the umask says."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from edge.domain.instant import Instant
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store


def test_the_database_and_its_log_are_readable_by_their_owner_only(tmp_path):
    before = os.umask(0)
    try:
        now = Instant(utc=datetime.now(UTC), boot_id="b", monotonic_ns=0)
        key = load_or_make(tmp_path / "key")
        owner = Owner(site="s", device="d")
        store = Store.open(tmp_path / "t.db", key=key, owner=owner, prefix="CT", now=now)
        modes = {f.name: f.stat().st_mode & 0o777 for f in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)

    assert {"t.db", "t.db-wal", "t.db.lock", "key"} <= set(modes)
    assert set(modes.values()) == {0o600}
