"""The end of a hold, as the driver sees it and as the books do: doubts, refusals, losses, growing holds (I2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.domain.ledger import facts
from edge.domain.payment import Authorized
from edge.domain.session import effects as fx
from edge.domain.session import events as ev
from edge.domain.session.screen import view
from edge.domain.session.settling import UNSETTLED_MAX
from edge.domain.session.state import AwaitingPlug, Charging


def charging(charger, *, seconds=400, **kwargs):
    till = charger(**kwargs)
    till.tap(method="terminal")
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(seconds)
    assert isinstance(till.state.session.state, Charging)
    return till


def stopping(charger, **kwargs):
    till = charging(charger, **kwargs)
    till.pilot_to("A")
    till.deliver(1)
    return till


def shown(till):
    return view(till.state, till.terms(), till.now(), online=None, notice=None, choosing=False)


# --- a reservation in doubt


@pytest.mark.parametrize("mode", ["lost before", "lost after"])
def test_a_reservation_in_doubt_frees_the_evse_energizes_nothing_and_is_given_back(charger, mode):
    till = charger()
    till.plug()
    till.acquirer.mode = mode
    till.tap(method="terminal")
    till.deliver()
    till.wait(30)
    assert till.energized == 0
    assert till.state.session is None
    assert shown(till).reason == "in_doubt"
    till.acquirer.mode = "fine"
    till.rest()
    assert not any(till.acquirer.ended.values())
    assert till.journal.facts(facts.PaymentInDoubt)[0].asked == "reserve"


def test_while_one_card_is_in_doubt_the_next_driver_charges(charger):
    till = charger()
    till.acquirer.mode = "lost after"
    till.tap(method="terminal")
    till.deliver()
    till.wait(30)
    till.acquirer.mode = "fine"
    till.pending.clear()
    till.tap("B")
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(60)
    assert isinstance(till.state.session.state, Charging)
    till.rest()
    assert len(till.journal.invoices()) == 1


# --- a capture that takes its time


@pytest.mark.parametrize("mode", ["lost before", "lost after"])
def test_a_capture_in_doubt_is_resolved_behind_the_scene_and_invoiced_once(charger, mode):
    till = stopping(charger)
    till.acquirer.mode = mode
    till.deliver()
    assert till.state.session is None
    assert (shown(till).kind, shown(till).pending) == ("paid", True)
    till.wait(40)
    assert len(till.journal.facts(facts.PaymentInDoubt)) == 1
    assert till.journal.invoices() == []
    till.acquirer.mode = "fine"
    till.wait(40)
    (invoice,) = till.journal.invoices()
    assert invoice.draft.paid.captured_minor == invoice.draft.figures.payable_minor > 0
    assert till.state.unsettled == ()


def test_a_terminal_that_takes_long_does_not_keep_the_next_driver_waiting(charger):
    till = stopping(charger)
    till.wait(12, deliver=False)
    assert till.state.session is None
    assert shown(till).pending
    till.tap("B")
    assert till.state.session is not None
    till.rest()
    assert len(till.journal.invoices()) == 1


def test_the_receipt_of_a_payment_that_took_long_is_shown_to_its_own_card_later(charger):
    till = charger()
    till.tap("A")
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(400)
    till.pilot_to("A")
    till.deliver(1)
    till.wait(100, deliver=False)
    assert shown(till).kind == "idle"
    till.deliver()
    till.tap("A")
    assert shown(till).invoice_number == till.journal.invoices()[0].number
    assert not shown(till).pending


def test_a_capture_that_is_refused_for_good_gives_the_hold_back_and_writes_the_loss_down(charger):
    till = stopping(charger)
    till.acquirer.mode = "refuses"
    while not till.journal.facts(facts.ReversalRequested):
        till.wait(1_200)
    till.acquirer.mode = "fine"
    till.rest()
    (invoice,) = till.journal.invoices()
    assert invoice.draft.paid.status == "reversed"
    assert invoice.draft.paid.captured_minor == 0
    (wanted,) = till.journal.facts(facts.ReversalRequested)
    assert wanted.loss_minor == invoice.draft.figures.payable_minor > 0
    assert {f.reason for f in till.journal.facts(facts.SettlementRefused)} == {"terminal_fault"}
    assert len(till.journal.facts(facts.SettlementRefused)) <= 2, "each kind of no is written down once"


def test_a_hold_that_expired_before_its_capture_is_a_loss_with_an_invoice(charger):
    till = stopping(charger)
    till.acquirer.expire()
    till.deliver()
    till.rest()
    (expired,) = till.journal.facts(facts.PaymentExpired)
    (invoice,) = till.journal.invoices()
    assert invoice.draft.paid.status == "expired"
    assert expired.loss_minor == invoice.draft.figures.payable_minor > 0


def test_what_no_acquirer_answers_for_a_month_is_given_up_as_a_loss(charger):
    till = stopping(charger)
    till.acquirer.mode = "lost before"
    for _ in range(32):
        till.wait(86_400)
    assert till.state.unsettled == ()
    (expired,) = till.journal.facts(facts.PaymentExpired)
    assert expired.reason == "unresolved"
    assert till.verified().problems == ()


def test_nothing_is_sold_where_too_much_is_unsettled(charger):
    till = charger()
    till.acquirer.mode = "lost before"
    for number in range(UNSETTLED_MAX):
        till.tap(f"C{number}", method="terminal")
        till.deliver()
        till.pending.clear()
    assert len(till.state.unsettled) == UNSETTLED_MAX
    till.wait(61, deliver=False)
    assert (shown(till).kind, shown(till).reason) == ("out_of_order", "unsettled")
    till.tap("D")
    assert till.state.session is None
    till.acquirer.mode = "fine"
    till.rest()


# --- power cuts


@pytest.mark.parametrize("loses_answers", [False, True])
def test_a_power_cut_during_a_capture_ends_in_one_invoice(charger, loses_answers):
    till = stopping(charger)
    till.crash(off_s=60, new_boot=True, loses_answers=loses_answers)
    till.rest()
    (invoice,) = till.journal.invoices()
    assert sum(till.acquirer.ended.values()) == invoice.draft.paid.captured_minor


def test_what_is_behind_the_scene_survives_a_power_cut(charger):
    till = stopping(charger)
    till.acquirer.mode = "lost after"
    till.deliver()
    till.tap("B")
    till.acquirer.mode = "fine"
    till.crash(off_s=600, new_boot=True, trusted=False)
    till.rest()
    assert len(till.journal.invoices()) == 1


# --- holds that grow


def test_a_hold_grows_before_it_is_used_up_where_its_method_allows(charger):
    till = charging(charger, hold_minor=300, hold_max_minor=800, seconds=1)
    till.wait(2_400)
    assert isinstance(till.state.session.state, Charging)
    assert [f.amount_minor for f in till.journal.facts(facts.ExtensionRequested)][:1] == [600]
    till.rest()
    (invoice,) = till.journal.invoices()
    assert 300 < invoice.draft.figures.payable_minor <= 800


def test_a_hold_never_grows_past_the_maximum(charger):
    till = charging(charger, hold_minor=300, hold_max_minor=800, seconds=1)
    while till.state.session is not None:
        till.wait(120)
    (invoice,) = till.journal.invoices()
    assert invoice.draft.ended_by == "limit"
    assert 700 < invoice.draft.figures.payable_minor <= 800


@pytest.mark.parametrize("mode", ["refuses", "lost before", "lost after"])
def test_without_a_yes_the_session_stops_within_the_hold_that_is_known(charger, mode):
    till = charging(charger, hold_minor=300, hold_max_minor=800, seconds=1)
    till.acquirer.mode = mode
    while till.state.session is not None and isinstance(till.state.session.state, Charging):
        till.wait(60)
    till.acquirer.mode = "fine"
    till.rest()
    assert len(till.journal.facts(facts.ExtensionRequested)) == 1
    (invoice,) = till.journal.invoices()
    assert invoice.draft.figures.payable_minor <= 300


def test_a_restart_while_a_hold_grows_relies_on_the_hold_that_is_known(charger):
    till = charging(charger, hold_minor=300, hold_max_minor=800, seconds=1)
    while not till.journal.facts(facts.ExtensionRequested):
        till.wait(12, deliver=False)
    till.crash(off_s=10)
    till.devices_answer()
    till.wait(5_000)
    assert [f.reason for f in till.journal.facts(facts.ExtensionRefused)] == ["no_answer"]
    till.rest()
    (invoice,) = till.journal.invoices()
    assert invoice.draft.figures.payable_minor <= 300


# --- sessions that the back office starts


def test_a_remote_start_is_authorized_at_once_and_stops_at_its_limit(charger):
    till = charger()
    till.start_remotely(limit_minor=250)
    assert isinstance(till.state.session.state, AwaitingPlug)
    till.plug()
    till.deliver()
    till.wait(5_000)
    till.rest()
    (invoice,) = till.journal.invoices()
    assert invoice.draft.ended_by == "limit"
    assert invoice.draft.figures.payable_minor <= 250
    (opened,) = till.journal.facts(facts.SessionOpened)
    assert opened.authorization_id.startswith("grant-")


def test_a_remote_start_at_a_charger_in_use_changes_nothing(charger):
    till = charging(charger)
    before = till.state
    till.start_remotely()
    assert till.state == before


# --- what the driver is told before the tap


def test_the_hold_is_shown_before_a_card_is_tapped(charger):
    till = charger(hold_minor=5_000)
    assert shown(till).offered_hold_minor == 5_000


def test_the_screen_knows_of_a_terminal_while_it_takes_cards(charger):
    till = charger()
    members_only = replace(till.terms(), methods=frozenset({"account"}))
    assert shown(till).terminal
    before = view(till.state, members_only, till.now(), online=None, notice=None, choosing=False)
    assert not before.terminal
    assert before.offered_hold_minor is None


def test_a_late_yes_to_a_reservation_that_was_given_up_starts_nothing(charger):
    till = charger()
    till.tap(method="terminal")
    asked = till.pending.popleft()
    assert isinstance(asked, fx.Preauthorize)
    till.wait(150, deliver=False)
    till.send(ev.PaymentAnswered(at=till.now(), answer=Authorized(ref=asked.ref, hold_minor=100)))
    assert till.state.session is None
    till.rest()
