"""What an operator decides at a payment terminal: money that it holds and that no payment of the journal explains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, assert_never

import msgspec
from msgspec import Meta

from edge import log
from edge.domain.terminal import Answer, Declined, Done, InDoubt
from edge.errors import CallError, InputError, TillError
from edge.runtime.control import Handler


class OrphanDesk(Protocol):
    """A terminal's desk, as far as it keeps what belongs to nobody (edge.payments.desk)."""

    @property
    def orphans(self) -> tuple[int, ...]: ...

    @property
    def reason(self) -> str | None: ...

    async def release(self, receipt_no: int) -> Answer: ...

    async def book(self, receipt_no: int, amount_minor: int) -> Answer: ...


class TerminalUnknown(CallError):
    code = "call.not_found"
    exit_code = 1
    hint = "`chargetill terminal list`"


class TerminalRefused(TillError):
    code = "terminal.refused"
    hint = "`chargetill terminal list` shows what it holds now"


class _Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    terminal: Annotated[int, Meta(ge=0, le=7)] = 0
    receipt: Annotated[int, Meta(ge=0, le=9999)]
    amount_minor: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None


def handlers(desks: Mapping[int, OrphanDesk]) -> dict[str, Handler]:
    """The commands of the daemon's door (edge/runtime/control.py). Desks by their place in the configuration."""

    async def listed(_arguments: Mapping[str, Any]) -> Any:
        return [
            {"terminal": number, "state": desk.reason or "ready", "orphans": list(desk.orphans)}
            for number, desk in desks.items()
        ]

    async def release(arguments: Mapping[str, Any]) -> Any:
        decision, desk = _decided(arguments, desks)
        return _told("released", decision, await desk.release(decision.receipt))

    async def book(arguments: Mapping[str, Any]) -> Any:
        decision, desk = _decided(arguments, desks)
        if decision.amount_minor is None:
            raise InputError("an amount is booked, and none was given")
        return _told("booked", decision, await desk.book(decision.receipt, decision.amount_minor))

    return {"terminal.list": listed, "terminal.release": release, "terminal.book": book}


def _decided(arguments: Mapping[str, Any], desks: Mapping[int, OrphanDesk]) -> tuple[_Decision, OrphanDesk]:
    try:
        decision = msgspec.convert(dict(arguments), _Decision)
    except msgspec.ValidationError as e:
        raise InputError(str(e)) from e
    desk = desks.get(decision.terminal)
    if desk is None:
        raise TerminalUnknown(f"there is no terminal {decision.terminal}")
    if decision.receipt not in desk.orphans:
        raise TerminalUnknown(f"receipt {decision.receipt} is no hold without a payment")
    return decision, desk


def _told(what: str, decision: _Decision, answer: Answer) -> dict[str, Any]:
    match answer:
        case Done():
            log.warning("terminal.orphan_ended", receipt=decision.receipt, how=what)
            return {"receipt": decision.receipt, "result": what, "amount_minor": decision.amount_minor}
        case Declined(reason=reason):
            raise TerminalRefused(f"receipt {decision.receipt}: {reason}")
        case InDoubt(why=why):
            raise TerminalRefused(f"receipt {decision.receipt}: no answer ({why})")
        case _:
            assert_never(answer)
