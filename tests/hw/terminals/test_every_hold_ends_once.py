"""Whatever goes wrong on the way: who reconciles after doubt ends every hold exactly once, to the cent (I2).

The journal here is the least that a desk can have: an intent before each command, a receipt number as soon as it
is known, and the question what the terminal still holds after each doubt.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.domain.terminal import Declined, Done, InDoubt
from hw.virtual.terminal_script import BOOK, RELEASE, RESERVE, REVERSE, Fault, bank_card

from .conftest import CURT, play, told

HOLD = 5000
KINDS = ("lost_command", "lost_reply", "lost_completion", "duplicate", "decline", "refuse", "abort",
         "reboot_before", "reboot_after", "no_result", "other_amount")  # fmt: skip
FAULTS = st.lists(
    st.builds(
        Fault,
        st.sampled_from(KINDS),
        on=st.sampled_from((RESERVE, RELEASE, BOOK, REVERSE)),
        code=st.just(0x9C),
        seconds=st.just(0.01),
    ),
    max_size=5,
)
SHAPES = st.sampled_from(("whole", "fragments", "merged"))


async def reserve(driver, there, journal):
    """A hold that is known, or None. A hold in doubt that turns up is given back by the caller."""
    receipts = []

    async def noted(done):
        receipts.append(done.receipt_no)

    await told(driver)
    there.present(bank_card())
    answer = await driver.reserve(amount_minor=HOLD, reference="s", noted=noted)
    match answer:
        case Done(receipt_no=receipt_no):
            return receipt_no, True
        case InDoubt():
            unmatched = set((await told(driver)).numbers) - set(journal)
            assert len(unmatched) <= 1
            assert not receipts or unmatched <= set(receipts)
            return (unmatched.pop(), False) if unmatched else (None, False)
        case Declined():
            return None, False


async def end(driver, receipt_no, amount_minor):
    """Capture (or reverse, for nothing) until it is certain. Asked again only while the terminal has the hold."""
    for _ in range(20):
        if amount_minor:
            answer = await driver.capture(receipt_no, hold_minor=HOLD, amount_minor=amount_minor)
        else:
            answer = await driver.reverse(receipt_no)
        if isinstance(answer, Done):
            return
        if isinstance(answer, InDoubt) and receipt_no not in (await told(driver)).numbers:
            return
    raise AssertionError("no end in sight")


@given(FAULTS, SHAPES, st.lists(st.sampled_from((0, 1, 1234, HOLD)), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_the_terminals_books_equal_the_journal(faults, shape, totals):
    async def scenario(driver, there):
        there.script(*faults)
        journal: dict[int, int] = {}
        for total_minor in totals:
            receipt_no, certain = await reserve(driver, there, journal)
            if receipt_no is None:
                continue
            journal[receipt_no] = total_minor if certain else 0
            await end(driver, receipt_no, journal[receipt_no])
        return journal, there.books

    journal, books = play(scenario, times=CURT, shape=shape)
    assert books.open == ()
    ends = Counter(e.hold_no for e in books.entries if e.what in ("capture", "reverse"))
    assert set(ends) == set(books.holds)
    assert all(count == 1 for count in ends.values())
    assert books.captured_minor == sum(journal.values())
    for hold in books.holds.values():
        assert (hold.captured_minor or 0) == journal[hold.receipt_no]
