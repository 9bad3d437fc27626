"""What an operator decides at a charge point: that its contactor, once found welded, opens again."""

from __future__ import annotations

import asyncio
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

#: Events that came before it, and a commit on a busy disk; whoever asked waits longer (edge/runtime/control.py).
_COMMIT_MAX_S = 30

_LOOK_S = 0.05


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
        await _committed(controller, clock)
        log.warning("evse.contactor_released", evse_id=wanted.evse_id)
        return {"evse_id": wanted.evse_id, "result": "released"}

    return {"evse.release": release}


async def _committed(controller: EvseController, clock: Clock) -> None:
    """Once the journal has it. Raises NotReleased where the meter showed a flow meanwhile, or nothing was committed."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + _COMMIT_MAX_S
    while controller.state.welded is not None:
        why = not_released(controller.state, clock.now())
        if why is None and loop.time() >= ends:
            why = f"it was not committed within {_COMMIT_MAX_S} s"
        if why is not None:
            raise NotReleased(f"{controller.evse_id}: {why}")
        await asyncio.sleep(_LOOK_S)
