"""Virtual hardware for a trial: meter and wallbox behind Modbus TCP, a reader on nfcpy's udp field, real time.

`world.py` serves until it is killed. Ports are fixed, because a configuration names them. One line in, one line out
on 127.0.0.1:7700: `tap`, `plug`, `unplug`, `state`.
"""

from __future__ import annotations

import asyncio
import json
import time

from hw.meters import profile
from hw.virtual.cards import UidCard
from hw.virtual.charge_point import VirtualWallbox
from hw.virtual.meter import VirtualMeter
from hw.virtual.modbus_server import TcpServer
from hw.virtual.nfc_udp import UdpField
from hw.virtual.outlet import Car, Outlet

CONTROL, METER, WALLBOX = 7700, 7701, 7702
UID = bytes.fromhex("04A1B2C3D4E5F6")


async def main() -> None:
    outlet = Outlet(time.monotonic_ns)
    wallbox = VirtualWallbox(outlet, time.monotonic_ns)
    meter = VirtualMeter(profile.load("eastron_sdm630"), outlet, offset_wh=4_711_000)
    for port, unit in ((METER, meter), (WALLBOX, wallbox)):
        server = TcpServer({1: unit})
        server.port = port
        await server.start()
    field = await UdpField.start()
    zeros = 0
    write = wallbox.write

    def counted(function: int, address: int, values: list[int]) -> bool:
        nonlocal zeros
        zeros += address <= 261 < address + len(values) and values[261 - address] == 0
        return write(function, address, values)

    wallbox.write = counted  # type: ignore[method-assign]

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match (await reader.readline()).decode().strip():
            case "tap":
                await field.tap(UidCard(UID))
            case "plug":
                outlet.plug(Car(current_a=16, phases=3, wants_wh=None))
            case "unplug":
                outlet.unplug()
            case _:
                pass
        wallbox.tick()
        state = {
            "reader": field.path,
            "permitted_da": wallbox._holdings[261],  # noqa: SLF001
            "zeros": zeros,
            "power_w": outlet.power_w(),
            "energy_wh": outlet.energy_wh(),
        }
        writer.write(json.dumps(state).encode() + b"\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(control, "127.0.0.1", CONTROL)
    async with listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
