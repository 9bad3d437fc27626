"""Modbus frames: requests as bytes, and the judgment whether bytes that came are the reply to one request.

Pure. Requests are pymodbus'; the judgment is ours, because pymodbus accepts replies with
another function code or another number of registers. A reply fits only when unit, function, count and
length are exactly those of the request (MODBUS Application Protocol V1.1b3, sections 6 and 7; MODBUS over
Serial Line V1.02, 2.5).
"""

from __future__ import annotations

import struct
from typing import Literal, TypeAlias

import msgspec
from pymodbus.framer.rtu import FramerRTU
from pymodbus.framer.socket import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from hw.bus.crc import is_intact

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_REGISTERS = 5, 6, 16
Function: TypeAlias = Literal[1, 2, 3, 4, 5, 6, 16]

READ_REGISTERS_MAX = 125  # MODBUS V1.1b3, 6.3
WRITE_REGISTERS_MAX = 123  # MODBUS V1.1b3, 6.12
NOISE_BYTES_MAX = 3  # a transceiver that turns around leaves a byte or two before the reply, not more
_EXCEPTION = 0x80
_MBAP = struct.Struct(">HHHB")
_MBAP_LENGTH_MAX = 254  # unit and 253 bytes of PDU
_READS = {
    READ_COILS: ReadCoilsRequest,
    READ_DISCRETE: ReadDiscreteInputsRequest,
    READ_HOLDING: ReadHoldingRegistersRequest,
    READ_INPUT: ReadInputRegistersRequest,
}
_decoder = DecodePDU(False)
_rtu, _socket = FramerRTU(_decoder), FramerSocket(_decoder)


class Span(msgspec.Struct, frozen=True):
    """`count` registers (or bits) from `address`; up to `spare` more exist behind and may be read along.

    `step` is 2 where a device hands out only whole 32-bit values.
    """

    function: Literal[1, 2, 3, 4]
    address: int
    count: int = 1
    spare: int = 0
    step: int = 1


class Request(msgspec.Struct, frozen=True):
    """One request, with its frames; made by `request`. The reply's PDU has `length` bytes and begins with `head`:
    function and byte count of a read; all of a write, whose reply repeats what was written where.
    """

    unit: int
    function: Function
    count: int
    payload: bytes
    rtu: bytes
    tcp: bytes
    length: int
    head: bytes


class Reply(msgspec.Struct, frozen=True):
    """The reply to the request: the data bytes of a read, nothing for a write."""

    data: bytes
    echoed: bool = False


class ExceptionReply(msgspec.Struct, frozen=True):
    """The unit refuses: 1 function, 2 address, 3 value, 4 failure, 6 busy, 0x0A/0x0B gateway."""

    exception: int


class Misfit(msgspec.Struct, frozen=True):
    """What came is not the reply to this request, and no byte that follows can make it so.

    `count` names the count that it would have been the reply to, where it has another one.
    """

    reason: str
    count: int = 0


Judgment: TypeAlias = Reply | ExceptionReply | Misfit | None  # None: more bytes must come


def request(
    unit: int, function: Function, address: int, count: int = 1, values: tuple[int, ...] = ()
) -> Request:
    """A request. `values` are the registers (0-65535) or the coil (0 or 1) to write; empty in a read.

    Raises ValueError for an address or count outside of the protocol.
    """
    message = _message(unit, function, address, count, values)
    message.verifyAddress(address)
    message.verifyAddress(address + max(count, len(values)) - 1)
    payload = bytes([function]) + message.encode()
    length = _reply_bytes(function, count)
    return Request(
        unit=unit,
        function=function,
        count=count,
        payload=payload,
        rtu=_rtu.encode(payload, unit, 0),
        tcp=_socket.encode(payload, unit, 0),
        length=length,
        head=bytes([function, length - 2]) if function <= READ_INPUT else payload[:5],
    )


def _message(unit: int, function: Function, address: int, count: int, values: tuple[int, ...]) -> ModbusPDU:
    message: ModbusPDU
    match function:
        case 1 | 2 | 3 | 4:
            message = _READS[function](dev_id=unit, address=address, count=count)
        case 5:
            message = WriteSingleCoilRequest(dev_id=unit, address=address, bits=[bool(values[0])])
        case 6:
            message = WriteSingleRegisterRequest(dev_id=unit, address=address, registers=list(values))
        case 16:
            message = WriteMultipleRegistersRequest(
                dev_id=unit, address=address, count=len(values), registers=list(values)
            )
    return message


def tcp_frame(request: Request, tid: int) -> bytes:
    """The request as it goes over TCP, under the transaction id `tid`."""
    return tid.to_bytes(2, "big") + request.tcp[2:]


def _reply_bytes(function: Function, count: int) -> int:
    match function:
        case 1 | 2:
            return 2 + (count + 7) // 8
        case 3 | 4:
            return 2 + 2 * count
        case _:
            return 5


def judge_rtu(request: Request, received: bytes, *, echo: bool = False) -> Judgment:
    """Whether `received`, all that came since the request went out, is the reply.

    An echo of the request is skipped. The reply to FC5 and FC6 looks like its echo, so there `echo` says
    whether this line is known to echo. Up to NOISE_BYTES_MAX stray bytes may precede the reply; none may
    follow it.
    """
    whole = len(received) == request.length + 3 and received[0] == request.unit
    if whole and received.startswith(request.head, 1) and is_intact(received):
        if request.function <= READ_INPUT:
            return Reply(received[3:-2])
        if not echo:
            return Reply(b"")
    sent = request.rtu
    ambiguous = request.function in {WRITE_COIL, WRITE_REGISTER}
    echoed = received.startswith(sent) and (echo or not ambiguous)
    if echoed:
        received = received[len(sent) :]
    waiting = len(received) <= NOISE_BYTES_MAX
    misfit = Misfit("bytes that are no reply")
    for start in range(min(NOISE_BYTES_MAX + 1, len(received))):
        judgment = _judge_rtu_at(request, received[start:])
        if isinstance(judgment, Reply):
            return Reply(judgment.data, echoed)
        if isinstance(judgment, ExceptionReply):
            return judgment
        if judgment is None:
            waiting = True
        elif start == 0:
            misfit = judgment
    if waiting or sent.startswith(received):
        return None
    return misfit


def _judge_rtu_at(request: Request, data: bytes) -> Judgment:
    if data[0] != request.unit:
        return Misfit(f"a frame of unit {data[0]}")
    if len(data) < 2:
        return None
    refused = data[1] == request.function | _EXCEPTION
    length = 5 if refused else request.length + 3
    is_read = request.function <= READ_INPUT and not refused
    judgment: Judgment = None
    if not refused and data[1] != request.function:
        judgment = Misfit(f"a reply to function {data[1]}")
    elif is_read and len(data) > 2 and data[2] != length - 5:
        judgment = Misfit(f"{data[2]} bytes of data instead of {length - 5}", count=data[2] // 2)
    elif len(data) > length:
        judgment = Misfit("more bytes than the reply has")
    elif len(data) == length and not is_intact(data):
        judgment = Misfit("a damaged frame (CRC)")
    elif len(data) == length:
        judgment = _judge_pdu(request, data[1:-2])
    return judgment


def judge_tcp(request: Request, tid: int, received: bytes) -> Judgment:
    """Whether `received`, all that came since the request went out, is the reply to transaction `tid`.

    Only whole frames of this transaction, with nothing behind them, pass; after a Misfit nobody knows where
    the next frame begins, and the connection must be closed.
    """
    if len(received) < _MBAP.size:
        return None
    got_tid, protocol, length, unit = _MBAP.unpack_from(received)
    judgment: Judgment = None
    if protocol or not 2 <= length <= _MBAP_LENGTH_MAX:
        judgment = Misfit("no Modbus TCP header")
    elif got_tid != tid:
        judgment = Misfit("the reply to another request")
    elif unit != request.unit:
        judgment = Misfit(f"a frame of unit {unit}")
    elif len(received) > 6 + length:
        judgment = Misfit("more bytes than the reply has")
    elif len(received) == 6 + length:
        judgment = _judge_pdu(request, received[7:])
    return judgment


def _judge_pdu(request: Request, body: bytes) -> Judgment:
    """Function, length, byte count of a read, address and value of a write. `body` is the PDU."""
    judgment: Judgment
    if len(body) == 2 and body[0] == request.function | _EXCEPTION:
        judgment = ExceptionReply(body[1])
    elif body[0] != request.function:
        judgment = Misfit(f"a reply to function {body[0]}")
    elif len(body) != request.length:
        judgment = Misfit(f"{len(body)} bytes instead of {request.length}")
    elif body.startswith(request.head):
        judgment = Reply(body[2:] if request.function <= READ_INPUT else b"")
    elif request.function > READ_INPUT:
        judgment = Misfit("the reply to another write")
    else:
        judgment = Misfit(f"{body[1]} bytes of data announced, {len(body) - 2} came")
    return judgment
