"""A charge point that says nothing counts as broken; a till that stood still does not say so of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from edge.domain.instant import Instant
from edge.runtime.calls import Calls
from edge.runtime.vehicle import VehicleWatch

STALE_S = 10
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.s = 0

    def now(self):
        return Instant(utc=BEGIN + timedelta(seconds=self.s), boot_id="b", monotonic_ns=self.s * 10**9)


@pytest.fixture
def pilots():
    """`pilots(seconds, ..)`: what is told of a charge point that never answers, looked at in those seconds."""

    def told(*seconds):
        clock, events = Clock(), []

        async def post(event):
            events.append((clock.s, event.pilot))

        async def play():
            watch = VehicleWatch(
                None, Calls("E"), evse_id="E", clock=clock, poll_s=1.0, stale_s=STALE_S, post=post
            )
            for clock.s in seconds:
                await watch.look()

        asyncio.run(play())
        return events

    return told


def test_one_that_stays_silent_is_broken_and_that_is_said_once(pilots):
    assert pilots(*range(30)) == [(11, "F")]


def test_what_passed_while_the_till_itself_stood_still_is_no_silence(pilots):
    assert pilots(1, 2, *range(200, 211)) == []
    assert pilots(1, 2, *range(200, 230)) == [(211, "F")]
