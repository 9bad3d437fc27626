"""Framing: packets back to back, and in blocks with a CRC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.terminals.zvt.errors import ZvtError
from hw.terminals.zvt.packet import (
    Acknowledged,
    Fault,
    Packet,
    RawFraming,
    SerialFraming,
    block,
    crc16,
    decode,
    encode,
)

PACKETS = st.builds(Packet, st.integers(0, 0xFFFF), st.binary(max_size=600))


@given(PACKETS)
def test_a_packet_reads_back(packet):
    assert decode(encode(packet)) == packet


@pytest.mark.parametrize(("size", "head"), [(254, "060FFE"), (255, "060FFFFF00"), (300, "060FFF2C01")])
def test_the_length_has_one_byte_up_to_254_and_then_three_low_byte_first(size, head):
    assert encode(Packet(0x060F, bytes(size))).hex().upper().startswith(head)


def test_a_long_length_may_say_little():
    assert decode(bytes.fromhex("040FFF01006C")) == Packet(0x040F, b"\x6c")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "its length missing at byte 0"),
        ("040F", "its length missing at byte 2"),
        ("040FFF01", "its length missing at byte 4"),
        ("040F0600010203", "2 bytes of it missing at byte 7"),
        ("0800000102", "2 bytes follow the packet at byte 3"),
    ],
)
def test_what_is_not_one_packet_says_where(data, says):
    with pytest.raises(ZvtError, match=says):
        decode(bytes.fromhex(data))


@given(st.lists(PACKETS, max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_a_stream_may_be_torn_and_merged_anywhere(packets, steps):
    for framing, wire in (
        (RawFraming(), b"".join(map(encode, packets))),
        (SerialFraming(), b"\x06".join(block(encode(p)) for p in packets)),
    ):
        found, at, i = [], 0, 0
        while at < len(wire):
            step = steps[i % len(steps)]
            found += framing.feed(wire[at : at + step])
            at, i = at + step, i + 1
        assert framing.rest() is None
        assert [p for p in found if not isinstance(p, Acknowledged)] == packets


@pytest.mark.parametrize(
    ("packet", "wire"),
    [
        ("800000", "1002800000" + "1003F51F"),
        ("069303123456", "1002069303123456" + "1003CAA4"),
        ("06010A04000000011000490978", "100206010A0400000001101000490978" + "1003F2FF"),
        (
            "06D117402A202A20204884" + "6E646C657262656C656720202A202A",
            "100206D117402A202A202048846E646C657262656C656720202A202A" + "10031C81",
        ),
    ],
)
def test_blocks_of_real_serial_lines(packet, wire):
    assert block(bytes.fromhex(packet)) == bytes.fromhex(wire)
    assert SerialFraming().feed(bytes.fromhex(wire)) == [decode(bytes.fromhex(packet))]


def test_the_crc_is_kermits_over_packet_and_etx():
    assert crc16(b"123456789"[:-1] + b"9") == crc16(b"123456789")
    assert crc16(bytes.fromhex("800000")) == b"\xf5\x1f"


@given(st.binary(min_size=1, max_size=40), st.integers(0), st.integers(1, 255))
def test_a_flipped_byte_never_gives_another_packet(data, place, flip):
    packet = Packet(0x040F, data)
    wire = bytearray(block(encode(packet)))
    wire[place % len(wire)] ^= flip
    framing = SerialFraming()
    found = framing.feed(bytes(wire))
    assert all(p == packet for p in found if isinstance(p, Packet))


def test_after_a_torn_block_the_next_one_is_read():
    good = block(encode(Packet(0x8000)))
    framing = SerialFraming()
    pieces = framing.feed(good[:4] + good + b"\x15noise" + good)
    assert [type(p) for p in pieces] == [Fault, Packet, Acknowledged, Fault, Packet]
    assert pieces[2] == Acknowledged(good=False)


@given(st.binary(max_size=3000))
def test_any_bytes_give_pieces_and_hold_no_more_than_came(data):
    for framing in (RawFraming(), SerialFraming()):
        pieces = [*framing.feed(data), framing.rest()]
        assert sum(len(p.data) for p in pieces if isinstance(p, Packet)) <= len(data)
