"""BER-TLV: what is built is read back, and what is broken is named by its byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.emv import dol, tlv
from edge.emv.tlv import Tlv, TlvError

PRIMITIVE = st.sampled_from(["5A", "57", "82", "9F38", "9F8101", "50", "DF01", "84"])
CONSTRUCTED = st.sampled_from(["6F", "A5", "70", "77", "BF0C", "61"])


def trees(depth: int = 3) -> st.SearchStrategy[tuple[str, object]]:
    leaf = st.tuples(PRIMITIVE, st.binary(max_size=300))
    if depth == 0:
        return leaf
    return leaf | st.tuples(CONSTRUCTED, st.lists(trees(depth - 1), max_size=4))


def build(tree) -> bytes:
    tag, content = tree
    return tlv.encode(tag, content if isinstance(content, bytes) else b"".join(map(build, content)))


def as_tree(each: Tlv):
    return each.tag, [as_tree(c) for c in each.children] if each.constructed else each.value


def outcome(parse, data):
    """What the data parses to, and the byte at which it fails (0 where it does not)."""
    try:
        return parse(data), 0
    except TlvError as e:
        return (), e.offset


@given(st.lists(trees(), max_size=4), st.integers(0, 3))
def test_what_is_encoded_is_parsed_back_whatever_padding_is_between(forest, padding):
    data = b"".join(build(t) + bytes(padding) for t in forest)
    assert [as_tree(t) for t in tlv.parse(data)] == [(t[0], t[1]) for t in forest]


@given(st.lists(trees(), min_size=1, max_size=3))
def test_an_object_lies_where_its_offset_says(forest):
    data = b"".join(build(t) for t in forest)
    for each in (o for top in tlv.parse(data) for o in top.walk()):
        assert data[each.offset :].startswith(tlv.encode(each.tag, each.value))


@given(st.binary(max_size=400))
def test_any_bytes_parse_or_fail_at_a_byte_of_theirs(data):
    objects, offset = outcome(tlv.parse, data)
    assert 0 <= offset <= len(data)
    assert sum(len(tlv.encode(o.tag, o.value)) for o in objects) <= len(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_list_of_wanted_objects_or_fail_at_a_byte_of_theirs(data):
    wanted, offset = outcome(dol.parse, data)
    assert 0 <= offset <= len(data)
    assert not wanted or b"".join(bytes.fromhex(w.tag) + bytes((w.length,)) for w in wanted) == data


@pytest.mark.parametrize(
    ("data", "offset", "says"),
    [
        ("5A08541333", 2, "8 bytes, 3 are left"),
        ("5A", 1, "no length"),
        ("9F", 0, "cut off"),
        ("9F8080", 0, "cut off"),
        ("9F80808001", 0, "more than 3 bytes"),
        ("5A80", 1, "coded as 80"),
        ("5A8400000001AA", 1, "coded as 84"),
        ("5A82AA", 1, "cut off"),
        ("6F045A02AA", 2, "4 bytes, 3 are left"),
        ("6F045A03AABB", 4, "3 bytes, 2 are left"),
        ("5A01AAFF", 3, "cut off"),
        ("A5" * 1, 1, "no length"),
    ],
)
def test_broken_data_is_named_by_its_byte(data, offset, says):
    with pytest.raises(TlvError, match=says) as e:
        tlv.parse(bytes.fromhex(data))
    assert e.value.offset == offset
    assert f"at byte {offset}" in str(e.value)


def test_nesting_is_bounded():
    data = b""
    for _ in range(tlv.DEPTH_MAX + 2):
        data = tlv.encode("A5", data + b"\x50\x00")
    with pytest.raises(TlvError, match="levels"):
        tlv.parse(data)


def test_data_is_bounded():
    with pytest.raises(TlvError, match="more than"):
        tlv.parse(bytes(tlv.DATA_MAX + 1))


def test_lengths_take_their_long_forms():
    for size in (0, 127, 128, 255, 256, 65_000):
        (each,) = tlv.parse(tlv.encode("5A", b"\x11" * size))
        assert len(each.value) == size


def test_the_first_object_of_a_tag_is_found_at_any_depth():
    objects = tlv.parse(bytes.fromhex("6F0DA50B5002414287010250024344"))
    assert tlv.find(objects, "50") == b"AB"
    assert tlv.find(objects, "9F38") is None
