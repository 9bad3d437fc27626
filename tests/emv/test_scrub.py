"""What the scrubber takes out of a text, and what it leaves alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.emv.pan import luhn, truncate
from edge.emv.scrub import has_card_data, scrub

VISA = "4111111111111111"
MASTERCARD = "5413330089020011"
AMEX = "371449635398431"
GIROCARD = "6725900812345678903"

DATA = "5A0854133300890200115F2403251231"
TRACK_2 = "5713" + MASTERCARD + "D25121010000000000F"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (VISA, "411111******1111"),
        (f"card={VISA}, declined", "card=411111******1111, declined"),
        (f'{{"pan":{VISA}}}', '{"pan":411111******1111}'),
        ("4111 1111 1111 1111", "411111******1111"),
        ("4111-1111-1111-1111", "411111******1111"),
        ("3714 496353 98431", "371449*****8431"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "411111******1111"),
        ("seq 12 4111 1111 1111 1111 25", "seq 12 411111******1111 25"),
        ("4111.1111.1111.1111", "411111******1111"),
        ("4111\u00a01111\u00a01111\u00a01111", "411111******1111"),
        ("411111 1111111111", "411111******1111"),
        ("41 11 11 11 11 11 11 11", "411111******1111"),
        (GIROCARD, "672590*********8903"),
        (f"%B{VISA}^DOE/JOHN^25121010000000000?", "411111******1111****"),
        (f";{VISA}=25121010000000000?", "411111******1111****"),
    ],
)
def test_a_card_number_is_shown_truncated(text, shown):
    assert scrub(text) == shown
    assert has_card_data(text)
    assert not has_card_data(shown)


@pytest.mark.parametrize(
    "text",
    [
        DATA,
        DATA.lower(),
        "70" + "%02X" % (len(DATA) // 2) + DATA + "9000",
        " ".join(DATA[i : i + 2] for i in range(0, len(DATA), 2)),
        ":".join(DATA[i : i + 2] for i in range(0, len(DATA), 2)),
        repr(bytes.fromhex(DATA)),
        repr(list(bytes.fromhex(DATA))),
        "FFEE" + DATA + "FFEE",
        TRACK_2,
        TRACK_2[4:],
        "0200" + MASTERCARD.encode().hex(),
        "16" + MASTERCARD + "000000",
    ],
)
def test_a_number_inside_a_dump_is_hidden(text):
    digits = "".join(c for c in scrub(text) if c in "0123456789*")
    assert MASTERCARD not in digits
    assert "00890200" not in digits.replace("3", "")
    assert scrub(text) != text


def test_names_and_certificates_are_hidden_by_tag():
    name = b"DOE/JOHN"
    certificate = bytes(range(1, 145))
    dump = (b"\x70\x81\xa0" + b"\x5f\x20\x08" + name + b"\x9f\x46\x81\x90" + certificate).hex()
    dump = dump.replace("7081a0", "7081" + f"{len(dump) // 2 - 3:02x}")
    shown = scrub(dump)
    assert name.hex() not in shown
    assert certificate.hex()[20:60] not in shown
    assert len(shown) == len(dump)
    torn = scrub("ab" + "9f468190" + certificate.hex() + "77")
    assert certificate.hex()[20:60] not in torn


def test_text_of_any_kind_costs_little_time():
    """No input makes the patterns go back and forth: a log line is at most 8 KB, and there may be many."""
    for unit in ("1", "1 ", "12345 ", "41", "\\x", "5A08", "[1, ", "b'", "B4111^", "DE89 ", "4-", "0x4f:"):
        began_at = time.process_time()
        scrub(unit * (8_192 // len(unit)))
        assert time.process_time() - began_at < 5, unit


@given(st.text())
def test_any_text_is_scrubbed_once_and_for_all(text):
    assert scrub(scrub(text)) == scrub(text)


@given(
    st.sampled_from(["4", "5", "62", "2221", "37"]),
    st.integers(0, 10**15 - 1),
    st.text("ab, :;/", max_size=5),
)
def test_any_number_that_a_scheme_may_have_issued_is_hidden(start, rest, around):
    length = 15 if start == "37" else 16
    body = (start if start != "5" else "53") + str(rest).zfill(15)
    body = body[: length - 1]
    number = next(body + d for d in "0123456789" if luhn(body + d))
    shown = scrub(f"{around} {number} {around}")
    assert number not in shown
    assert truncate(number) in shown


@pytest.mark.parametrize(
    "text",
    [
        "550e8400-e29b-41d4-a716-446655440000",
        "4111-1111-1111-1112",
        "4111111111111112",
        "1763811264123456789",
        "2026-11-22T11:34:24.123456Z 2026-11-22 11:34:24",
        "invoice CT7Q-00000042 EP3F-2026-000000123456",
        "DE*ABC*E4111*1",
        "serial 1EMH0012345678 0901454D4800007A31C4",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "52.5200066 13.4049540",
        "IBAN DE89370400440532013000",
        "IBAN DE89 3704 0044 0532 0130 00",
        "share 0.4111111111111111",
        "registers 1216 5666 60145 20523 12955 39018 11499",
        "1.5 41.11 11.11 11.11 11.11 11.11",
        "00000000-0000-4000-8000-411111111111",
        "018446744073709551615",
        "registers [17, 255, 16383, 4, 5, 6, 7, 8, 9, 10]",
        "no digits at all",
        "",
    ],
)
def test_what_is_no_card_stays_as_it_is(text):
    assert scrub(text) == text
