"""What an operator may decide at a terminal, and what is refused."""

from __future__ import annotations

import asyncio

import pytest

from edge.domain.terminal import Declined, Done, InDoubt
from edge.errors import TillError
from edge.runtime.operator import handlers


class Desk:
    def __init__(self, answer):
        self.orphans, self.reason, self.answer, self.asked = (7,), None, answer, []

    async def release(self, receipt_no):
        self.asked.append(("release", receipt_no))
        return self.answer

    async def book(self, receipt_no, amount_minor):
        self.asked.append(("book", receipt_no, amount_minor))
        return self.answer


def do(desk, command, **arguments):
    return asyncio.run(handlers({0: desk})[f"terminal.{command}"](arguments))


def test_what_belongs_to_nobody_is_listed_released_or_booked():
    desk = Desk(Done(receipt_no=8))
    assert do(desk, "list") == [{"terminal": 0, "state": "ready", "orphans": [7]}]
    assert do(desk, "release", receipt=7)["result"] == "released"
    assert do(desk, "book", receipt=7, amount_minor=120)["amount_minor"] == 120
    assert desk.asked == [("release", 7), ("book", 7, 120)]


@pytest.mark.parametrize(
    "arguments",
    [
        {"receipt": 8},  # a hold of a payment, or of nobody
        {"receipt": 7, "terminal": 1},
        {"receipt": -1},
        {"receipt": "7"},
        {"receipt": 7, "more": 1},
        {},
    ],
)
def test_everything_else_touches_no_money(arguments):
    desk = Desk(Done())
    with pytest.raises(TillError):
        do(desk, "release", **arguments)
    with pytest.raises(TillError):
        do(desk, "book", **arguments, amount_minor=1)
    assert desk.asked == []


def test_a_booking_needs_an_amount():
    desk = Desk(Done())
    with pytest.raises(TillError):
        do(desk, "book", receipt=7)
    assert desk.asked == []


@pytest.mark.parametrize("answer", [Declined(reason="terminal_fault"), InDoubt(why="lost")])
def test_a_terminal_that_does_not_say_yes_is_an_error_with_its_reason(answer):
    with pytest.raises(TillError, match=r"terminal_fault|lost"):
        do(Desk(answer), "release", receipt=7)
