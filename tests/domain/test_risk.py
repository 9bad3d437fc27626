"""What is accepted on account without a connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.domain.risk import Accepted, Exposed, Policy, Refused, decide

POLICY = Policy(
    session_minor=5_000, card_minor_per_day=8_000, day_minor=50_000, device_minor=20_000, list_age_max_h=24
)


def exposed(*, device=0, day=0, card=0, age_s=0):
    return Exposed(device_minor=device, day_minor=day, card_minor=card, list_age_s=age_s)


def test_a_session_gets_the_least_of_what_every_limit_leaves():
    assert decide(POLICY, exposed(), amount_minor=6_000, least_minor=100) == Accepted(amount_minor=5_000)
    assert decide(POLICY, exposed(card=4_000), amount_minor=6_000, least_minor=100).amount_minor == 4_000
    assert decide(POLICY, exposed(device=19_000), amount_minor=6_000, least_minor=100).amount_minor == 1_000
    assert decide(POLICY, exposed(day=48_000), amount_minor=6_000, least_minor=100).amount_minor == 2_000


def test_a_list_that_is_too_old_or_of_unknown_age_sells_nothing():
    for age_s in (None, 24 * 3600 + 1):
        refused = decide(POLICY, exposed(age_s=age_s), amount_minor=1_000, least_minor=100)
        assert refused == Refused(reason="list_too_old")


money = st.integers(0, 100_000)


@given(money, money, money, st.integers(1, 100_000), st.integers(1, 1_000))
def test_what_is_accepted_never_passes_a_limit(device, day, card, amount, least):
    found = decide(POLICY, exposed(device=device, day=day, card=card), amount_minor=amount, least_minor=least)
    if isinstance(found, Refused):
        return
    assert least <= found.amount_minor <= amount
    assert card + found.amount_minor <= POLICY.card_minor_per_day
    assert day + found.amount_minor <= POLICY.day_minor
    assert device + found.amount_minor <= POLICY.device_minor
