"""Cards that mean harm: whatever they say, a tap ends, soon, with an outcome, and asks for a bounded number of things."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.emv import tlv
from edge.emv.kernel.entry import identify, pay
from edge.emv.kernel.outcome import EndApplication, OnlineRequest, SelectNext
from edge.emv.kernel.selection import CANDIDATES_MAX
from edge.emv.oda.files import RECORDS_MAX

#: Selection of the directory and of every candidate, processing options, records, cryptogram.
COMMANDS_MAX = 1 + 2 * CANDIDATES_MAX + RECORDS_MAX + 1


def spoken(talk, answers):
    """Carries a conversation with whatever comes; the outcome and how many commands it took."""
    command, count, outcome = next(talk), 0, None
    try:
        while True:
            assert len(command) <= 261
            count += 1
            command = talk.send(answers(command))
    except StopIteration as end:
        outcome = end.value
    assert outcome is not None
    assert not isinstance(outcome, SelectNext)
    return outcome, count


@pytest.mark.parametrize(
    ("kernel", "changes", "why"),
    [
        (2, {"pdol": bytes.fromhex("9F37FF") * 80}, "card_data"),
        (3, {"pdol": bytes.fromhex("9F6604") + bytes.fromhex("9F02FE")}, "card_data"),
        (3, {"pdol": bytes.fromhex("9F37049F0206")}, "not_accepted"),  # no 9F66
        (2, {"pdol": bytes.fromhex("9F37")}, "card_data"),
        (2, {"cdol1": bytes.fromhex("9F02FF")}, "card_data"),
        (2, {"cdol1": bytes.fromhex("9F3700") * 30 + bytes.fromhex("9F")}, "card_data"),
        (2, {"aip": bytes.fromhex("1900")}, "not_accepted"),  # magnetic stripe mode
        (2, {"without": {"82"}}, "card_data"),
        (2, {"without": {"94"}}, "card_data"),
        (3, {"without": {"57"}}, "card_data"),
        (3, {"without": {"9F26"}}, "card_data"),
        (2, {"without": {"5A", "57"}}, "card_data"),
        (2, {"without": {"8C"}}, "card_data"),
        (2, {"more": {"5A": b"\xab\xcd"}}, "card_data"),
        (2, {"more": {"9F46": bytes(4)}}, "card_data"),  # twice, and not the same
    ],
)
def test_what_emv_does_not_allow_ends_the_tap(tap, make, kernel, changes, why):
    outcome, _ = tap(make(kernel, **changes))
    assert (type(outcome), outcome.why) == (EndApplication, why), outcome


@pytest.mark.parametrize("locator", ["0801FF00", "08010100" * 40, "0801200010012000", "0801", "FF010100"])
def test_endless_files_are_not_read(make, tap, locator):
    card = make(2)
    plain = card.options
    card.options = lambda data, command: plain(data, command).replace(
        tlv.encode("94", card.locator), tlv.encode("94", bytes.fromhex(locator))
    )
    outcome, exchanges = tap(card)
    assert outcome.why == "card_data"
    assert len(exchanges) == 3


def test_a_directory_of_a_hundred_applications_is_tried_a_few_times(terminal, purchase, scheme):
    entry = tlv.encode("61", tlv.encode("4F", bytes.fromhex("A0000000041010")))
    directory = tlv.encode("6F", tlv.encode("BF0C", entry * 20)) + b"\x90\0"

    def answers(command):
        return directory if command[5:].startswith(b"2PAY") else b"\x6a\x82"

    outcome, count = spoken(pay(terminal, purchase, scheme.keys()), answers)
    assert (outcome.why, count) == ("not_accepted", 1 + CANDIDATES_MAX)


@pytest.mark.parametrize("answer", [b"", b"\x90", b"\x90\0" * 200, bytes(70_000)])
def test_answers_of_no_length_that_a_card_may_have(terminal, purchase, scheme, answer):
    outcome, count = spoken(pay(terminal, purchase, scheme.keys()), lambda _: answer)
    assert (outcome.why, count) == ("card_data", 1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.sampled_from([2, 3]), st.integers(1, 3))
def test_a_card_whose_answers_are_changed_anywhere_never_raises(
    make, scheme, terminal, purchase, seed, kernel, times
):
    draw = random.Random(seed)
    card = make(kernel)
    hit = {draw.randrange(8) for _ in range(times)}
    count = 0

    def answers(command):
        nonlocal count
        answer = bytearray(card.apdu(command))
        if count in hit:
            at = draw.randrange(len(answer))
            match draw.randrange(4):
                case 0:
                    answer[at] ^= 1 << draw.randrange(8)
                case 1:
                    answer[at] = draw.choice((0x00, 0x7F, 0x80, 0x81, 0x84, 0xFF))
                case 2:
                    del answer[at:]
                    answer += b"\x90\0"
                case _:
                    answer[at:at] = draw.randbytes(draw.randrange(6))
        count += 1
        return bytes(answer)

    begun = time.process_time()
    outcome, commands = spoken(pay(terminal, purchase, scheme.keys()), answers)
    assert commands <= COMMANDS_MAX
    assert card.pan not in repr(outcome)
    assert time.process_time() - begun < 2
    if isinstance(outcome, OnlineRequest):
        assert outcome.oda.result != "invalid"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=12))
def test_answers_of_any_bytes(scheme, terminal, purchase, answers):
    for talk in (pay(terminal, purchase, scheme.keys()), identify(terminal, purchase)):
        left = iter(answers)
        outcome, _ = spoken(talk, lambda _, left=left: next(left, b"") + b"\x90\0")
        assert isinstance(outcome, EndApplication)
