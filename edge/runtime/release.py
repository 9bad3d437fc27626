"""What an operator decides at a charge point: that its contactor, once found welded, opens again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge import log
from edge.domain.session import events as ev
from edge.domain.session.contactor import not_released
from edge.errors import CallError, InputError, TillError
from edge.ports import Clock
from edge.runtime.control import Handler
from edge.runtime.controller import EvseController


class EvseUnknown(CallError):
    code = "call.not_found"
    exit_code = 1
    hint = "see the configuration: [[evse]] id"


class NotReleased(TillError):
    code = "evse.not_released"
    exit_code = 1
    hint = (
        "have the contactor replaced, unplug the car, and wait until the meter has shown a minute of nothing"
    )


class _Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    evse_id: Annotated[str, Meta(min_length=1, max_length=48)]


def handlers(controllers: Sequence[EvseController], clock: Clock) -> dict[str, Handler]:
    """The commands of the daemon's door (edge/runtime/control.py)."""
    found = {controller.evse_id: controller for controller in controllers}

    async def release(arguments: Mapping[str, Any]) -> Any:
        try:
            wanted = msgspec.convert(dict(arguments), _Release)
        except msgspec.ValidationError as e:
            raise InputError(str(e)) from e
        controller = found.get(wanted.evse_id)
        if controller is None:
            raise EvseUnknown(f"there is no EVSE {wanted.evse_id}")
        at = clock.now()
        why = not_released(controller.state, at)
        if why is not None:
            raise NotReleased(f"{wanted.evse_id}: {why}")
        await controller.post(ev.ContactorReleased(at=at))
        log.warning("evse.contactor_released", evse_id=wanted.evse_id)
        return {"evse_id": wanted.evse_id, "result": "released"}

    return {"evse.release": release}
