"""`chargetill run`: the daemon."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import click

from edge.cli.call import Call, command
from edge.cli.place import config_file


@click.command("run")
@command
def run(call: Call) -> None:
    """Run the till until SIGTERM."""
    from edge import log
    from edge.app import Till
    from edge.inventory import load

    config = load(config_file(call))
    if call.db is not None:
        config = replace(config, database=call.db)
    log.setup(config.log.format)

    async def main() -> None:
        await Till(config).run()

    asyncio.run(main())
