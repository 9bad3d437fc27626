"""What a driver, a till and an operator get from the desk, on the real protocol."""

from __future__ import annotations

import asyncio

import pytest

from edge.domain.payment import Authorized, Captured, Declined, Expired, InDoubt, Reversed
from edge.domain.terminal import BankCard, Done, MemberCard, NoCard
from edge.errors import HardwareError
from edge.payments.desk import Options
from hw.virtual.terminal_script import (
    READ_CARD,
    RELEASE,
    RESERVE,
    REVERSE,
    Fault,
    bank_card,
    member_card,
    phone_wallet,
)

from .conftest import HOLD, Shop, play

LAST = 0x0620


def test_a_hold_is_captured_and_the_rest_is_free():
    async def scenario(shop):
        assert await shop.hold("a") == Authorized(ref="a", hold_minor=HOLD)
        assert await shop.capture("a", 1234) == Captured(ref="a", amount_minor=1234)
        return shop.effects()

    assert play(scenario) == [("reserve", HOLD), ("capture", 1234)]


def test_a_hold_is_given_back():
    async def scenario(shop):
        await shop.hold("a")
        assert await shop.reverse("a") == Reversed(ref="a")
        return shop.effects()

    assert play(scenario) == [("reserve", HOLD), ("reverse", HOLD)]


@pytest.mark.parametrize(
    ("card", "reason"), [(bank_card(declines=51), "insufficient_funds"), (member_card(), "card_not_accepted")]
)
def test_a_declined_card_says_why_and_leaves_nothing(card, reason):
    async def scenario(shop):
        assert await shop.hold("a", card=card) == Declined(ref="a", reason=reason)
        return shop.desk.ready, shop.effects()

    assert play(scenario) == (True, [])


def test_every_call_may_be_repeated_and_has_one_effect():
    async def scenario(shop):
        await shop.hold("a")
        assert await shop.ask("a") == Authorized(ref="a", hold_minor=HOLD)
        first, second = await asyncio.gather(
            *(shop.desk.capture("a", amount_minor=7, currency="EUR") for _ in range(2))
        )
        assert first == second == Captured(ref="a", amount_minor=7)
        assert await shop.desk.capture("a", amount_minor=7, currency="EUR") == first
        await shop.hold("b")
        for _ in range(3):
            assert await shop.desk.reverse("b") == Reversed(ref="b")
        return shop.effects()

    assert play(scenario) == [("reserve", HOLD), ("capture", 7), ("reserve", HOLD), ("reverse", HOLD)]


def test_another_currency_is_not_even_asked_for():
    async def scenario(shop):
        shop.intent("a")
        return await shop.desk.preauthorize("a", amount_minor=1, currency="CHF", token=None)

    assert play(scenario) == Declined(ref="a", reason="currency")


# --- doubt


@pytest.mark.parametrize(
    "kind", ["lost_reply", "lost_completion", "no_result", "other_amount", "reboot_after", "silent"]
)
@pytest.mark.parametrize("lists_all", [True, False])
def test_a_lost_yes_is_found_again_while_the_driver_waits(kind, lists_all):
    async def scenario(shop):
        await shop.hold("a")
        shop.terminal.script(Fault(kind, on=RESERVE))
        assert await shop.hold("b") == Authorized(ref="b", hold_minor=HOLD)
        assert await shop.capture("b", 300) == Captured(ref="b", amount_minor=300)
        assert await shop.reverse("a") == Reversed(ref="a")
        return shop.terminal.books.captured_minor

    assert play(scenario, lists_all=lists_all) == 300


@pytest.mark.parametrize("kind", ["lost_command", "reboot_before"])
@pytest.mark.parametrize("lists_all", [True, False])
def test_a_reservation_that_never_arrived_is_declined_not_repeated(kind, lists_all):
    async def scenario(shop):
        await shop.hold("a")
        shop.terminal.script(Fault(kind, on=RESERVE))
        assert isinstance(await shop.hold("b"), Declined)
        assert await shop.hold("c") == Authorized(ref="c", hold_minor=HOLD)
        return [what for what, _ in shop.effects()]

    assert play(scenario, lists_all=lists_all) == ["reserve", "reserve"]


@pytest.mark.parametrize(
    "kind",
    [
        "lost_command",
        "lost_reply",
        "lost_completion",
        "no_result",
        "silent",
        "reboot_before",
        "reboot_after",
        "duplicate",
        "other_amount",
    ],
)
@pytest.mark.parametrize("lists_all", [True, False])
@pytest.mark.parametrize("capture", ["release", "book"])
def test_an_end_in_doubt_is_settled_within_the_call(kind, lists_all, capture):
    async def scenario(shop):
        for ref in "abc":
            await shop.hold(ref)
        shop.terminal.script(
            Fault(kind, on=RELEASE if capture == "release" else 0x0624), Fault(kind, on=REVERSE)
        )
        assert await shop.capture("b", 4321) == Captured(ref="b", amount_minor=4321)
        assert await shop.reverse("c") == Reversed(ref="c")
        return shop.terminal.books.captured_minor, shop.terminal.books.open

    assert play(scenario, lists_all=lists_all, capture=capture) == (4321, (1,))


def test_a_capture_that_is_declined_is_asked_for_again_later():
    async def scenario(shop):
        await shop.hold("a")
        shop.terminal.script(Fault("decline", on=RELEASE, code=0xA3))
        assert await shop.capture("a", 10) == Declined(ref="a", reason="no_connection")
        assert await shop.capture("a", 10) == Captured(ref="a", amount_minor=10)

    play(scenario)


@pytest.mark.parametrize(("kind", "reason"), [("forget", "hold_unknown"), ("expire", "hold_unknown")])
@pytest.mark.parametrize("lists_all", [True, False])
def test_a_hold_that_the_terminal_does_not_have_any_more_has_expired(kind, reason, lists_all):
    async def scenario(shop):
        for ref in "abc":
            await shop.hold(ref)
        getattr(shop.terminal.books, kind)(2)
        getattr(shop.terminal.books, kind)(3)
        assert await shop.capture("b", 10) == Expired(ref="b", reason=reason)
        assert await shop.reverse("c") == Reversed(ref="c")

    play(scenario, lists_all=lists_all)


@pytest.mark.parametrize("lists_all", [True, False])
def test_a_hold_that_a_terminal_forgot_while_the_till_was_off_is_noticed_without_asking_for_its_end(
    lists_all,
):
    """Only a complete list proves it: what a terminal does not tell is not lost."""

    async def scenario(shop):
        for ref in "abc":
            await shop.hold(ref)
        shop.terminal.books.forget(2)
        await shop.restart()
        await asyncio.sleep(60)
        return shop.desk.lost("a"), shop.desk.lost("b")

    assert play(scenario, lists_all=lists_all) == (False, lists_all)


def test_a_lost_capture_of_a_hold_that_had_lapsed_is_a_loss_and_not_a_sale():
    async def scenario(shop):
        await shop.hold("a")
        shop.terminal.books.expire(1)
        shop.terminal.script(Fault("lost_command", on=RELEASE))
        return await shop.capture("a", 10)

    assert play(scenario) == Expired(ref="a", reason="hold_unknown")


def test_a_reservation_in_doubt_keeps_new_ones_away_and_nothing_else():
    async def scenario(shop):
        await shop.hold("a")
        await shop.hold("b")
        # the terminal names one open hold only and does not tell what it did last: nothing can be proven
        shop.terminal.script(*[Fault("refuse", on=LAST, code=0x83)] * 99, Fault("lost_reply", on=RESERVE))
        doubt = await shop.hold("c")
        assert isinstance(doubt, InDoubt)
        assert (shop.desk.ready, shop.desk.reason) == (False, "terminal_busy")
        assert await shop.hold("d") == Declined(ref="d", reason="terminal_busy")
        assert await shop.capture("a", 100) == Captured(ref="a", amount_minor=100)
        assert await shop.reverse("b") == Reversed(ref="b")
        await asyncio.sleep(60)
        assert shop.desk.ready
        assert await shop.ask("c") == Authorized(ref="c", hold_minor=HOLD)
        return shop.terminal.books.open

    assert play(scenario, lists_all=False) == (3,)


def test_a_reservation_in_doubt_is_given_back_once_it_is_found():
    async def scenario(shop):
        await shop.hold("a")
        shop.terminal.script(*[Fault("refuse", on=LAST, code=0x83)] * 99, Fault("lost_reply", on=RESERVE))
        assert isinstance(await shop.hold("b"), InDoubt)
        assert isinstance(await shop.reverse("b"), InDoubt)
        await shop.reverse("a")
        assert await shop.reverse("b") == Reversed(ref="b")
        return shop.terminal.books.open

    assert play(scenario, lists_all=False) == ()


def test_a_terminal_that_holds_another_amount_is_believed_once_it_says_so_twice():
    async def scenario(shop):
        shop.terminal.script(Fault("other_amount", on=RESERVE))
        assert await shop.hold("a") == Authorized(ref="a", hold_minor=HOLD)  # it was a slip: the books say so
        shop.terminal.script(*[Fault("refuse", on=LAST, code=0x83)] * 99, Fault("other_amount", on=RESERVE))
        assert isinstance(await shop.hold("b"), InDoubt | Declined)
        return shop.terminal.books.holds[2].state

    assert play(scenario) in ("held", "reversed")


# --- restart


def test_a_restart_finds_everything_again():
    async def scenario(shop):
        await shop.hold("a")
        await shop.hold("b")
        await shop.restart()
        assert await shop.ask("a") == Authorized(ref="a", hold_minor=HOLD)
        assert await shop.capture("a", 55) == Captured(ref="a", amount_minor=55)
        assert await shop.reverse("b") == Reversed(ref="b")
        return shop.terminal.books.open, shop.desk.orphans

    assert play(scenario) == ((), ())


def test_a_tap_does_not_outlive_a_restart():
    async def scenario(shop):
        shop.intent("a")
        await shop.restart()
        shop.terminal.present(bank_card())  # the next driver's
        assert await shop.ask("a") == Declined(ref="a", reason="cancelled")
        return shop.effects()

    assert play(scenario) == []


def test_a_till_that_dies_while_the_card_is_read_finds_out_that_nothing_was_held():
    async def scenario(shop):
        shop.intent("a")
        asking = asyncio.ensure_future(shop.ask("a"))
        await shop.terminal.wants_card()
        await shop.close()
        assert isinstance(await asking, InDoubt)
        await shop.open()
        assert await shop.ask("a") == Declined(ref="a", reason="cancelled")
        return shop.effects()

    assert play(scenario) == []


def test_a_capture_that_the_till_died_in_is_counted_once():
    async def scenario(shop):
        await shop.hold("a")
        shop.terminal.script(Fault("slow", on=RELEASE, seconds=10))
        capturing = asyncio.ensure_future(shop.capture("a", 77))
        await asyncio.sleep(5)
        await shop.close()
        assert isinstance(await capturing, InDoubt)
        await shop.open()
        assert await shop.capture("a", 77) == Captured(ref="a", amount_minor=77)
        return shop.terminal.books.captured_minor

    assert play(scenario) == 77


# --- the journal is gone


def test_holds_that_belong_to_nobody_are_listed_and_left_alone_until_an_operator_decides():
    async def scenario(shop):
        await shop.close()
        first, second = shop.foreign(), shop.foreign()
        await shop.open()
        assert shop.desk.orphans == (first, second)
        assert shop.desk.ready
        await shop.hold("a")
        await shop.reverse("a")
        assert shop.terminal.books.open == (first, second)
        assert isinstance(await shop.desk.release(first), Done)
        assert isinstance(await shop.desk.book(second, 250), Done)
        assert (await shop.desk.book(99, 250)).reason == "receipt_unknown"
        return shop.desk.orphans, shop.terminal.books.open, shop.terminal.books.captured_minor

    assert play(scenario) == ((), (), 250)


def test_a_hold_of_a_running_session_is_no_orphan_and_cannot_be_released_by_hand():
    async def scenario(shop):
        await shop.hold("a")
        await shop.restart()
        assert shop.desk.orphans == ()
        return (await shop.desk.release(1)).reason

    assert play(scenario) == "receipt_unknown"


@pytest.mark.parametrize("lists_all", [True, False])
def test_a_hold_that_belongs_to_nobody_is_never_taken_for_one_in_doubt(lists_all):
    async def scenario(shop):
        await shop.close()
        number = shop.foreign(HOLD)
        await shop.open()
        shop.terminal.script(Fault("lost_command", on=RESERVE))
        assert isinstance(await shop.hold("a"), Declined)
        assert shop.desk.orphans == (number,)
        shop.terminal.script(Fault("lost_reply", on=RESERVE))
        assert await shop.hold("b") == Authorized(ref="b", hold_minor=HOLD)
        await shop.reverse("b")
        return shop.terminal.books.open == (number,)

    assert play(scenario, lists_all=lists_all)


# --- who is there


def test_cards_come_as_they_are_shown_while_somebody_may_buy():
    async def scenario(shop):
        seen = []

        async def watch():
            async for card in shop.desk.presented():
                seen.append(card)
                shop.desk.go_on()

        watching = asyncio.ensure_future(watch())
        shop.terminal.present(bank_card())
        await asyncio.sleep(30)
        assert seen == []
        shop.wanted = True
        await asyncio.sleep(30)
        for card in (phone_wallet(), member_card()):
            shop.terminal.present(card)
            await asyncio.sleep(30)
        watching.cancel()
        return [type(card) for card in seen]

    assert play(scenario) == [BankCard, BankCard, MemberCard]


def test_a_card_that_cannot_be_read_is_told_and_nobody_is_not():
    async def scenario(shop):
        shop.wanted = True
        coming = asyncio.ensure_future(anext(shop.desk.presented()))
        shop.terminal.script(Fault("refuse", on=READ_CARD, code=0x9C))
        await asyncio.sleep(200)
        assert not coming.done()
        assert shop.desk.ready
        shop.terminal.script(Fault("abort", on=READ_CARD, code=0x64))
        return await coming

    assert play(scenario) == NoCard(reason="card_unreadable", code=0x64)


def test_money_does_not_wait_for_a_card_to_be_read():
    async def scenario(shop):
        await shop.hold("a")
        shop.wanted = True
        coming = asyncio.ensure_future(anext(shop.desk.presented()))
        await shop.terminal.wants_card()
        before = asyncio.get_running_loop().time()
        assert await shop.capture("a", 5) == Captured(ref="a", amount_minor=5)
        took_s = asyncio.get_running_loop().time() - before
        await shop.terminal.wants_card()
        shop.terminal.present(member_card())
        assert isinstance(await coming, MemberCard)
        return took_s

    assert play(scenario) < 2


def test_the_card_that_was_read_is_the_one_that_is_charged():
    async def scenario(shop):
        shop.wanted = True
        coming = asyncio.ensure_future(anext(shop.desk.presented()))
        await shop.terminal.wants_card()
        shop.terminal.present(phone_wallet())
        assert isinstance(await coming, BankCard)
        shop.intent("a")
        answer = await shop.ask("a")  # nobody taps again
        return answer, shop.terminal.books.holds[1].card_name

    assert play(scenario) == (Authorized(ref="a", hold_minor=HOLD), "Visa")


def test_captures_go_before_reservations():
    async def scenario(shop):
        await shop.hold("a")
        shop.intent("b")
        shop.intent("c")
        first = asyncio.ensure_future(shop.ask("b"))
        await shop.terminal.wants_card()
        second = asyncio.ensure_future(shop.ask("c"))
        capture = asyncio.ensure_future(shop.capture("a", 9))
        await asyncio.sleep(1)
        for _ in range(2):
            shop.terminal.present(bank_card())
        await asyncio.gather(first, second, capture)
        return [what for what, _ in shop.effects()]

    assert play(scenario) == ["reserve", "reserve", "capture", "reserve"]


def test_a_driver_is_told_that_the_terminal_is_busy_rather_than_kept_waiting():
    async def scenario(shop):
        shop.intent("a")
        shop.intent("b")
        first = asyncio.ensure_future(shop.ask("a"))
        await shop.terminal.wants_card()
        assert shop.desk.reason == "terminal_busy"
        assert await shop.ask("b") == Declined(ref="b", reason="terminal_busy")
        assert await first == Declined(ref="a", reason="cancelled")
        return shop.effects()

    assert play(scenario) == []


def test_a_driver_who_changes_their_mind_is_let_go_at_once():
    async def scenario(shop):
        shop.intent("a")
        asking = asyncio.ensure_future(shop.ask("a"))
        await shop.terminal.wants_card()
        before = asyncio.get_running_loop().time()
        assert await shop.reverse("a") == Reversed(ref="a")
        assert await asking == Declined(ref="a", reason="cancelled")
        return asyncio.get_running_loop().time() - before, shop.effects()

    took_s, effects = play(scenario)
    assert effects == []
    assert took_s < 2


# --- the terminal's own state


def test_a_terminal_that_is_away_says_so_and_is_found_again():
    async def scenario(shop):
        assert shop.desk.ready
        await shop.terminal.reboot(120)
        shop.intent("a")
        with pytest.raises(HardwareError):
            await shop.ask("a")
        assert shop.desk.reason == "no_connection"
        await asyncio.sleep(200)
        assert shop.desk.ready
        shop.terminal.present(bank_card())
        return await shop.ask("a")  # the same call, tried again

    assert play(scenario) == Authorized(ref="a", hold_minor=HOLD)


def test_a_desk_that_is_closed_sends_nothing():
    async def scenario(shop):
        await shop.close()
        shop.intent("a")
        assert shop.desk.reason == "terminal_fault"
        with pytest.raises(HardwareError):
            await shop.ask("a")

    play(scenario)


def test_the_terminals_display_shows_the_price_while_it_waits():
    async def scenario(shop):
        shop.desk.display("0,49 EUR/kWh", "Betrag 50,00 EUR")
        await asyncio.sleep(3)
        return shop.terminal.display

    assert play(scenario) == ("0,49 EUR/kWh", "Betrag 50,00 EUR")


# --- what proves nothing any more


def test_a_capture_of_somebody_else_is_not_taken_for_the_reservation_in_doubt():
    async def scenario(shop):
        for ref in "ab":
            await shop.hold(ref)
        refusals = [Fault("refuse", on=LAST, code=0x83)] * 22
        shop.terminal.script(*refusals, Fault("lost_command", on=RESERVE))
        assert isinstance(await shop.hold("c"), InDoubt)
        while shop.terminal.fault_for(LAST):
            pass
        assert await shop.capture("a", HOLD) == Captured(ref="a", amount_minor=HOLD)
        assert isinstance(await shop.ask("c"), InDoubt)
        await shop.reverse("b")
        return await shop.ask("c")

    assert play(scenario, lists_all=False) == Declined(ref="c", reason="cancelled")


def test_a_no_that_was_not_written_down_everywhere_stays_a_no():
    async def scenario(shop):
        for ref in "ab":
            await shop.hold(ref)
        shop.intent("c")
        shop.terminal.present(bank_card(declines=51))
        assert await shop.ask("c") == Declined(ref="c", reason="insufficient_funds")
        await shop.capture("a", HOLD)
        await shop.restart()  # the machine's commit is missing
        return await shop.ask("c")

    assert play(scenario, lists_all=False) == Declined(ref="c", reason="insufficient_funds")


@pytest.mark.parametrize("lists_all", [True, False])
def test_the_day_is_handed_in_only_when_nothing_is_held(lists_all):
    async def scenario(shop):
        await shop.hold("a")
        await shop.hold("b")
        await asyncio.sleep(2 * 3600)
        assert (shop.desk.end_of_day_due, shop.desk.draining) == (True, True)
        assert await shop.hold("c") == Declined(ref="c", reason="terminal_busy")
        await shop.capture("a", 100)
        await asyncio.sleep(600)
        await shop.restart()
        await asyncio.sleep(2 * 3600)
        days = len(shop.days)
        await shop.capture("b", 50)
        await asyncio.sleep(600)
        assert (len(shop.days), shop.desk.draining, shop.desk.ready) == (days + 1, False, True)
        return shop.effects()

    options = Options(end_of_day_h=12, drain_h=13)
    effects = play(scenario, lists_all=lists_all, options=options)
    assert effects == [
        ("end_of_day", 0),  # when it was last is not known: at once
        ("reserve", HOLD),
        ("reserve", HOLD),
        ("capture", 100),
        ("capture", 50),
        ("end_of_day", 150),
    ]


def test_a_hold_that_may_never_end_keeps_the_day_open_and_the_next_drivers_are_served():
    async def scenario(shop):
        await shop.hold("a")
        await shop.hold("b")
        shop.desk.set_aside(lambda: frozenset({"b", "unknown"}))
        await asyncio.sleep(3 * 3600)
        assert (shop.desk.end_of_day_due, shop.desk.draining, shop.desk.ready) == (True, False, True)
        days = len(shop.days)
        assert isinstance(await shop.hold("c"), Authorized)
        await shop.reverse("b")
        assert shop.desk.draining
        for ref in "ac":
            await shop.reverse(ref)
        await asyncio.sleep(600)
        assert (len(shop.days), shop.desk.draining) == (days + 1, False)

    play(scenario, options=Options(end_of_day_h=12, drain_h=13))


def test_a_hold_that_is_nobodys_keeps_the_day_open_until_an_operator_decides():
    async def scenario(shop):
        await shop.close()
        number = shop.foreign()
        await shop.open()
        await asyncio.sleep(3600)
        await shop.desk.release(number)
        await asyncio.sleep(600)
        return [what for what, _ in shop.effects()]

    day = ["end_of_day"]
    assert play(scenario, options=Options(end_of_day_h=12)) == [*day, "reserve", "reverse", *day]


def test_a_refused_capture_is_not_taken_for_done_because_another_one_was():
    async def scenario(shop):
        for ref in "zab":
            await shop.hold(ref)
        shop.terminal.script(Fault("decline", on=RELEASE, code=0xA3))
        assert isinstance(await shop.capture("a", 700), Declined)
        await shop.capture("b", 50)
        await shop.restart()
        assert await shop.capture("a", 700) == Captured(ref="a", amount_minor=700)
        return shop.terminal.books.captured_minor

    assert play(scenario, lists_all=False) == 750


def test_a_loss_that_was_found_out_stays_a_loss():
    async def scenario(shop):
        await shop.hold("a")
        shop.terminal.books.expire(1)
        shop.terminal.script(Fault("lost_command", on=RELEASE))
        shop.journal.payments["a"].status = "capturing"
        asked = {"amount_minor": 10, "currency": "EUR"}
        assert await shop.desk.capture("a", **asked) == Expired(ref="a", reason="hold_unknown")
        await shop.hold("b")
        await shop.capture("b", 50)
        await shop.restart()  # the machine's commit is missing
        return await shop.desk.capture("a", **asked)

    assert play(scenario) == Expired(ref="a", reason="hold_unknown")


def test_more_holds_of_nobody_than_anybody_can_look_after_stop_the_sale():
    async def scenario(shop):
        await shop.close()
        for _ in range(101):
            shop.foreign(1)
        await shop.open()
        assert await shop.hold("a") == Declined(ref="a", reason="terminal_fault")
        return shop.desk.reason

    assert play(scenario) == "terminal_fault"


# --- several terminals


def test_terminals_that_share_a_journal_do_not_take_each_others_payments_for_their_own():
    async def scenario(shop):
        other = Shop(name="other")
        other.journal = shop.journal
        await other.open()
        try:
            await shop.hold("a")
            other.terminal.script(*[Fault("refuse", on=LAST, code=0x83)] * 9, Fault("lost_reply", on=RESERVE))
            other.terminal.books.reserve(HOLD, "Visa")  # beside it the answer cannot be found
            other.intent("b")
            asking = asyncio.ensure_future(other.ask("b"))
            await other.terminal.wants_card()
            other.terminal.present(bank_card())
            await asyncio.sleep(1)
            await shop.restart()  # meanwhile the other one's reservation is in doubt
            assert shop.desk.ready
            assert shop.desk.orphans == ()
            assert await shop.hold("c") == Authorized(ref="c", hold_minor=HOLD)
            await shop.capture("a", 10)
            await shop.reverse("c")
            await asking
            return shop.terminal.books.captured_minor, shop.terminal.books.open
        finally:
            await other.close()

    assert play(scenario) == (10, ())


def test_the_day_of_one_terminal_does_not_wait_for_the_holds_of_another():
    async def scenario(shop):
        other = Shop(name="other")
        other.journal = shop.journal
        await other.open()
        try:
            await other.hold("a")
            await shop.restart()
            await asyncio.sleep(60)
            return shop.effects(), [what for what, _ in other.effects()]
        finally:
            await other.close()

    assert play(scenario, options=Options(end_of_day_h=12)) == ([("end_of_day", 0)] * 2, ["reserve"])


def test_a_reservation_that_was_never_sent_is_called_off_without_the_terminal():
    async def scenario(shop):
        shop.intent("a")
        await shop.terminal.reboot(3600)
        await asyncio.sleep(60)
        return await shop.reverse("a")

    assert play(scenario) == Reversed(ref="a")


def test_a_payment_that_the_journal_gave_up_stops_nobody():
    async def scenario(shop):
        await shop.hold("a")
        await shop.hold("b")
        shop.terminal.script(*[Fault("refuse", on=LAST, code=0x83)] * 99, Fault("lost_reply", on=RESERVE))
        assert isinstance(await shop.hold("c"), InDoubt)
        shop.journal.payments["c"].status = "expired"
        await asyncio.sleep(60)
        assert shop.desk.ready
        assert await shop.hold("d") == Authorized(ref="d", hold_minor=HOLD)
        assert await shop.desk.reverse("c") == Reversed(ref="c")

    play(scenario, lists_all=False)
