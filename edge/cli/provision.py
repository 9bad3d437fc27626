"""`chargetill provision`: a new till, from answers in a file or asked one by one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from edge.cli.call import Call, command
from edge.cli.place import config_file
from edge.errors import CallError, TillError

if TYPE_CHECKING:
    from edge.provision.setup import Layout

STATE_DEFAULT = Path("/var/lib/chargetill")


class _NobodyToAsk(CallError):
    code = "provision.answers"
    hint = "give --answers FILE; scripts/answers.toml is one to start from"


class _AnswersEnded(TillError):
    code = "provision.interrupted"
    hint = "the answers so far are kept: run it again, or give --answers FILE"


@click.command("provision")
@click.option("--answers", type=click.Path(path_type=Path), help="a file of answers instead of questions")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=STATE_DEFAULT,
    show_default=True,
    help="the folder of database and keys",
)
@click.option("--force", is_flag=True, help="replace a configuration; a dated copy of it stays")
@click.option(
    "--renew", is_flag=True, help="only make the request to the back office again, with a new TLS key"
)
@click.option("--enrolled", type=click.Path(path_type=Path), help="only take in the back office's answer")
@command
def provision(
    call: Call, answers: Path | None, state: Path, enrolled: Path | None, *, force: bool, renew: bool
) -> None:
    """Make keys, configuration and the request to the back office.

    Keys are made on the device and never leave it. A configuration that is there is not touched without --force.
    """
    from edge.provision.setup import Layout

    layout = Layout(config=config_file(call).absolute(), state=state.absolute())
    if enrolled is not None:
        _take_in(call, enrolled, layout)
    elif renew:
        _renew(call, layout)
    else:
        _provision(call, answers, layout, force=force)


def _provision(call: Call, file: Path | None, layout: Layout, *, force: bool) -> None:
    from edge.provision import answers as given
    from edge.provision import files, setup
    from edge.runtime.clock import SystemClock

    if layout.config.exists() and not force:
        raise files.Exists(f"{layout.config} exists")
    clock = SystemClock(trust="always")
    if file is not None:
        answered = given.read(file)
        base = file.absolute().parent
        made = setup.provision(answered, layout, base=base, clock=clock, force=force)
    else:
        if not sys.stdin.isatty() and call.json:
            raise _NobodyToAsk("nobody is there to ask")
        from edge.cli.interview import interview
        from edge.provision.interview import Draft

        files.folder(layout.folder, mode=0o750, mine=False)
        draft = Draft(layout.named(f".{layout.config.name}.answers"))
        try:
            answered = interview(draft, clock=clock)
        except click.Abort:
            raise _AnswersEnded("the answers ended before the questions did") from None
        made = setup.provision(answered, layout, base=Path.cwd(), clock=clock, force=force)
        draft.done()
    call.say(made, _next_steps(made, layout))


def _next_steps(made: msgspec.Struct, layout: Layout) -> str:
    said = msgspec.to_builtins(made)
    steps = [f"{said['config']}: written and checked"]
    if said["kept"]:
        steps.append(f"  the old one is {said['kept']}")
    if said["made_operator_key"]:
        steps.append(
            f"  {layout.named('operator.key')} was made here: copy it to every other charger of this operator"
        )
    steps.append("next:")
    number = 1
    if said["enrollment"]:
        name = Path(said["enrollment"]).name
        steps += [
            (
                f"  {number}. back office:  chargetill backoffice device enroll --request {name} --access FOLDER "
                "--db BOOKS"
            ),
            f"  {number + 1}. here:         chargetill provision --enrolled {name.replace('enrollment', 'enrolled')}",
        ]
        number += 2
    for what in ("chargetill doctor", "chargetill commission", "systemctl restart chargetill"):
        steps.append(f"  {number}. {what}")
        number += 1
    return "\n".join(steps)


def _renew(call: Call, layout: Layout) -> None:
    """A new TLS key, and the request for its certificate. The old pair works until the answer is taken in."""
    from edge.inventory import load
    from edge.provision.setup import request_enrollment

    config = load(layout.config)
    path = request_enrollment(
        config.device.site, config.device.name, layout.at(config.key.parent), renewed=True
    )
    call.say({"enrollment": str(path)}, f"{path}: take it to the back office")


def _take_in(call: Call, answer: Path, layout: Layout) -> None:
    from edge.inventory import load
    from edge.provision.setup import take_in

    config = load(layout.config)
    made = take_in(answer, config.device.site, config.device.name, layout)
    text = f"{made.certificate} and {made.ca}: written; `chargetill doctor` tries them at the broker"
    if made.orders_keys:
        text += f"\n{layout.config}: obeys the back office's orders from the next start on"
    call.say({"ca": str(made.ca), "cert": str(made.certificate), "orders_keys": list(made.orders_keys)}, text)
