"""Cards that tear, lie and never end: thousands of them, through nfcpy's own block protocol and our bounds.

The air is a function call here, so that a silent card costs no time: the link says at once that nothing came.
"""

from __future__ import annotations

import os
import random
import time
import tracemalloc

import nfc.clf
import nfc.tag.tt4
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import CardError
from hw.readers.nfc import NfcCoupler, _BoundedLink
from hw.readers.response import RESPONSE_MAX, complete
from hw.virtual.cards import Left, Scripted, VirtualCard
from hw.virtual.isodep import Picc

#: More for a campaign: HOSTILE_TRIALS=10000 pytest tests/hw/readers/test_hostile.py
TRIALS = int(os.environ.get("HOSTILE_TRIALS", "400"))

#: A hundred times what the slowest trial takes on the slowest machine: it ends, that is the point.
TRIAL_MAX_S = 30
MEMORY_MAX = 4 * 1024 * 1024

SELECT = bytes.fromhex("00A4040007D276000085010100")
ATS = bytes.fromhex("0578807002")


class Air:
    """nfcpy's frontend, as its tags see it, with frames that a rule spoils."""

    max_send_data_size = max_recv_data_size = 256

    def __init__(self, card: VirtualCard, spoil) -> None:
        self._picc = Picc(card)
        self._spoil = spoil

    def sense(self, *_targets, **_options) -> None:
        return None

    def exchange(self, frame: bytes, _timeout: float) -> bytearray:
        try:
            answer = self._picc.answer(bytes(frame))
        except Left:
            raise nfc.clf.BrokenLinkError("gone") from None
        answer = self._spoil(answer)
        if answer is None:
            raise nfc.clf.TimeoutError("silence")
        return bytearray(answer)


class Card:
    sak, ats = 0x20, ATS

    def __init__(self, answers) -> None:
        self._answers = answers

    def enter(self) -> bytes:
        return b"\x01\x02\x03\x04"

    def apdu(self, command: bytes) -> bytes | None:
        return self._answers(command)


def coupler(card: VirtualCard, spoil=lambda answer: answer) -> NfcCoupler:
    """A coupler that has just found the card."""
    target = nfc.clf.RemoteTarget(
        "106A", sens_res=bytearray(2), sdd_res=bytearray(4), sel_res=bytearray(b"\x20")
    )
    made = NfcCoupler("udp:127.0.0.1:1")
    made._frontend = Air(card, spoil)
    made._target = target
    made._activate(target)
    return made


def outcome(made: NfcCoupler) -> bytes | CardError:
    try:
        return complete(made.transmit, SELECT)
    except CardError as e:
        return e


def hostile_card(draw: random.Random) -> Card:
    """Answers of every kind and size, some of them torn away or silent."""

    def answers(_command: bytes) -> bytes | None:
        match draw.randrange(8):
            case 0:
                raise Left
            case 1:
                return None
            case 2:
                return draw.randbytes(draw.randrange(5))
            case 3:
                return bytes(65_536) + b"\x90\x00"
            case 4:
                return draw.randbytes(draw.randrange(300)) + b"\x61" + draw.randbytes(1)
            case 5:
                return b"\x6c" + draw.randbytes(1)
            case 6:
                return draw.randbytes(draw.randrange(100_000))
            case _:
                return draw.randbytes(draw.randrange(256)) + b"\x90\x00"

    return Card(answers)


def spoiler(draw: random.Random):
    """Frames that are lost, cut, changed, made longer, or waiting time extensions without end."""
    kind = draw.randrange(8)
    from_frame = draw.randrange(6)
    n = 0

    def spoil(answer: bytes | None) -> bytes | None:
        nonlocal n
        n += 1
        if n <= from_frame:
            return answer
        match kind:
            case 0:
                return b"\xf2\x3b"
            case 1:
                return b""
            case 2:
                return draw.randbytes(draw.randrange(1, 300))
            case 3 if answer:
                return bytes((answer[0] ^ 1 << draw.randrange(8),)) + answer[1:]
            case 4 if answer:
                return answer[: draw.randrange(len(answer))]
            case 5:
                return bytes((0x12 | n & 1,)) + bytes(250)
            case 6:
                return None
            case _:
                return answer

    return spoil


def test_any_tear_and_any_lie_end_in_an_answer_or_a_card_error_within_bounds(monkeypatch):
    monkeypatch.setattr("hw.readers.nfc.EXCHANGE_MAX_S", 0.05)
    tracemalloc.start()
    try:
        for seed in range(TRIALS):
            draw = random.Random(seed)
            began_at = time.monotonic()
            tracemalloc.reset_peak()
            held, _ = tracemalloc.get_traced_memory()
            made = coupler(hostile_card(draw), spoiler(draw))
            result = outcome(made)
            assert isinstance(result, CardError) or 2 <= len(result) <= RESPONSE_MAX, seed
            assert isinstance(made.present(), bool), seed
            assert time.monotonic() - began_at < TRIAL_MAX_S, seed
            assert tracemalloc.get_traced_memory()[1] - held < MEMORY_MAX, seed
    finally:
        tracemalloc.stop()


def test_waiting_time_extensions_end(monkeypatch):
    monkeypatch.setattr("hw.readers.nfc.EXCHANGE_MAX_S", 0.05)
    made = coupler(Card(lambda _c: b"\x90\x00"))
    made._frontend._spoil = lambda _answer: b"\xf2\x01"
    assert isinstance(outcome(made), CardError)


def test_a_chain_of_blocks_ends():
    n = 0

    def chain(_answer):
        nonlocal n
        n += 1
        return bytes((0x12 | (n + 1) & 1,)) + bytes(250)

    made = coupler(Card(lambda _c: b"\x90\x00"))
    made._frontend._spoil = chain
    assert "does not end" in str(outcome(made))
    assert n < 400


@given(st.lists(st.binary(max_size=70), min_size=1, max_size=6))
def test_whatever_a_card_answers_the_response_is_whole_or_an_error(answers):
    n = 0

    def transmit(_command: bytes) -> bytes:
        nonlocal n
        n += 1
        return answers[n % len(answers)]

    try:
        result = complete(transmit, SELECT)
    except CardError:
        assert n < 100
    else:
        assert result[-2] != 0x61
        assert len(result) >= 2


@pytest.mark.parametrize("at", range(4))
def test_a_tear_at_any_command_is_a_lost_card(at):
    def answers(n: int, _command: bytes, _inner: VirtualCard) -> bytes:
        if n == at:
            raise Left
        return b"\x90\x00"

    made = coupler(Scripted(Card(lambda _c: None), answers))
    results = [outcome(made) for _ in range(at + 1)]
    assert results[:-1] == [b"\x90\x00"] * at
    assert isinstance(results[-1], CardError)
    assert results[-1].code == "card.lost"


def test_the_link_gives_every_command_its_own_time(monkeypatch):
    monkeypatch.setattr("hw.readers.nfc.EXCHANGE_MAX_S", 0.05)
    link = _BoundedLink(Air(Card(lambda _c: b"\x90\x00"), lambda answer: answer))
    time.sleep(0.06)
    with pytest.raises(CardError):
        link.exchange(b"\x02\x00", 0.01)
    link.start()
    link.exchange(b"\xe0\x80", 0.01)
