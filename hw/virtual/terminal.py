"""A payment terminal made of software: ZVT on the loopback interface or a pseudo-terminal, with its own books.

It keeps holds as a real one does, breaks in scripted ways, and takes cards that a test or a person presents.
By hand: `python -m hw.virtual.terminal --port 22000 --card bank`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable
from typing import Any, Final, Self

import click

from hw.bus.errors import LineDown
from hw.bus.line import LineOptions
from hw.virtual.terminal_device import EUR, Device
from hw.virtual.terminal_script import Presented, bank_card, member_card, phone_wallet
from hw.virtual.terminal_session import Session
from hw.virtual.terminal_wire import Cable, Wire

_LOOPBACK: Final = "127.0.0.1"
_READ_MAX: Final = 4_096


class VirtualTerminal(Device):
    """One terminal, one till at a time; a new connection takes the place of the one before.

    >>> async with await VirtualTerminal.start() as terminal:
    ...     terminal.present(bank_card())
    ...     terminal.script(Fault("lost_reply", on=RESERVE))
    ...     driver = create(Options(port=terminal.address), clock=clock)
    """

    def __init__(self, **options: Any) -> None:
        """The options of a Device."""
        super().__init__(**options)
        self.connections = 0
        self._port = 0
        self._server: asyncio.Server | None = None
        self._wire: Wire | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._master = self._slave = -1
        self._off = False

    @classmethod
    async def start(cls, *, port: int = 0, **options: Any) -> Self:
        """Listen on the loopback interface; port 0 takes a free one."""
        terminal = cls(**options)
        terminal._port = port
        await terminal._listen()
        return terminal

    @classmethod
    async def start_serial(cls, **options: Any) -> Self:
        """Listen on a pseudo-terminal, with serial blocks."""
        terminal = cls(**options)
        terminal._master, terminal._slave = os.openpty()
        tty.setraw(terminal._slave)
        os.set_blocking(terminal._master, False)
        asyncio.get_running_loop().add_reader(terminal._master, terminal._readable)
        terminal._serve(terminal._serial_wire())
        return terminal

    async def dial(
        self, _options: LineOptions, *, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> Cable:
        """A connection within the process (see hw.terminals.zvt.link.Dial). Raises LineDown while it is off."""
        if self._off:
            raise LineDown("the terminal is off")
        self.hang_up()
        cable = Cable(received, lost)
        wire = Wire(cable.deliver, cable.unplug, serial=False)
        cable.wire = wire
        self._serve(wire)
        return cable

    @property
    def address(self) -> str:
        """What the driver's `port` option says."""
        return os.ttyname(self._slave) if self._slave >= 0 else f"tcp://{_LOOPBACK}:{self._port}"

    async def switch_off(self) -> None:
        """No power. The books stay; `switch_on` brings it back at its address."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._off, self.registration = True, None
        self.hang_up()
        await asyncio.sleep(0)

    async def switch_on(self) -> None:
        """Power is back."""
        self._off = False
        await self._listen()

    async def reboot(self, seconds: float) -> None:
        """Off, and back after so many seconds with the books as they were."""
        task = asyncio.ensure_future(self._restart(seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.sleep(0)

    def hang_up(self) -> None:
        """End the connection with the till, as a cable does."""
        if self._wire is not None:
            self._wire.hang_up()

    async def stop(self) -> None:
        """Switch it off. The books stay."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.hang_up()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = self._slave = -1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _listen(self) -> None:
        if self._server is not None:
            return  # a reboot and the power that comes back, both
        self._server = await asyncio.start_server(self._connected, _LOOPBACK, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _restart(self, seconds: float) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._off, self.registration = True, None
        self.hang_up()
        await asyncio.sleep(seconds)
        self._off = False
        if server is not None:
            await self._listen()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hang_up()
        wire = Wire(writer.write, writer.close, serial=False)
        self._serve(wire)
        with contextlib.suppress(ConnectionError):
            while wire.open and (data := await reader.read(_READ_MAX)):
                wire.feed(data)
        wire.ended()
        writer.close()

    def _serve(self, wire: Wire) -> None:
        wire.shape = self.shape
        self._wire = wire
        self.connections += 1
        task = asyncio.ensure_future(Session(self, wire, reboot=self.reboot).run())
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._over(done, wire))

    def _over(self, task: asyncio.Task[None], wire: Wire) -> None:
        self._tasks.discard(task)
        wire.hang_up()

    def _serial_wire(self) -> Wire:
        return Wire(self._write_serial, lambda: None, serial=True)

    def _write_serial(self, data: bytes) -> None:
        if self._master >= 0:
            os.write(self._master, data)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, _READ_MAX)
        except (BlockingIOError, OSError):
            return
        if self._off:
            return
        if self._wire is None or not self._wire.open:
            self._serve(self._serial_wire())
        assert self._wire is not None
        self._wire.feed(data)


_CARDS: Final[dict[str, Callable[[], Presented]]] = {
    "bank": bank_card,
    "phone": phone_wallet,
    "member": member_card,
}


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=22_000, help="on the loopback interface; 0: any"
)
@click.option("--card", type=click.Choice(sorted(_CARDS)), default="bank", help="what is held to it, always")
@click.option("--currency", type=click.IntRange(1, 999), default=EUR, help="ISO 4217 number")
def main(port: int, card: str, currency: int) -> None:
    """Run a payment terminal until interrupted."""

    async def serve() -> None:
        async with await VirtualTerminal.start(port=port, currency=currency) as terminal:
            terminal.always = _CARDS[card]()
            click.echo(terminal.address)
            await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


if __name__ == "__main__":
    main()
