"""What can go wrong on a Modbus line, each with its likely cause."""

from __future__ import annotations

from edge.errors import ConfigError, HardwareError


class BusError(HardwareError):
    """A request on a line that brought no usable reply."""

    code = "modbus.failed"


class NoAnswer(BusError):
    """The unit did not reply in time."""

    code = "modbus.no_answer"
    hint = (
        "check A/B wires and termination, baud rate, parity and unit id; "
        "`chargetill meter scan` finds what answers"
    )


class BadReply(BusError):
    """Bytes came that are not the reply to this request."""

    code = "modbus.bad_reply"
    hint = "check baud rate and parity, termination and shielding, two units with one id, or another master on the line"


class Refused(BusError):
    """The unit replied with a Modbus exception."""

    code = "modbus.refused"
    hint = "the unit does not know this register: check the profile or the model"
    retryable = False

    def __init__(self, message: str, *, exception: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exception = exception


class LineDown(BusError):
    """The serial device or the TCP connection is not there."""

    code = "modbus.line_down"
    hint = "check that the adapter is plugged in, or that the host answers on this port"


class LineUnsettled(BusError):
    """The line cannot be trusted yet: noise, or a reply that may still be under way."""

    code = "modbus.unsettled"
    hint = "another master talks on this line, or a unit answers much too late"

    def __init__(self, message: str, *, hint: str | None = None, rest_s: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.rest_s = rest_s
        """After so long it may be asked again; 0 where nobody knows."""


class BackingOff(BusError):
    """The unit was silent several times in a row and is left alone for a moment."""

    code = "modbus.backing_off"
    hint = NoAnswer.hint


class LineConflict(ConfigError):
    """Two devices describe one line differently."""

    code = "modbus.line_conflict"
    hint = "devices on one line share its port, baud rate, parity and stop bits"


_FAILURE = 4  # server device failure
_BUSY = {5, 6}  # acknowledge, busy
_GATEWAY = {10, 11}  # no path, target silent


def refusal(port: str, unit: int, code: int) -> BusError:
    """What a Modbus exception reply means."""
    where = f"{port} unit {unit}"
    if code in _GATEWAY:
        return NoAnswer(f"{where}: the gateway has no reply from it (exception {code})")
    if code in _BUSY:
        return NoAnswer(f"{where}: busy (exception {code})", hint="poll less often")
    hint = (
        "the unit reports a failure of its own: look at its display, switch it off and on"
        if code == _FAILURE
        else None
    )
    return Refused(f"{where}: Modbus exception {code}", exception=code, hint=hint)
