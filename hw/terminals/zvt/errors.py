"""What can go wrong with bytes of the protocol, and with the terminal. A declined card is none of this."""

from __future__ import annotations

from edge.errors import HardwareError, InputError


class ZvtError(InputError):
    """Bytes that are not ZVT. `offset` counts from the start of the packet.

    The message names places and lengths, never values: they may be card data.
    """

    code = "zvt.invalid"
    hint = "packets start with their command, such as 06 0F; `--serial` for captures of a serial line"

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(f"{message} at byte {offset}")
        self.what = message
        self.offset = offset


class TerminalError(HardwareError):
    """The payment terminal did not do its part."""

    code = "terminal.failed"
    hint = "see what the terminal's own display says; switch it off and on if it says nothing"


class TerminalUnreachable(TerminalError):
    """Nothing can be sent to the terminal. No command is under way, nothing is in doubt."""

    code = "terminal.unreachable"
    hint = "check the terminal's supply and network, and `port` in the configuration"


class TerminalRefused(TerminalError):
    """The terminal says that it does not carry out the command. Nothing has changed."""

    code = "terminal.refused"

    def __init__(self, message: str, *, reason_code: int | None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason_code = reason_code


class TerminalSilent(TerminalError):
    """A command that moves no money got no usable answer."""

    code = "terminal.silent"


class TerminalUnreconciled(TerminalError):
    """The terminal was away; until its open holds are asked for, it takes no new one."""

    code = "terminal.unreconciled"
    hint = "the till asks for the terminal's open holds by itself; a moment of patience"


class TerminalBusy(TerminalError):
    """Another command is under way: a terminal does one at a time."""

    code = "terminal.busy"
    hint = "the till tries again by itself"
