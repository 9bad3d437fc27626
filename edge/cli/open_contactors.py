"""`chargetill open-contactors`: what the service does last, however the till ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from edge.cli.call import NO, Call, command
from edge.cli.place import config_file
from edge.errors import HardwareError, TillError

if TYPE_CHECKING:
    from edge.config import Config, EvseConfig
    from edge.ports import Clock
    from hw.bus.pool import BusPool

#: One charge point: some time-outs on a line that has trouble. All are opened at the same time.
_OPEN_MAX_S = 4.0
_RETRY_S = 0.2


class _TillRuns(TillError):
    """It would only be closed again."""

    code = "contactors.till_runs"
    hint = "systemctl stop chargetill, which opens them"


@click.command("open-contactors")
@command
def open_contactors(call: Call) -> None:
    """Take back every permission to charge, within seconds. The till must not run. Exit 1 if one did not answer."""
    from edge.doctor import files
    from edge.doctor.machine import Machine
    from edge.inventory import load, make_clock

    config = load(config_file(call))
    if files.daemon(config, Machine()) is not None:
        raise _TillRuns("the till runs, and holds its charge points")
    opened = asyncio.run(_all(config, make_clock(config)))
    rows = [{"evse_id": evse_id, "error": error and error.as_json()} for evse_id, error in opened]
    call.say(
        rows,
        "\n".join(
            f"{evse_id}: {'open' if error is None else f'NOT OPENED, {error}'}" for evse_id, error in opened
        ),
    )
    if any(error is not None for _, error in opened):
        raise click.exceptions.Exit(NO)


async def _all(config: Config, clock: Clock) -> list[tuple[str, TillError | None]]:
    from hw.bus.pool import BusPool

    buses = BusPool(clock)
    try:
        errors = await asyncio.gather(*(_one(evse, clock, buses) for evse in config.evses))
    finally:
        await buses.close()
    return [(evse.section.id, error) for evse, error in zip(config.evses, errors, strict=True)]


async def _one(evse: EvseConfig, clock: Clock, buses: BusPool) -> TillError | None:
    from hw import registry

    failure: TillError = HardwareError("the charge point does not answer")
    try:
        point = registry.create_evse(
            evse.charge_point.name, evse.charge_point.options, clock=clock, buses=buses
        )
        async with asyncio.timeout(_OPEN_MAX_S):
            while True:
                try:
                    await point.revoke()
                except HardwareError as e:
                    failure = e
                    await asyncio.sleep(_RETRY_S)
                else:
                    await point.close()
                    return None
    except TimeoutError:
        return failure
    except TillError as e:
        return e
