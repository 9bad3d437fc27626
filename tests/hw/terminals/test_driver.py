"""The driver against a terminal on the real protocol: what is done, declined and in doubt, and what it costs."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from edge.domain.instant import Instant
from edge.domain.terminal import BankCard, Declined, Done, InDoubt, MemberCard, NoCard, OpenReceipts
from edge.errors import ConfigError
from hw import registry
from hw.terminals.zvt.driver import Options, create
from hw.terminals.zvt.errors import (
    TerminalBusy,
    TerminalRefused,
    TerminalSilent,
    TerminalUnreachable,
    TerminalUnreconciled,
)
from hw.virtual.terminal_books import Entry
from hw.virtual.terminal_script import (
    BOOK,
    END_OF_DAY,
    READ_CARD,
    REFUND,
    RELEASE,
    RESERVE,
    REVERSE,
    Fault,
    bank_card,
    member_card,
    phone_wallet,
)

from .conftest import CURT, ignored, play, told

HOLD = 5000


async def hold(driver, there, *, card=None, noted=ignored):
    """Reconcile, present a card and reserve."""
    await driver.open_receipts()
    there.present(card or bank_card())
    return await driver.reserve(amount_minor=HOLD, reference="s1", noted=noted)


def test_a_hold_is_taken_in_part_and_the_rest_released(way):
    async def scenario(driver, there):
        answer = await hold(driver, there)
        assert isinstance(answer, Done)
        assert answer.amount_minor == HOLD
        taken = await driver.capture(answer.receipt_no, hold_minor=HOLD, amount_minor=1234)
        assert isinstance(taken, Done)
        return there.books

    books = play(scenario, **way)
    assert books.open == ()
    assert books.entries == [Entry("reserve", 1, HOLD), Entry("capture", 1, 1234)]


@pytest.mark.parametrize(
    ("capture", "amount_minor"), [("release", 1), ("release", HOLD), ("book", 1), ("book", HOLD)]
)
def test_either_command_takes_the_same_amount(capture, amount_minor):
    async def scenario(driver, there):
        answer = await hold(driver, there)
        await driver.capture(answer.receipt_no, hold_minor=HOLD, amount_minor=amount_minor)
        return there.books.captured_minor

    assert play(scenario, options={"capture": capture}) == amount_minor


@pytest.mark.parametrize("amount_minor", [0, -1, HOLD + 1])
def test_more_than_the_hold_or_nothing_is_never_captured(amount_minor):
    async def scenario(driver, there):
        answer = await hold(driver, there)
        with pytest.raises(ValueError, match="captured"):
            await driver.capture(answer.receipt_no, hold_minor=HOLD, amount_minor=amount_minor)
        return there.books.open

    assert play(scenario) == (1,)


def test_a_hold_is_released_whole(way):
    async def scenario(driver, there):
        answer = await hold(driver, there)
        assert isinstance(await driver.reverse(answer.receipt_no), Done)
        again = await driver.reverse(answer.receipt_no)
        assert again == Declined(reason="already_reversed", code=0xB4, text="already reversed")
        return there.books

    books = play(scenario, **way)
    assert books.entries[1:] == [Entry("reverse", 1, HOLD)]


def test_the_receipt_number_is_kept_before_the_terminal_may_go_on():
    async def scenario(driver, there):
        seen = []

        async def noted(done):
            seen.append(done.receipt_no)

        there.script(Fault("lost_completion", on=RESERVE))
        answer = await hold(driver, there, noted=noted)
        assert isinstance(answer, InDoubt)
        assert answer.seen is not None
        assert seen == [answer.seen.receipt_no] == list(there.books.open)

    play(scenario)


def test_a_number_that_cannot_be_kept_ends_the_connection():
    async def scenario(driver, there):
        async def noted(_done):
            raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            await hold(driver, there, noted=noted)
        assert not driver.reconciled

    play(scenario)


@pytest.mark.parametrize("kind", ["lost_reply", "lost_completion", "silent", "reboot_after"])
@pytest.mark.parametrize("on", [RESERVE, RELEASE, BOOK, REVERSE, REFUND])
def test_a_lost_reply_is_doubt_and_nothing_is_sent_again(kind, on):
    async def scenario(driver, there):
        answer = None
        if on not in (RESERVE, REFUND):
            answer = await hold(driver, there)
        there.script(Fault(kind, on=on))
        there.present(bank_card())
        match on:
            case 0x0622:
                doubt = await hold(driver, there)
            case 0x0623:
                doubt = await driver.capture(answer.receipt_no, hold_minor=HOLD, amount_minor=1)
            case 0x0624:
                doubt = await driver.capture(answer.receipt_no, hold_minor=HOLD, amount_minor=HOLD)
            case 0x0625:
                doubt = await driver.reverse(answer.receipt_no)
            case _:
                doubt = await driver.refund(amount_minor=7)
        assert isinstance(doubt, InDoubt)
        assert (doubt.seen is not None) == (kind == "lost_completion")
        effects = [e.what for e in there.books.entries]
        assert effects == (
            ["reserve"] if on == RESERVE else ["refund"] if on == REFUND else ["reserve", effects[-1]]
        )
        assert not driver.reconciled

    play(scenario, times=CURT)


def test_after_doubt_the_terminal_tells_what_it_holds_before_it_holds_more():
    async def scenario(driver, there):
        there.script(Fault("lost_reply", on=RESERVE))
        assert isinstance(await hold(driver, there), InDoubt)
        with pytest.raises(TerminalUnreconciled):
            await driver.reserve(amount_minor=HOLD, reference="s2", noted=ignored)
        assert (await driver.open_receipts()).numbers == (1,)
        assert (await driver.last_receipt()).receipt_no == 1
        assert isinstance(await driver.reverse(1), Done)
        there.present(bank_card())
        assert isinstance(await driver.reserve(amount_minor=HOLD, reference="s2", noted=ignored), Done)
        return [e.what for e in there.books.entries]

    assert play(scenario) == ["reserve", "reverse", "reserve"]


@pytest.mark.parametrize("kind", ["lost_command", "reboot_before"])
def test_a_command_that_never_arrived_is_doubt_that_reconciling_clears(kind):
    async def scenario(driver, there):
        there.script(Fault(kind, on=RESERVE, seconds=0.05))
        assert isinstance(await hold(driver, there), InDoubt)
        return await told(driver)

    assert play(scenario) == OpenReceipts(numbers=(), complete=True)


def test_a_reboot_within_a_reversal_leaves_doubt_and_the_truth_in_the_terminal():
    async def scenario(driver, there):
        answer = await hold(driver, there)
        there.script(Fault("reboot_after", on=REVERSE, seconds=0.05))
        assert isinstance(await driver.reverse(answer.receipt_no), InDoubt)
        return await told(driver)

    assert play(scenario).numbers == ()


@pytest.mark.parametrize(
    ("fault", "reason", "code"),
    [
        (Fault("decline", on=RESERVE, code=51), "insufficient_funds", 51),
        (Fault("decline", on=RESERVE, code=5), "card_declined", 5),
        (Fault("decline", on=RESERVE, code=0x78), "card_expired", 0x78),
        (Fault("abort", on=RESERVE, code=0x6C), "cancelled", 0x6C),
        (Fault("abort", on=RESERVE, code=0x7D), "no_connection", 0x7D),
        (Fault("refuse", on=RESERVE, code=0x9C), "terminal_busy", 0x9C),
        (Fault("refuse", on=RESERVE, code=0x83), "terminal_fault", 0x83),
    ],
)
def test_a_no_says_why_in_words_for_the_driver(fault, reason, code):
    async def scenario(driver, there):
        there.script(fault)
        answer = await hold(driver, there)
        assert isinstance(answer, Declined)
        assert (answer.reason, answer.code) == (reason, code)
        assert answer.text
        assert driver.reconciled
        return there.books.entries

    assert play(scenario) == []


def test_a_declined_capture_leaves_the_hold_for_another_try():
    async def scenario(driver, there):
        answer = await hold(driver, there)
        there.script(Fault("decline", on=RELEASE, code=0x9B))
        assert isinstance(await driver.capture(answer.receipt_no, hold_minor=HOLD, amount_minor=9), Declined)
        assert isinstance(await driver.capture(answer.receipt_no, hold_minor=HOLD, amount_minor=9), Done)
        return there.books.captured_minor

    assert play(scenario) == 9


@pytest.mark.parametrize(("kind", "code"), [("forget", 0xB8), ("expire", 0xB5)])
def test_a_hold_that_is_gone_is_declined_for_good(kind, code):
    async def scenario(driver, there):
        answer = await hold(driver, there)
        there.script(Fault(kind, on=RELEASE))
        gone = await driver.capture(answer.receipt_no, hold_minor=HOLD, amount_minor=9)
        assert gone == Declined(reason="receipt_unknown", code=code, text=gone.text)
        return (await driver.open_receipts()).numbers

    assert play(scenario) == ()


def test_a_repeated_result_counts_once(way):
    async def scenario(driver, there):
        there.script(Fault("duplicate"), Fault("duplicate", on=RELEASE))
        answer = await hold(driver, there)
        assert isinstance(answer, Done)
        assert isinstance(await driver.capture(answer.receipt_no, hold_minor=HOLD, amount_minor=9), Done)
        assert (await driver.status()).ready
        return there.books.captured_minor

    assert play(scenario, **way) == 9


@pytest.mark.parametrize("kind", ["no_result", "other_amount"])
def test_a_yes_that_does_not_fit_is_doubt(kind):
    async def scenario(driver, there):
        there.script(Fault(kind, on=RESERVE))
        assert isinstance(await hold(driver, there), InDoubt)
        assert not driver.reconciled

    play(scenario)


def test_intermediate_status_restarts_the_wait():
    async def scenario(driver, there):
        there.script(Fault("slow", on=RESERVE, seconds=1.5))
        return await hold(driver, there)

    curt = msgspec.structs.replace(CURT, silence_s=1.0)
    assert isinstance(play(scenario, times=curt), Done)


@pytest.mark.parametrize(
    ("card", "want"),
    [
        (bank_card, BankCard(token="3F56A32065CC4DBE8330C37609F91996", uid="04A1B2C3D4E580")),
        (phone_wallet, BankCard()),
        (member_card, MemberCard(uid=bytes.fromhex("0463C8B2AE4F80"))),
    ],
)
def test_the_terminal_says_who_is_there(card, want, way):
    async def scenario(driver, there):
        there.present(card())
        return await driver.read_card(within_s=20)

    assert play(scenario, **way) == want


@pytest.mark.parametrize("uid", ["04C8B2AE", "0463C8B2AE4F80", "11223344556677889900"])
def test_a_uid_has_its_own_length(uid):
    async def scenario(driver, there):
        there.present(member_card(bytes.fromhex(uid)))
        return await driver.read_card(within_s=20)

    assert play(scenario) == MemberCard(uid=bytes.fromhex(uid))


def test_nobody_comes():
    async def scenario(driver, there):
        return await driver.read_card(within_s=1)

    assert play(scenario) == NoCard(reason="cancelled", code=0x6C)


def test_a_card_that_cannot_be_read_says_so():
    async def scenario(driver, there):
        there.script(Fault("refuse", on=READ_CARD, code=0x64))
        with pytest.raises(TerminalRefused, match="not readable"):
            await driver.read_card(within_s=5)

    play(scenario)


def test_waiting_for_a_card_can_be_ended_and_the_terminal_used_at_once(way):
    async def scenario(driver, there):
        await driver.open_receipts()
        reading = asyncio.ensure_future(driver.read_card(within_s=200))
        await asyncio.sleep(0.05)
        with pytest.raises(TerminalBusy):
            await driver.status()
        for _ in range(5):
            await driver.abort()
        assert await reading == NoCard(reason="cancelled", code=0x6C)
        assert isinstance(await hold(driver, there), Done)

    play(scenario, **way)


def test_an_abort_with_nothing_to_end_does_nothing():
    async def scenario(driver, there):
        await driver.abort()
        await driver.open_receipts()
        await driver.abort()
        return isinstance(await hold(driver, there), Done)

    assert play(scenario)


def test_a_caller_who_leaves_ends_the_connection_and_the_next_one_registers_again():
    async def scenario(driver, there):
        await driver.open_receipts()
        reading = asyncio.ensure_future(driver.read_card(within_s=200))
        await there.wants_card()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not driver.reconciled
        assert (await driver.status()).ready
        return there.connections

    assert play(scenario) == 2


def test_end_of_day_never_runs_while_a_hold_is_open():
    async def scenario(driver, there):
        answer = await hold(driver, there)
        assert (await driver.end_of_day()).reason == "holds_open"
        assert there.books.open == (answer.receipt_no,)
        await driver.capture(answer.receipt_no, hold_minor=HOLD, amount_minor=100)
        assert isinstance(await driver.end_of_day(), Done)
        assert isinstance(await driver.end_of_day(), Done)
        return [e.what for e in there.books.entries]

    assert play(scenario) == ["reserve", "capture", "end_of_day", "end_of_day"]


def test_end_of_day_is_not_run_on_the_word_of_a_terminal_that_cannot_tell_its_holds():
    async def scenario(driver, there):
        there.script(Fault("refuse", on=RELEASE, code=0x83))
        assert (await driver.end_of_day()).reason == "holds_open"
        return there.fault_for(END_OF_DAY), there.books.entries

    assert play(scenario) == (None, [])


@pytest.mark.parametrize("lists_all", [True, False])
def test_open_holds_are_listed_as_far_as_the_terminal_does(lists_all):
    async def scenario(driver, there):
        for _ in range(3):
            await hold(driver, there)
        return await driver.open_receipts(), there.books.open

    found, open_ = play(scenario, lists_all=lists_all)
    assert found == OpenReceipts(numbers=open_ if lists_all else open_[:1], complete=lists_all)


def test_a_terminal_that_does_not_know_the_question_proves_nothing():
    async def scenario(driver, there):
        there.script(Fault("refuse", on=RELEASE, code=0x83))
        return await driver.open_receipts()

    assert play(scenario) == OpenReceipts(numbers=(), complete=False)


def test_a_busy_terminal_is_asked_again_rather_than_believed():
    async def scenario(driver, there):
        there.script(Fault("refuse", on=RELEASE, code=0x9C))
        with pytest.raises(TerminalRefused):
            await driver.open_receipts()
        assert not driver.reconciled

    play(scenario)


def test_money_goes_back_to_the_card_that_is_shown():
    async def scenario(driver, there):
        there.present(bank_card())
        answer = await driver.refund(amount_minor=250)
        assert isinstance(answer, Done)
        return there.books.entries

    assert play(scenario) == [Entry("refund", None, 250)]


def test_nothing_is_in_doubt_when_nothing_could_be_sent():
    async def scenario(driver, there):
        await there.stop()
        with pytest.raises(TerminalUnreachable):
            await driver.reverse(1)

    play(scenario)


def test_a_terminal_of_another_currency_is_refused_with_a_hint():
    async def scenario(driver, there):
        with pytest.raises(TerminalRefused) as refused:
            await driver.status()
        return refused.value.hint

    assert "currency" in play(scenario, currency=756)


def test_a_connection_that_died_unnoticed_is_found_before_money_depends_on_it(monkeypatch):
    monkeypatch.setattr("hw.terminals.zvt.driver.IDLE_MAX_S", -1.0)

    async def scenario(driver, there):
        await driver.open_receipts()
        there.script(Fault("silent", on=0x0501))
        there.script(Fault("lost_command", on=0x0501))
        with pytest.raises(TerminalUnreconciled):
            await driver.reserve(amount_minor=HOLD, reference="s1", noted=ignored)
        return there.books.entries

    assert play(scenario, times=msgspec.structs.replace(CURT, taken_s=1.5)) == []


def test_a_terminal_that_does_not_tell_its_state_is_alive_all_the_same(monkeypatch):
    monkeypatch.setattr("hw.terminals.zvt.driver.IDLE_MAX_S", -1.0)

    async def scenario(driver, there):
        there.script(*[Fault("refuse", on=0x0501, code=0x83)] * 9)
        answer = await hold(driver, there)
        assert isinstance(await driver.reverse(answer.receipt_no), Done)
        return there.connections

    assert play(scenario) == 1


def test_closing_ends_a_command_under_way():
    async def scenario(driver, there):
        reading = asyncio.ensure_future(driver.read_card(within_s=200))
        await there.wants_card()
        await driver.close()
        with pytest.raises(TerminalSilent):
            await reading

    play(scenario)


def test_the_display_takes_lines_and_umlauts(way):
    async def scenario(driver, there):
        await driver.show(("Bitte Gerät benutzen", "x" * 90), for_s=5)
        return (await driver.status()).device_name

    assert play(scenario, **way) == "virtual terminal"


def test_a_price_stands_on_the_display_in_letters_that_it_has():
    async def scenario(driver, there):
        await driver.show(("Energy €0.49/kWh", "Gerät: 0,49\u00a0€/kWh", "\u017d\u010f\u00e1r"), for_s=0)
        return there.display

    assert play(scenario) == ("Energy EUR 0.49/kWh", "Gerät: 0,49\u00a0EUR/kWh", "Zdár")


def test_a_silent_terminal_is_an_error_where_no_money_moves():
    async def scenario(driver, there):
        there.script(Fault("lost_command", on=0x0501))
        with pytest.raises(TerminalSilent):
            await driver.status()

    play(scenario)


def test_no_card_data_is_in_any_answer():
    async def scenario(driver, there):
        there.present(bank_card())
        seen = []

        async def noted(done):
            seen.append(done)

        answers = [await driver.read_card(within_s=20), await hold(driver, there, noted=noted), *seen]
        return "".join(repr(a) + str(msgspec.json.encode(a)) for a in answers)

    text = play(scenario)
    assert "541333" not in text
    assert "0011" not in text


class _Clock:
    def now(self):
        raise AssertionError("the driver needs no wall clock")

    def trusted(self):
        return False

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    def _unused(self) -> Instant:
        raise NotImplementedError


def test_the_registry_makes_it_from_a_configuration(tmp_path):
    password = tmp_path / "password"
    password.write_text("123456\n")
    options = msgspec.convert(
        {"port": "tcp://127.0.0.1:22000", "password_file": str(password)},
        registry.options_type("terminal", "zvt"),
    )
    assert registry.create_terminal("zvt", options, clock=_Clock()) is not None


@pytest.mark.parametrize("text", ["12345", "1234567", "abcdef", ""])
def test_a_password_file_holds_six_digits_and_the_error_does_not_repeat_them(tmp_path, text):
    file = tmp_path / "password"
    file.write_text(text)
    with pytest.raises(ConfigError) as e:
        create(Options(port="tcp://127.0.0.1:1", password_file=str(file)), clock=_Clock())
    assert not text or text not in str(e.value)
    with pytest.raises(ConfigError):
        create(Options(port="tcp://127.0.0.1:1", password_file=str(tmp_path / "none")), clock=_Clock())


@pytest.mark.parametrize(
    "table",
    [
        {"port": "nonsense"},
        {"port": "tcp://a:1", "currency": "XXX"},
        {"port": "tcp://a:1", "config_byte": 256},
        {"port": "tcp://a:1", "reference_prefix": "abc"},
        {"port": "tcp://a:1", "colour": 1},
    ],
)
def test_options_are_bounded(table):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, Options)
