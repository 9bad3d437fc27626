"""What is accepted without a connection, while the wall clock shows anything."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import pytest

from edge import inventory
from edge.domain.identity import uid_token
from edge.domain.payment import Authorized, Declined
from edge.entrances import BackOffice, Entrances, Keys
from edge.payments.members import JoinedMembers
from edge.store.keys import load_or_make
from edge.store.payments import last_day
from edge.store.store import Owner, Store
from hw.virtual.clock import VirtualClock

WRITTEN = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize("shown", [datetime(1970, 1, 2, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize(("hours", "accepted"), [(1, True), (167, True), (169, False)])
def test_the_age_of_the_list_is_told_by_what_is_known_and_not_by_a_clock_that_is_wrong(
    place, shown, hours, accepted
):
    config = inventory.load(place.config)
    os.utime(config.members_file, (WRITTEN.timestamp(), WRITTEN.timestamp()))
    clock = VirtualClock(speed=1, origin=shown)
    store = Store.open(
        place.database, key=load_or_make(config.key), owner=Owner(site="s1", device="till-1"), prefix="CT",
        now=clock.now(),
    )  # fmt: skip
    key = inventory.load_operator_key(config.members_key_file)
    entrances = Entrances(
        config,
        clock=clock,
        store=store,
        currency="EUR",
        members=JoinedMembers(inventory.load_members(config, "EUR")),
        keys=Keys(token=key, sun=None, ca=None),
        hold_minor=lambda: 6000,
        back_office=BackOffice(connected=lambda: False, upstream=None),
        known_at=lambda: WRITTEN + timedelta(hours=hours),
    )
    token = uid_token(bytes.fromhex("04A1B2C3D4E5F6"), key=key, key_id="k1")
    asked = entrances.payments("DE*T*1")["account"].preauthorize(
        "r", amount_minor=1000, currency="EUR", token=token
    )
    try:
        answer = asyncio.run(asked)
    finally:
        store.close()
    if accepted:
        assert answer == Authorized(ref="r", hold_minor=1000, deferred=True)
    else:
        assert answer == Declined(ref="r", reason="list_too_old")


@pytest.mark.parametrize(
    ("shown", "ago", "counted"),
    [
        (datetime(2000, 1, 1, tzinfo=UTC), timedelta(0), 1),
        (datetime(2000, 1, 1, tzinfo=UTC), timedelta(days=3), 0),
        (datetime(2099, 1, 1, tzinfo=UTC), timedelta(0), 1),
    ],
)
def test_what_a_wrong_clock_has_dated_today_counts_as_of_today(place, shown, ago, counted):
    token = uid_token(bytes.fromhex("04A1B2C3D4E5F6"), key=bytes(32), key_id="k1")
    store = Store.open(
        place.database,
        key=load_or_make(inventory.load(place.config).key),
        owner=Owner(site="s1", device="till-1"),
        prefix="CT",
        now=VirtualClock(speed=1, origin=shown).now(),
    )

    def opened(tx):
        tx.connection.execute(
            "INSERT INTO session (session_id, evse_id, opened_at, method, tariff_hash, status) "
            "VALUES ('s', 'E', ?, 'account', 'h', 'open')",
            ((shown - ago).isoformat(),),
        )
        tx.connection.execute(
            "INSERT INTO personal (session_id, token, key_id) VALUES ('s', ?, 'k1')", (token.value,)
        )
        return tx.sessions_of(token, last_day(WRITTEN, shown=shown))

    found = store.submit(opened).result()
    store.close()
    assert found == counted
