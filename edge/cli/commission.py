"""`chargetill commission`: the test before the first driver, and its report."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge import __version__
from edge.cli.call import NO, Call, command, note
from edge.cli.place import config_file
from edge.errors import CallError, TillError

if TYPE_CHECKING:
    from edge.commission.facts import Report
    from edge.config import Config
    from edge.doctor.finding import Finding

ENERGY_MAX_WH = 5_000


class _TillRuns(TillError):
    """Two programs cannot hold one contactor."""

    code = "commission.till_runs"
    hint = "stop it first: `systemctl stop chargetill`; start it again afterwards"


class _Unknown(CallError):
    code = "call.evse"


class _NotWritten(TillError):
    code = "export.failed"
    hint = "check the folder and the space on its disk"


@click.command("commission")
@click.option("--evse", "evse_ids", multiple=True, help="an EVSE's id, may be repeated; default: all")
@click.option(
    "--energy-wh",
    type=click.IntRange(10, ENERGY_MAX_WH),
    default=100,
    show_default=True,
    help="how much is charged at each",
)
@click.option("--installer", default="", help="who did it, for the report")
@click.option("--no-card", is_flag=True, help="leave the card reader out")
@click.option("--out", type=click.Path(path_type=Path), help="folder for the report; default: the database's")
@command
def commission(
    call: Call, evse_ids: tuple[str, ...], energy_wh: int, installer: str, out: Path | None, *, no_card: bool
) -> None:
    """Charge a little on a test card: do unit, transformers, phases and failsafe hold? The till must not run.

    Nothing is sold and nothing enters the journal. Writes the report as HTML, and as PDF where that can be made.
    """
    from edge.commission.pages import save
    from edge.doctor import files
    from edge.doctor.machine import Machine
    from edge.inventory import load

    config = load(config_file(call))
    if files.daemon(config, Machine()) is not None:
        raise _TillRuns("the till runs, and holds its devices")
    known = {e.section.id for e in config.evses}
    unknown = [i for i in evse_ids if i not in known]
    if unknown:
        raise _Unknown(f"no EVSE {unknown[0]}", hint=f"there is {', '.join(sorted(known))}")
    report = _tested(call, config, set(evse_ids) or known, energy_wh, installer, card=not no_card)
    folder = out or config.database.parent
    try:
        saved = save(report, folder)
    except OSError as e:
        raise _NotWritten(f"{folder}: {e.strerror}") from e
    call.say(
        {"passed": report.passed, "files": saved.files, "missing": saved.missing, "report": report},
        "\n".join(
            [
                *(f"report: {f}" for f in saved.files),
                *(f"without: {m}" for m in saved.missing),
                "passed" if report.passed else "FAILED: do not open it to drivers yet",
            ]
        ),
    )
    if not report.passed:
        raise click.exceptions.Exit(NO)


def _tested(
    call: Call, config: Config, wanted: set[str], energy_wh: int, installer: str, *, card: bool
) -> Report:
    from edge.commission.facts import Report
    from edge.commission.run import charge, tap
    from edge.doctor.examine import without_devices
    from edge.inventory import make_clock
    from edge.provision.files import give
    from edge.store.keys import load_or_make

    def tell(text: str) -> None:
        note(f"... {text}")

    def told(finding: Finding) -> None:
        if not call.json:
            call.line(f"{finding.result:5} {finding.what}: {finding.found}")
            if finding.todo:
                call.line(f"      -> {finding.todo}")

    clock = make_clock(config)
    general = list(without_devices(config))
    if card:
        general += [asyncio.run(tap(reader, clock, tell)) for reader in config.readers]
    for finding in general:
        told(finding)
    charged = []
    for evse in config.evses:
        if evse.section.id in wanted:
            tell(f"EVSE {evse.section.id}")
            charged.append(asyncio.run(charge(evse, clock, tell, wanted_wh=energy_wh)))
            for finding in charged[-1].findings:
                told(finding)
    ledger = load_or_make(config.key)
    give(config.key, whole=True)  # made by root, it would be root's
    return Report(
        at=datetime.now(UTC),
        installer=installer,
        site=config.device.site,
        device=config.device.name,
        address=config.site.address,
        seller=config.seller.name,
        version=__version__,
        ledger_key_id=ledger.key_id,
        ledger_public_key=ledger.public_hex,
        doctor=tuple(general),
        evses=tuple(charged),
    )
