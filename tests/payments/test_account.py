"""Charging on account: the member's limit is the hold; a card that can be copied is trusted less."""

from __future__ import annotations

import asyncio

import pytest

from edge.domain.identity import IdToken, Member
from edge.domain.payment import Authorized, Captured, Declined, Reversed
from edge.payments.account import AccountPayment, Caution

UID = IdToken(kind="uid", value="a" * 64, key_id="k")
SUN = IdToken(kind="sun", value="a" * 64, key_id="k")


class Members:
    def __init__(self, **kwargs):
        self.member = Member(
            **{"account": "A", "token": UID.value, "limit_minor": 6000, "currency": "EUR"} | kwargs
        )

    def find(self, token):
        return self.member if token.value == self.member.token else None


def ask(token=UID, *, amount=5000, currency="EUR", recent=1, caution=None, **member):
    async def sessions(_token):
        return recent

    account = AccountPayment(Members(**member), caution=caution or Caution(), recent=sessions)
    return asyncio.run(account.preauthorize("r", amount_minor=amount, currency=currency, token=token))


def test_a_member_gets_what_is_asked_up_to_the_own_limit():
    assert ask() == Authorized(ref="r", hold_minor=5000)
    assert ask(amount=9000) == Authorized(ref="r", hold_minor=6000)


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"token": IdToken(kind="uid", value="b" * 64, key_id="k")}, "card_unknown"),
        ({"blocked": True}, "card_blocked"),
        ({"currency": "CHF"}, "currency"),
    ],
)
def test_others_are_told_why_not(kwargs, reason):
    assert ask(**kwargs) == Declined(ref="r", reason=reason)


def test_a_uid_is_capped_below_the_member_s_limit_and_a_proven_card_is_not():
    caution = Caution(uid_limit_minor=2000)
    assert ask(caution=caution) == Authorized(ref="r", hold_minor=2000)
    assert ask(SUN, caution=caution) == Authorized(ref="r", hold_minor=5000)


def test_a_uid_that_opens_too_many_sessions_a_day_is_refused_and_a_proven_card_is_not():
    caution = Caution(uid_sessions_per_day=3)
    assert ask(caution=caution, recent=3) == Authorized(ref="r", hold_minor=5000)
    assert ask(caution=caution, recent=4) == Declined(ref="r", reason="limit_reached")
    assert ask(SUN, caution=caution, recent=4) == Authorized(ref="r", hold_minor=5000)


def test_capture_and_reversal_repeat_with_the_same_one_effect():
    account = AccountPayment(Members(), caution=Caution(), recent=lambda _t: None)
    for _ in range(2):
        assert asyncio.run(account.capture("r", amount_minor=5, currency="EUR")) == Captured(
            ref="r", amount_minor=5
        )
        assert asyncio.run(account.reverse("r")) == Reversed(ref="r")
