import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from hw.bus import frames
from hw.bus.crc import is_intact
from hw.bus.frames import ExceptionReply, Misfit, Reply, request
from hw.virtual.modbus_server import rtu

READ = request(unit=1, function=4, address=0x48, count=2)
SENT = READ.rtu
DATA = bytes.fromhex("43487ae1")
GOOD = rtu(1, b"\x04\x04" + DATA)


def test_requests_are_the_bytes_of_the_specification():
    # MODBUS Application Protocol V1.1b3: 6.3 (read 3 from 0x6B), 6.6 and 6.12 examples, as RTU and TCP frames
    assert request(0x11, 3, 0x6B, 3).rtu.hex() == "1103006b00037687"
    assert request(0x11, 6, 1, 1, (3,)).rtu.hex() == "1106000100039a9b"
    assert (
        frames.tcp_frame(request(0xFF, 16, 1, 2, (10, 0x102)), 7).hex() == "00070000000bff10000100020"
        "4000a0102"
    )
    assert frames.tcp_frame(request(1, 5, 0xAC, 1, (1,)), 7).hex() == "000700000006010500acff00"


def test_the_reply_is_accepted_however_it_is_cut():
    for cut in range(len(GOOD)):
        assert frames.judge_rtu(READ, GOOD[:cut]) is None
    assert frames.judge_rtu(READ, GOOD) == Reply(DATA)


def test_an_echo_and_a_few_stray_bytes_before_the_reply_are_tolerated():
    assert frames.judge_rtu(READ, SENT + GOOD) == Reply(DATA, echoed=True)
    assert frames.judge_rtu(READ, b"\x00" + GOOD) == Reply(DATA)
    assert isinstance(frames.judge_rtu(READ, b"\x00" * 4 + GOOD), Misfit)


@pytest.mark.parametrize(
    "reply",
    [
        GOOD + b"\x00",
        GOOD + GOOD,
        rtu(2, b"\x04\x04" + DATA),
        rtu(1, b"\x03\x04" + DATA),
        rtu(1, b"\x04\x02" + DATA[:2]),
        rtu(1, b"\x04\x06" + DATA + b"\0\0"),
        rtu(1, b"\x04\x00"),
        rtu(1, b"\x04\x03" + DATA[:3]),
        rtu(1, b"\x83\x02"),
    ],
)
def test_what_is_not_exactly_the_reply_is_refused(reply):
    assert isinstance(frames.judge_rtu(READ, reply), Misfit)


@given(st.integers(0, 8 * len(GOOD) - 1), st.integers(0, 15))
def test_no_damaged_reply_passes(bit, burst):
    damaged = int.from_bytes(GOOD, "big") ^ ((1 | burst << 1) << bit)
    raw = damaged.to_bytes(len(GOOD) + 4, "big")[-len(GOOD) :]
    if raw != GOOD:
        assert not isinstance(frames.judge_rtu(READ, raw), Reply)


@given(st.binary(max_size=40))
def test_random_bytes_are_never_a_reply_over_tcp(raw):
    assert not isinstance(frames.judge_tcp(READ, 0x1234, raw), Reply)


def test_an_exception_of_this_function_is_an_answer():
    assert frames.judge_rtu(READ, rtu(1, b"\x84\x02")) == ExceptionReply(2)
    assert frames.judge_tcp(READ, 9, struct.pack(">HHHB", 9, 0, 3, 1) + b"\x84\x0b") == ExceptionReply(11)


@pytest.mark.parametrize(
    ("tid", "protocol", "extra", "unit", "pdu"),
    [
        (8, 0, 0, 1, b"\x04\x04" + DATA),
        (9, 1, 0, 1, b"\x04\x04" + DATA),
        (9, 0, 0, 2, b"\x04\x04" + DATA),
        (9, 0, 0, 1, b"\x04\x02" + DATA[:2]),
        (9, 0, 0, 1, b"\x04\x04" + DATA + b"\0"),
        (9, 0, 0, 1, b"\x04\x05" + DATA),
        (9, 0, -1, 1, b"\x04\x04" + DATA),
        (9, 0, 0, 1, b"\x03\x04" + DATA),
    ],
)
def test_over_tcp_every_part_of_the_frame_must_fit(tid, protocol, extra, unit, pdu):
    frame = struct.pack(">HHHB", tid, protocol, len(pdu) + 1 + extra, unit) + pdu
    assert isinstance(frames.judge_tcp(READ, 9, frame), Misfit)


def test_a_write_is_confirmed_only_by_its_own_address_and_value():
    write = request(1, 16, 261, 1, (160,))
    assert frames.judge_rtu(write, rtu(1, struct.pack(">BHH", 16, 261, 1))) == Reply(b"")
    assert isinstance(frames.judge_rtu(write, rtu(1, struct.pack(">BHH", 16, 262, 1))), Misfit)
    single = request(1, 6, 261, 1, (160,))
    echo = single.rtu
    assert frames.judge_rtu(single, echo) == Reply(b"")
    assert frames.judge_rtu(single, echo, echo=True) is None
    assert frames.judge_rtu(single, echo + echo, echo=True) == Reply(b"", echoed=True)


def test_addresses_beyond_the_protocol_are_refused():
    with pytest.raises(ValueError):
        request(1, 4, 0xFFFF, 2)
    with pytest.raises(ValueError):
        request(1, 4, 0, 126)


@given(st.binary(max_size=2048))
def test_a_frame_with_pymodbus_own_checksum_is_intact(data):
    assert is_intact(data + FramerRTU.compute_CRC(data).to_bytes(2, "big"))


@given(st.binary(min_size=3, max_size=300))
def test_a_frame_is_intact_only_with_pymodbus_own_checksum(frame):
    assert is_intact(frame) == (FramerRTU.compute_CRC(frame[:-2]) == int.from_bytes(frame[-2:], "big"))


@given(st.binary(min_size=1, max_size=300), st.integers(1, 0xFFFF), st.integers(0))
def test_no_error_burst_of_up_to_16_bits_leaves_a_frame_intact(data, burst, place):
    frame = data + FramerRTU.compute_CRC(data).to_bytes(2, "big")
    shift = place % (8 * len(frame) - burst.bit_length() + 1)
    damaged = int.from_bytes(frame, "little") ^ (burst << shift)
    assert not is_intact(damaged.to_bytes(len(frame), "little"))
