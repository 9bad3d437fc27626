"""`chargetill run`: the daemon."""

from __future__ import annotations

import click

from edge.cli.call import Call, command
from edge.cli.place import config_file


@click.command("run")
@command
def run(call: Call) -> None:
    """Run the till until SIGTERM."""
    from edge.cli.run_till import run_till

    run_till(config_file(call), call.db)
