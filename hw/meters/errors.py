"""What a meter can do wrong."""

from __future__ import annotations

from edge.errors import HardwareError
from hw.bus.errors import NoAnswer


class MeterError(HardwareError):
    """The meter gave no reading."""

    code = "meter.failed"


class MeterSilent(MeterError):
    code = "meter.silent"
    hint = NoAnswer.hint


class MeterUnreachable(MeterError):
    code = "meter.unreachable"
    hint = "check that the adapter is plugged in, or that the host answers on this port"


class MeterGarbled(MeterError):
    """Replies that do not fit the request."""

    code = "meter.garbled"
    hint = "check baud rate and parity, termination and shielding, two units with one id, or another master on the line"


class MeterRefused(MeterError):
    code = "meter.refused"
    hint = "the unit does not know this register: check the profile against the model"


class MeterInvalid(MeterError):
    """A reply that fits, with a value that cannot be one: NaN, infinity, "not available", out of range."""

    code = "meter.invalid"
    hint = "check the profile against the model; a meter that starts up may say this for a moment"
