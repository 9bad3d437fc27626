"""Leave of the back office as a way to pay: asked once a reference, and no answer is a plain no."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from edge.domain.identity import IdToken
from edge.domain.instant import Instant
from edge.domain.payment import Authorized, Captured, Declined, Reversed
from edge.payments.upstream import WAIT_S, UpstreamPayment
from edge.sync.contract.authorization import Granted, NoAnswer, Refused

TOKEN = IdToken(kind="uid", value="ab" * 32, key_id="k1")
NOW = Instant(utc=datetime(2026, 6, 1, tzinfo=UTC), boot_id="b", monotonic_ns=1)


class Office:
    def __init__(self, answer) -> None:
        self.answer, self.asked = answer, []

    async def authorize(self, request):
        self.asked.append(request)
        return self.answer


def granted(**fields) -> Granted:
    return Granted(
        **{"authorization_id": "A1", "account": "A-1", "limit_minor": 3000, "currency": "EUR", **fields}
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (granted(), Authorized(ref="R1", hold_minor=3000)),
        (granted(limit_minor=9000), Authorized(ref="R1", hold_minor=5000)),
        (granted(currency="CHF"), Declined(ref="R1", reason="currency")),
        (Refused(reason="card_blocked"), Declined(ref="R1", reason="card_blocked")),
        (NoAnswer(why="no connection"), Declined(ref="R1", reason="no_answer")),
    ],
)
def test_what_the_back_office_says_is_the_hold_or_the_reason(answer, expected) -> None:
    office, kept = Office(answer), []

    async def keep(*granted) -> None:
        kept.append(granted)

    paying = UpstreamPayment(office, evse_id="DE*T*1", now=lambda: NOW, granted=keep)
    found = asyncio.run(paying.preauthorize("R1", amount_minor=5000, currency="EUR", token=TOKEN))
    assert found == expected
    (asked,) = office.asked
    assert (asked.id, asked.token, asked.amount_minor, asked.within_s) == ("R1", TOKEN.value, 5000, WAIT_S)
    assert kept == ([("R1", "A-1")] if isinstance(expected, Authorized) else [])


def test_the_journal_is_the_booking() -> None:
    paying = UpstreamPayment(Office(None), evse_id="DE*T*1", now=lambda: NOW, granted=None)
    assert asyncio.run(paying.capture("R1", amount_minor=7, currency="EUR")) == Captured(
        ref="R1", amount_minor=7
    )
    assert asyncio.run(paying.reverse("R1")) == Reversed(ref="R1")
