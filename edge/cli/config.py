"""`chargetill config`: is the configuration right?"""

from __future__ import annotations

import click

from edge.cli.call import Call, command
from edge.cli.place import config_file


@click.group()
def config() -> None:
    """The configuration file."""


@config.command("check")
@command
def check(call: Call) -> None:
    """Read the file and everything it names; every mistake at once."""
    from edge.inventory import check as check_all

    path = config_file(call)
    checked = check_all(path)
    call.say(
        {"ok": True, "file": str(path), "evses": [e.section.id for e in checked.evses]},
        f"{path}: fine, {len(checked.evses)} EVSE(s), {len(checked.readers)} reader(s)",
    )
