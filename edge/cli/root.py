"""The command `chargetill`: one file per command group, loaded when it is called."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from edge.cli.call import CONFIG_DEFAULT, Call

#: command -> module of edge.cli that holds a click command of the same name
_COMMANDS = {
    "backoffice": "backoffice",
    "commission": "commission",
    "config": "config",
    "decommission": "decommission",
    "demo": "demo",
    "doctor": "doctor",
    "emv": "emv",
    "evse": "evse",
    "invoice": "invoice",
    "ledger": "ledger",
    "meter": "meter",
    "ocmf": "ocmf",
    "open-contactors": "open_contactors",
    "price": "price",
    "privacy": "privacy",
    "provision": "provision",
    "run": "run",
    "session": "session",
    "sync": "sync",
    "tariff": "tariff",
    "terminal": "terminal",
    "zvt": "zvt",
}


class _Commands(click.Group):
    """Imports a command's module only when the command is named: `price` must not load MQTT."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        module = _COMMANDS.get(name)
        if module is None:
            return None
        command = getattr(importlib.import_module(f"edge.cli.{module}"), name.replace("-", "_"))
        assert isinstance(command, click.Command)
        _take_shared(command, _OF_BOOKS if name == "backoffice" else _OF_TILL)
        return command


def _remember(ctx: click.Context, option: click.Parameter, value: Path | None) -> None:
    """What stands behind the command's name wins over what stands before it."""
    if value is not None:
        setattr(ctx.obj, option.opts[0].removeprefix("--"), value)


def _shared(name: str, text: str) -> click.Option:
    path = click.Path(path_type=Path)
    return click.Option([name], type=path, help=text, expose_value=False, callback=_remember)


_OF_TILL = (
    _shared("--config", f"default {CONFIG_DEFAULT}"),
    _shared("--db", "the till's database; default: as configured"),
)
_OF_BOOKS = (
    _shared("--config", f"default {CONFIG_DEFAULT.with_name('backoffice.toml')}"),
    _shared("--db", "the back office's database; default: as configured"),
)


def _speak_json(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    ctx.obj.json = ctx.obj.json or wanted


_JSON = click.Option(
    ["--json"],
    is_flag=True,
    help="machine-readable output and errors",
    expose_value=False,
    callback=_speak_json,
)


def _take_shared(command: click.Command, paths: tuple[click.Option, ...]) -> None:
    """Wherever a shared option stands it means the same: `chargetill --db F ledger stats`, `ledger stats --db F`.

    A command's own option of that name stays its own.
    """
    if isinstance(command, click.Group):
        command.no_args_is_help = False  # a missing word is one line of error like any other
        for part in command.commands.values():
            _take_shared(part, paths)
    own = {name for parameter in command.params for name in parameter.opts}
    command.params.extend(option for option in (*paths, _JSON) if option.opts[0] not in own)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.option("--config", type=click.Path(path_type=Path), help=f"default {CONFIG_DEFAULT}")
@click.option("--db", type=click.Path(path_type=Path), help="the till's database; default: as configured")
@click.option("--json", "as_json", is_flag=True, help="machine-readable output and errors")
@click.version_option(package_name="chargetill")
@click.pass_context
def root(ctx: click.Context, config: Path | None, db: Path | None, *, as_json: bool) -> None:
    """The till on the charger."""
    ctx.obj = Call(config=config, db=db, json=as_json)
