"""What the back office sent is kept; a file that broke is laid aside, for everything in it is sent again."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from edge.errors import StoreError
from edge.sync.downlink import open_lists

MQTT = '[mqtt]\nbrokers = ["127.0.0.1:9"]\n'


def test_a_daemon_starts_without_the_lists_that_broke(place, daemon):
    broken = place.folder / "till.lists.db"
    broken.write_bytes(b"no database, but long enough to be one" * 9)
    place.add(MQTT)
    till = daemon(place.config)
    till.says("order.lists_lost")
    till.says("till.ready")
    assert till.stop() == 0
    assert (place.folder / "till.lists.db.broken").exists()
    assert broken.read_bytes().startswith(b"SQLite format 3")


def test_what_was_ordered_and_does_not_fit_any_more_is_left_out(place, daemon):
    lists = open_lists(place.folder / "till.lists.db")
    lists.keep("tariff", '{"no": "tariff"}')
    lists.keep("settings", msgspec.json.encode({"session.plug_timeout_s": 7, "gone": 1}).decode())
    lists.keep("blocked", '{"DE*T*1": "works"}')
    lists.close()
    place.add(MQTT)
    till = daemon(place.config)
    till.says("till.ready")
    refused = [line for line in till.lines if "order.not_recovered" in line]
    assert [word in " ".join(refused) for word in ("document=tariff", "document=settings")] == [True, True]
    assert till.stop() == 0
    with sqlite3.connect(place.folder / "till.lists.db") as db:
        kept = {stream for (stream,) in db.execute("SELECT stream FROM document")}
    assert kept == {"tariff", "settings", "blocked"}, "a later version may understand them"


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path):
    (tmp_path / "till.lists.db").mkdir()
    with pytest.raises(StoreError):
        open_lists(tmp_path / "till.lists.db")
