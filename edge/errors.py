"""One tree of errors. Each has a stable code that others script against, and a hint for whoever reads it.

A declined card is a result, not an error. An error says what happened and where (its message) and what to do
next (its hint). `exit_code` is what the command line ends with: 2 the call was wrong, 3 it could not be done.
"""

from __future__ import annotations

from typing import ClassVar


class TillError(Exception):
    """Anything that the till reports by code. `message` and `hint` never hold card data, keys or UIDs."""

    code: ClassVar[str] = "till.error"
    hint: str = ""
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" ({self.hint})" if self.hint else "")

    def as_json(self) -> dict[str, str]:
        """The object that stands under `error` in every JSON answer of the command line."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class CallError(TillError):
    """The caller gave something that cannot be used: a file, an option, a line of input."""

    code = "call.wrong"
    exit_code = 2


class InputError(CallError):
    """A line or document from outside that cannot be understood."""

    code = "input.invalid"


class ConfigError(CallError):
    """The configuration cannot be used. `problems` has every mistake at once: file, key, what, what to do."""

    code = "config.invalid"
    hint = "correct the file and try `chargetill config check`"

    def __init__(self, problems: tuple[str, ...], *, hint: str | None = None) -> None:
        super().__init__("; ".join(problems), hint=hint)
        self.problems = problems


class TariffError(CallError):
    """A tariff that cannot be read, or may not be sold. `place` is a path such as `elements[0].restrictions`."""

    code = "tariff.invalid"
    hint = "`chargetill tariff lint FILE` lists every problem"

    def __init__(self, message: str, *, place: str = "", hint: str | None = None) -> None:
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.place = place
        self.reason = message


class HardwareError(TillError):
    """A device did not do its part."""

    code = "device.failed"
    retryable = True


class ContactorWelded(HardwareError):
    """The charge point itself says that its contactor stays closed against its command."""

    code = "evse.contactor_welded"
    hint = "do not use this charge point: have the contactor replaced, then `chargetill evse release`"
    retryable = False


class CardError(HardwareError):
    """A card or phone did not do its part; the reader is fine."""

    code = "card.failed"
    hint = "hold your card or phone to the reader again"


class CardLost(CardError):
    """The card left the field, or fell silent, before it was read."""

    code = "card.lost"
    hint = "hold your card a little longer"


class CardUnreadable(CardError):
    """The card answers, but not as ISO/IEC 14443-4 or 7816-4 allow."""

    code = "card.unreadable"
    hint = "this card cannot be read; try another card"


class StoreError(TillError):
    """The database could not be read or written."""

    code = "store.failed"


class LedgerError(StoreError):
    """The journal is not what it says it is."""

    code = "ledger.broken"


class SyncError(TillError):
    """The way to the back office."""

    code = "sync.failed"
    retryable = True
