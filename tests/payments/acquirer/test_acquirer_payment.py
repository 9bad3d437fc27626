"""What the way to pay answers, and what it tells the acquirer and the journal."""

from __future__ import annotations

import asyncio
import json

import pytest

from edge.domain.payment import Authorized, Captured, Declined, Expired, InDoubt, Refunded, Reversed
from edge.emv.scrub import has_card_data
from edge.payments.acquirer.errors import AcquirerUnreachable
from edge.ports import ExtendingMethod, PaymentMethod, RefundingMethod
from hw.virtual.acquirer_host import Fault

from .conftest import PAN, World, options, run


def test_it_is_every_kind_of_way_to_pay(world):
    assert isinstance(world.pay, ExtendingMethod)
    assert isinstance(world.pay, RefundingMethod)
    method: PaymentMethod = world.pay
    assert method


def test_a_hold_is_captured_in_part_and_the_rest_is_free(world):
    async def scenario():
        assert await world.preauthorize() == Authorized(ref="r", hold_minor=5000)
        assert [h.amount_minor for h in world.books.open] == [5000]
        assert await world.capture(1234) == Captured(ref="r", amount_minor=1234)

    run(scenario())
    (hold,) = world.books.holds()
    assert (hold.state, hold.captured_minor, hold.currency) == ("captured", 1234, "978")


def test_only_the_first_message_has_card_data_and_it_has_all_that_an_issuer_needs(world):
    async def scenario():
        await world.preauthorize()
        await world.extend(6000)
        await world.capture(100)
        world.journal.end("r")
        await world.refund(50)

    run(scenario())
    sent = {mti: fields for mti, fields in world.line.sent if mti != "0100"}
    first, increment = [fields for mti, fields in world.line.sent if mti == "0100"]
    assert first[2] == PAN
    assert first[35].startswith(PAN + "=")
    assert (first[14], first[22], first[23], first[25]) == ("2912", "072", "001", "06")
    assert first[7] == "1122235950"
    assert first[12] + first[13] == "2359501122"
    for fields in (increment, *sent.values()):
        assert not fields.keys() & {2, 14, 23, 35, 55}
        assert PAN not in json.dumps(fields)
    assert set(sent) == {"0220", "0200"}
    assert increment[4] == "000000001000"
    assert increment[90] == f"0100{first[11]}{first[7]}{12345:011}{0:011}"
    assert sent["0220"][90] == increment[90]
    assert sent["0220"][37] == increment[37] == first[37] != sent["0200"][37]
    assert sent["0200"][90][:4] == "0220"
    assert sent["0200"][3] == "200000"


def test_local_time_is_the_time_zone_s():
    world = World(conf=options(time_zone="Europe/Berlin"))
    run(world.preauthorize())
    (_, fields) = world.line.sent[0]
    assert (fields[7], fields[13] + fields[12]) == ("1122235950", "1123005950")


def test_every_number_is_in_the_journal_before_it_is_on_the_line(world):
    async def scenario():
        ask = world.line.ask

        async def checked(request, *, within_s):
            note = (await world.journal.find("r")).handle
            assert note is not None
            assert request.fields[37] in note
            assert f"[{int(request.fields[11])}," in note
            return await ask(request, within_s=within_s)

        world.line.ask = checked
        await world.preauthorize()
        await world.extend(6000)
        await world.capture(100)

    run(scenario())
    assert not any(has_card_data(note) or PAN in note for note in world.journal.notes)
    assert max(map(len, world.journal.notes)) < 300


def test_a_happy_payment_writes_three_notes(world):
    async def scenario():
        await world.preauthorize()
        await world.capture(100)

    run(scenario())
    assert len(world.journal.notes) == 3


def test_a_lost_answer_to_an_authorization_is_reversed_and_never_asked_again(world):
    world.host.script(Fault("silent"))
    assert run(world.preauthorize()) == Declined(ref="r", reason="no_answer")
    assert [mti for mti, _ in world.line.sent] == ["0100", "0420"]
    assert [h.state for h in world.books.holds()] == ["reversed"]


def test_a_reversal_is_repeated_as_0421_with_the_same_numbers_until_it_is_answered(world):
    world.host.script(Fault("silent"), *[Fault("silent", on="0420")] * 3)

    async def scenario():
        assert await world.preauthorize() == InDoubt(ref="r", why="no_answer")
        assert await world.preauthorize(with_card=False) == Declined(ref="r", reason="no_answer")

    run(scenario())
    sent = [(mti, f) for mti, f in world.line.sent if mti != "0100"]
    assert [mti for mti, _ in sent] == ["0420", "0421", "0421", "0421"]
    assert all(fields == sent[0][1] for _, fields in sent)


def test_a_completion_is_repeated_as_0221_and_booked_once(world):
    world.host.script(Fault("silent", on="0220"), Fault("lost_reply", on="0220"))

    async def scenario():
        await world.preauthorize()
        assert await world.capture(700) == Captured(ref="r", amount_minor=700)

    run(scenario())
    assert [mti for mti, _ in world.line.sent] == ["0100", "0220", "0221", "0221"]
    assert [e.what for e in world.books.entries] == ["hold", "capture"]


def test_a_completion_in_doubt_stays_in_doubt_until_the_host_answers(world):
    world.host.script(*[Fault("ignored", on="0220")] * 4)

    async def scenario():
        await world.preauthorize()
        assert await world.capture(700) == InDoubt(ref="r", why="no_answer")
        assert await world.pay.reverse("r") == Declined(ref="r", reason="capturing")
        assert await world.capture(700) == Captured(ref="r", amount_minor=700)

    run(scenario())


def test_a_hold_that_is_being_given_back_is_not_authorized_any_more(world):
    world.host.script(*[Fault("ignored", on="0420")] * 3)

    async def scenario():
        await world.preauthorize()
        assert await world.pay.reverse("r") == InDoubt(ref="r", why="no_answer")
        assert await world.capture(1) == Declined(ref="r", reason="reversing")
        assert await world.extend(9000) == Declined(ref="r", reason="no_hold")
        assert await world.preauthorize() == Declined(ref="r", reason="no_answer")

    run(scenario())
    assert world.books.open == ()


def test_a_refused_completion_may_be_asked_for_again_or_given_up(world):
    world.host.script(Fault("decline", on="0220", code="91"), Fault("decline", on="0220", code="05"))

    async def scenario():
        await world.preauthorize()
        assert await world.capture(700) == Declined(ref="r", reason="no_connection")
        assert await world.capture(700) == Declined(ref="r", reason="card_declined")
        assert await world.pay.reverse("r") == Reversed(ref="r")

    run(scenario())
    stans = [f[11] for mti, f in world.line.sent if mti == "0220"]
    assert len(set(stans)) == 2
    assert world.books.open == ()


def test_a_hold_that_the_host_proves_gone_is_expired(world):
    world.host.script(Fault("expire", on="0220"))

    async def scenario():
        await world.preauthorize()
        assert await world.capture(700) == Expired(ref="r", reason="hold_unknown")

    run(scenario())
    assert [h.state for h in world.books.holds()] == ["expired"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("05", "card_declined"),
        ("51", "insufficient_funds"),
        ("54", "card_expired"),
        ("43", "card_blocked"),
        ("61", "amount_refused"),
        ("91", "no_connection"),
    ],
)
def test_a_decline_says_why_in_the_screen_s_words(world, code, reason):
    world.host.script(Fault("decline", code=code))
    assert run(world.preauthorize()) == Declined(ref="r", reason=reason)
    assert world.books.holds() == ()


def test_a_partial_approval_is_the_hold(world):
    world.host.script(Fault("partial"))
    assert run(world.preauthorize()) == Authorized(ref="r", hold_minor=2500)
    assert run(world.capture(2501)) == Declined(ref="r", reason="amount_refused")
    assert run(world.capture(2500)) == Captured(ref="r", amount_minor=2500)


def test_without_a_connection_nobody_waits_and_nothing_is_kept(world):
    async def scenario():
        world.line.reachable = False
        assert await world.preauthorize() == Declined(ref="r", reason="no_connection")
        assert world.journal.notes == []
        world.line.reachable = True
        await world.preauthorize("s")
        world.line.reachable, world.line.session = False, None
        for call in (world.capture(5, "s"), world.pay.reverse("s"), world.extend(9000, "s")):
            with pytest.raises(AcquirerUnreachable):
                await call

    run(scenario())
    assert len(world.journal.notes) == 2


def test_without_the_card_s_data_nothing_is_asked(world):
    assert run(world.preauthorize(with_card=False)) == Declined(ref="r", reason="cancelled")
    assert world.line.sent == []
    assert run(world.pay.reverse("r")) == Reversed(ref="r")


def test_a_repeated_call_has_the_same_one_effect(world):
    async def scenario():
        for _ in range(3):
            assert await world.preauthorize() == Authorized(ref="r", hold_minor=5000)
        for _ in range(3):
            assert await world.extend(7000) == Authorized(ref="r", hold_minor=7000)
        for _ in range(3):
            assert await world.capture(6999) == Captured(ref="r", amount_minor=6999)
        world.journal.end("r")
        for _ in range(3):
            assert await world.refund(99) == Refunded(ref="r", refund_ref="r1", amount_minor=99)

    run(scenario())
    assert [e.what for e in world.books.entries] == ["hold", "increase", "capture", "refund"]
    assert [mti for mti, _ in world.line.sent].count("0200") == 1


def test_concurrent_calls_for_one_payment_wait_for_each_other(world):
    async def scenario():
        await world.preauthorize()
        return await asyncio.gather(world.capture(10), world.capture(10), world.pay.reverse("r"))

    first, second, third = run(scenario())
    assert first == second == Captured(ref="r", amount_minor=10)
    assert third == Declined(ref="r", reason="capturing")


def test_an_increment_in_doubt_is_taken_back_and_the_old_hold_stands(world):
    async def scenario():
        await world.preauthorize()
        world.host.script(Fault("silent"))
        assert await world.extend(8000) == Declined(ref="r", reason="no_answer")
        assert [h.amount_minor for h in world.books.open] == [5000]
        assert await world.extend(8000) == Authorized(ref="r", hold_minor=8000)

    run(scenario())


def test_an_increment_may_be_declined_and_a_capture_needs_no_answer_to_it(world):
    async def scenario():
        await world.preauthorize()
        world.host.script(Fault("decline", code="51"))
        assert await world.extend(8000) == Declined(ref="r", reason="insufficient_funds")
        world.host.script(Fault("silent"), *[Fault("silent", on="0420")] * 3)
        assert await world.extend(8000) == InDoubt(ref="r", why="no_answer")
        assert await world.capture(5000) == Captured(ref="r", amount_minor=5000)

    run(scenario())
    assert world.books.open == ()


def test_refunds_give_back_what_was_captured_and_no_more(world):
    async def scenario():
        await world.preauthorize()
        assert await world.refund(1) == Declined(ref="r", reason="not_captured")
        await world.capture(1000)
        world.journal.end("r")
        world.host.script(Fault("silent", on="0200"))
        assert await world.refund(600) == Refunded(ref="r", refund_ref="r1", amount_minor=600)
        assert await world.refund(401, "r2") == Declined(ref="r", reason="amount_refused")
        world.host.script(Fault("decline", on="0200", code="96"))
        assert await world.refund(400, "r2") == Declined(ref="r", reason="no_connection")
        assert await world.refund(400, "r2") == Refunded(ref="r", refund_ref="r2", amount_minor=400)

    run(scenario())
    assert world.books.refunded_minor == 1000


def test_an_authorization_that_arrives_after_its_reversal_holds_nothing(world):
    world.host.script(Fault("late_request", seconds=world.conf.answer_s + 1))

    async def scenario():
        assert await world.preauthorize() == Declined(ref="r", reason="no_answer")
        await world.time.sleep(30)

    run(scenario())
    assert world.books.open == ()
    assert ("0100 card", "12") in world.books.refused


def test_a_lost_connection_leaves_time_for_what_is_still_on_its_way(world):
    """The host knows nothing of it yet when the reversal comes: that is no proof so soon."""
    world.host.script(Fault("lost_request"))

    async def scenario():
        assert await world.preauthorize() == InDoubt(ref="r", why="not_known_yet")
        await world.time.sleep(world.conf.answer_s)
        assert await world.preauthorize(with_card=False) == Declined(ref="r", reason="no_answer")

    run(scenario())


def test_after_a_restart_unknown_counts_only_once_answers_had_time_to_come(world):
    async def scenario():
        world.host.script(Fault("lost_request"), *[Fault("lost_request", on="0420")] * 3)
        assert isinstance(await world.preauthorize(), InDoubt)
        world.host.heal()
        world.restart()
        assert await world.preauthorize(with_card=False) == InDoubt(ref="r", why="not_known_yet")
        await world.time.sleep(world.conf.answer_s)
        assert await world.preauthorize(with_card=False) == Declined(ref="r", reason="no_answer")

    run(scenario())


def test_a_host_that_names_holds_is_told_the_name_again():
    world = World(conf=options(reference_field=63))

    async def scenario():
        await world.preauthorize()
        world.restart()
        await world.capture(5)

    run(scenario())
    assert world.line.sent[-1][1][63] == "REFA00001"


def test_numbers_of_open_payments_are_not_used_again(world):
    async def scenario():
        await world.preauthorize()
        used = {int(f[11]) for _, f in world.line.sent}
        for stan in used:
            world.draw.randrange = lambda *_, stan=stan: stan - 1
            world.restart()
            await world.preauthorize("s")
            assert int(world.line.sent[-1][1][11]) not in used

    run(scenario())
