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
    from edge.inventory import line_budgets

    path = config_file(call)
    checked = check_all(path)
    lines = line_budgets(checked)
    summary = f"{path}: fine, {len(checked.evses)} EVSE(s), {len(checked.readers)} reader(s)"
    rounds = [
        f"  {line.port}: {line.devices} device(s), a round of polls takes {line.round_s:.2f} s, "
        f"{line.dead_unit_s:.2f} s with one of them dead"
        for line in lines
    ]
    call.say(
        {"ok": True, "file": str(path), "evses": [e.section.id for e in checked.evses], "lines": lines},
        "\n".join([summary, *rounds]),
    )
