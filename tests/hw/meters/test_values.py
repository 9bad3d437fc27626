import math
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.meters import values


@pytest.mark.parametrize("shown", ["0.7", "0.1", "1234.569", "16777.22", "99999.99"])
def test_a_float32_is_the_decimal_that_it_stands_for(shown):
    found = values.number(struct.pack(">f", float(shown)), "f32", "big")
    assert found.value == Fraction(shown)


def test_the_step_of_a_float32_kwh_register_grows_with_its_value():
    assert values.number(struct.pack(">f", 16_777.3), "f32", "big").step * 1000 == Fraction(125, 64)
    assert values.number(struct.pack(">f", 140_000.0), "f32", "big").step * 1000 == Fraction(125, 8)


@given(st.integers(0x4800_0000, 0x4900_0000))
def test_neighbors_of_a_float32_kwh_register_beyond_131_mwh_lie_one_step_apart(raw):
    """A register that trembles by one step goes back by no more than it says of itself."""
    lower, upper = (values.number((raw + i).to_bytes(4, "big"), "f32", "big") for i in (0, 1))
    apart_wh = math.floor(upper.value * 1000) - math.floor(lower.value * 1000)
    assert 0 < apart_wh <= math.ceil(lower.step * 1000)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_never_off_by_more_than_half_its_step(value):
    found = values.number(struct.pack(">f", value), "f32", "big")
    assert abs(found.value - Fraction(value)) <= found.step / 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_nan_and_infinity_are_unknown(value, kind):
    raw = struct.pack(">f" if kind == "f32" else ">d", value)
    assert values.number(raw, kind, "big") is None


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("ffff", "u16"), ("ffffffff", "u32"), ("ffffffffffffffff", "u64"),
        ("7fff", "s16"), ("8000", "s16"), ("7fffffff", "s32"), ("80000000", "s32"), ("8000000000000000", "s64"),
        ("7fff1234", "s32"), ("80001234", "s32"), ("7fff123400000000", "s64"),
    ],
)  # fmt: skip
def test_not_available_is_unknown_unless_the_profile_says_otherwise(raw, kind):
    raw = bytes.fromhex(raw)
    assert values.number(raw, kind, "big") is None
    assert values.number(raw, kind, "big", sentinels=False) is not None


@pytest.mark.parametrize(("raw", "value"), [("ffff", -1), ("7ffe", 32_766), ("8001", -32_767)])
def test_what_lies_beside_it_is_a_value(raw, value):
    assert values.number(bytes.fromhex(raw), "s16", "big").value == value


@given(
    st.sampled_from(["u16", "s16", "u32", "s32", "u64", "s64"]),
    st.sampled_from(["big", "little"]),
    st.integers(0, 32_000),
)
def test_what_is_encoded_is_decoded(kind, order, number):
    assert values.number(values.encode(Fraction(number), kind, order), kind, order).value == number


def test_little_means_the_least_significant_word_first():
    assert values.number(bytes.fromhex("00020001"), "u32", "little").value == 0x10002


def test_text_ends_at_its_padding():
    assert values.text(b"AB123\0\0\0") == "AB123"
    assert values.text(b"  AB  ") == "AB"
    assert values.text(b"\0\0") is None
    assert values.text(b"\xff\xff") is None
