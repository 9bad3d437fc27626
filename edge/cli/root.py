"""The command `chargetill`: one file per command group, loaded when it is called."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from edge.cli.call import Call

#: command -> module of edge.cli that holds a click command of the same name
_COMMANDS = {
    "backoffice": "backoffice",
    "config": "config",
    "demo": "demo",
    "emv": "emv",
    "invoice": "invoice",
    "ledger": "ledger",
    "meter": "meter",
    "ocmf": "ocmf",
    "price": "price",
    "run": "run",
    "session": "session",
    "sync": "sync",
    "tariff": "tariff",
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
        command = getattr(importlib.import_module(f"edge.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="default /etc/chargetill/config.toml")
@click.option("--db", type=click.Path(path_type=Path), help="the till's database; default: as configured")
@click.option("--json", "as_json", is_flag=True, help="machine-readable output and errors")
@click.version_option(package_name="chargetill")
@click.pass_context
def root(ctx: click.Context, config: Path | None, db: Path | None, *, as_json: bool) -> None:
    """The till on the charger."""
    ctx.obj = Call(config=config, db=db, json=as_json)
