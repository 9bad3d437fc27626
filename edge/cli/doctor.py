"""`chargetill doctor`: is everything there that this till needs, and if not, what is to be done?"""

from __future__ import annotations

import click

from edge.cli.call import NO, Call, command
from edge.cli.place import config_file


@click.command("doctor")
@command
def doctor(call: Call) -> None:
    """Look at clock, disk, keys, devices and broker; each line says what, how it is, and what to do next.

    Beside a running till its devices are left to it, and it is asked for their state. Exit 1 if anything fails.
    """
    from edge.doctor.examine import examine
    from edge.doctor.finding import Finding

    found: list[Finding] = []
    for finding in examine(config_file(call), database=call.db):
        found.append(finding)
        if not call.json:
            call.line(f"{finding.result:5} {finding.what}: {finding.found}")
            if finding.todo:
                call.line(f"      -> {finding.todo}")
    failed = sum(f.result == "fail" for f in found)
    warned = sum(f.result == "warn" for f in found)
    summary = f"{len(found)} checks: {failed} failed, {warned} to look at"
    call.say({"ok": not failed, "checks": found}, summary)
    if failed:
        raise click.exceptions.Exit(NO)
