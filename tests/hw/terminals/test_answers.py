"""What a finished command means: every combination of what was heard, and never a yes too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.domain.terminal import BankCard, Declined, Done, InDoubt, MemberCard, NoCard, OpenReceipts
from hw.terminals.zvt import answers, tlv
from hw.terminals.zvt.dialog import Heard
from hw.terminals.zvt.message import parse
from hw.terminals.zvt.packet import Packet
from hw.terminals.zvt.values import bmp
from hw.terminals.zvt.words import meaning, reason


def status(code: int | None, *, amount: int | None = None, receipt: int | None = None):
    data = b"" if code is None else bmp(0x27, code)
    data += b"" if amount is None else bmp(0x04, amount)
    data += b"" if receipt is None else bmp(0x87, receipt)
    return parse(Packet(0x040F, data))


def completed(code: int | None = None):
    return parse(Packet(0x060F, b"" if code is None else bmp(0x27, code)))


def aborted(code: int, *rest: bytes):
    return parse(Packet(0x061E, bytes((code,)) + b"".join(rest)))


STATUSES = st.none() | st.builds(
    status,
    st.none() | st.sampled_from((0, 5, 0x6C)),
    amount=st.none() | st.sampled_from((0, 99, 100)),
    receipt=st.none() | st.sampled_from((1, 0xFFFF)),
)
ENDS = (
    st.none()
    | st.builds(completed, st.none() | st.sampled_from((0, 0x9B)))
    | st.builds(aborted, st.just(0x6C))
)
HEARD = st.builds(
    Heard,
    refused=st.none() | st.just(0x83),
    lost=st.none() | st.just("gone"),
    status=STATUSES,
    end=ENDS,
    torn=st.booleans(),
)


@given(HEARD)
def test_yes_needs_a_good_result_a_receipt_the_amount_and_a_good_end(heard):
    answer = answers.money(heard, amount_minor=100, receipt=True)
    good = (
        heard.refused is None
        and heard.lost is None
        and not heard.torn
        and heard.status is not None
        and heard.status.fields.get("result_code") == 0
        and heard.status.fields.get("amount_minor", 100) == 100
        and heard.status.fields.get("receipt_no") == 1
        and (
            heard.end is None or (heard.end.command == 0x060F and heard.end.fields.get("result_code", 0) == 0)
        )
    )
    assert isinstance(answer, Done) == good


@given(HEARD)
def test_no_needs_the_terminals_word(heard):
    answer = answers.money(heard, amount_minor=100, receipt=True)
    if isinstance(answer, Declined):
        codes = [heard.refused]
        codes += [
            m.fields.get(k) for m in (heard.status, heard.end) if m for k in ("result_code", "error_code")
        ]
        assert answer.code in codes
        assert answer.code != 0


@given(HEARD)
def test_a_lost_end_is_no_yes_and_keeps_what_was_seen(heard):
    answer = answers.money(heard)
    if heard.lost is not None and heard.refused is None:
        assert not isinstance(answer, Done)
        if isinstance(answer, InDoubt) and answers.succeeded(heard.status):
            assert answer.seen is not None


@pytest.mark.parametrize("code", range(256))
def test_every_code_has_a_meaning_and_a_reason(code):
    assert meaning(code)
    assert reason(code)


@pytest.mark.parametrize(
    ("heard", "want"),
    [
        (Heard(end=aborted(0xB8, bmp(0x87, 0xFFFF))), OpenReceipts(numbers=(), complete=True)),
        (Heard(end=aborted(0xB8, bmp(0x87, 231))), OpenReceipts(numbers=(231,), complete=False)),
        (Heard(end=aborted(0xB8)), OpenReceipts(numbers=(), complete=False)),
        (Heard(end=aborted(0x83)), OpenReceipts(numbers=(), complete=False)),
        (Heard(end=completed()), OpenReceipts(numbers=(), complete=False)),
        (Heard(refused=0x83), OpenReceipts(numbers=(), complete=False)),
        (
            Heard(
                end=aborted(
                    0xB8,
                    bmp(0x87, 7),
                    bmp(
                        0x06, tlv.encode("23", tlv.encode("08", b"\x00\x09") + tlv.encode("08", b"\x00\x08"))
                    ),
                )
            ),
            OpenReceipts(numbers=(7, 8, 9), complete=True),
        ),
    ],
)
def test_open_holds_as_far_as_they_are_told(heard, want):
    assert answers.open_receipts(heard) == want


def card(*objects: bytes, extra: bytes = b""):
    message = parse(Packet(0x040F, bmp(0x27, 0) + extra + bmp(0x06, b"".join(objects))))
    return answers.presented(Heard(status=message, end=message), not_bank=("A000000083", "A000000066"))


def application(aid: str) -> bytes:
    return tlv.encode("60", tlv.encode("43", bytes.fromhex(aid)))


UID = tlv.encode("4C", bytes.fromhex("0000000463C8B2AE4F80"))
PHONE = tlv.encode("4C", bytes.fromhex("00000000000008FF6914"))


def test_any_application_of_a_bank_makes_a_bank_card():
    assert card(UID, application("A0000000831234"), application("A0000000041010")) == BankCard(
        uid="0463C8B2AE4F80"
    )
    assert card(UID, application("A0000000831234")) == MemberCard(uid=bytes.fromhex("0463C8B2AE4F80"))
    assert card(UID) == MemberCard(uid=bytes.fromhex("0463C8B2AE4F80"))


def test_a_phones_uid_is_no_identity_but_its_account_reference_is():
    par = tlv.encode("4E", b"\xab" * 14)
    assert card(PHONE, application("A0000000031010"), par) == BankCard(par="AB" * 14)


def test_a_stripe_without_a_chip_is_a_bank_card():
    track = bmp(0x23, bytes.fromhex("6725904411001000142D24122012386013860F"))
    assert card(tlv.encode("1F14", b"\x3f" * 16), extra=track) == BankCard(token="3F" * 16)


def test_neither_uid_nor_application_is_no_card():
    assert card() == NoCard(reason="card_unreadable", code=0x64)
