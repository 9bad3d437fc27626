"""What a charge point can do wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge.errors import ContactorWelded, HardwareError
from hw.bus.errors import BusError


class EvseError(HardwareError):
    """The charge point did not do its part."""

    code = "evse.failed"


class EvseSilent(EvseError):
    """The line to the charge point brought no usable reply; `hint` names the likely cause."""

    code = "evse.silent"


class EvseNotSafe(EvseError):
    """The charge point answers, but does not keep what it was told."""

    code = "evse.not_safe"
    hint = "check the model and its firmware; a DIP switch may forbid control over Modbus"
    retryable = False


class StaysClosed(EvseNotSafe, ContactorWelded):
    """The auxiliary contact says so, against the relay's command."""

    code = ContactorWelded.code
    hint = ContactorWelded.hint


@contextmanager
def translated() -> Iterator[None]:
    """Bus errors inside become the charge point's own."""
    try:
        yield
    except BusError as e:
        raise EvseSilent(e.message, hint=e.hint) from e
