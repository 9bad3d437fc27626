"""Where the back office's commands find their database and their options."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from edge.backoffice.options import BackofficeOptions
from edge.cli.call import Call
from edge.domain.tariffs.currencies import CURRENCIES
from edge.errors import CallError, ConfigError, InputError
from edge.sync.options import Address, host_port

if TYPE_CHECKING:
    from edge.backoffice.accounts import Billing
    from edge.backoffice.orders import Orders

_T = TypeVar("_T", bound=msgspec.Struct)
_Command = TypeVar("_Command", bound=Callable[..., Any])

_PORT_MAX = 65_535

CONFIG_DEFAULT = Path("/etc/chargetill/backoffice.toml")


class DatabaseUnknown(CallError):
    code = "call.database"
    hint = "give --db FILE, or --config FILE with `db`"


db_option = click.option(
    "--db", "db_here", type=click.Path(path_type=Path), help="the back office's database"
)
config_option = click.option(
    "--config", "config_here", type=click.Path(path_type=Path), help=f"default {CONFIG_DEFAULT}"
)


def _checked_address(_ctx: click.Context, _option: click.Parameter, value: str) -> str:
    """`host:port` of an address to serve on; an IPv6 address stands in brackets, port 0 is any that is free."""
    try:
        msgspec.convert(value, Address)
    except msgspec.ValidationError:
        raise click.BadParameter(f"{value[:80]!r} is not HOST:PORT") from None
    if host_port(value)[1] > _PORT_MAX:
        raise click.BadParameter(f"a port is at most {_PORT_MAX}")
    return value


def listen_option(default: str) -> Callable[[_Command], _Command]:
    """`--listen HOST:PORT`"""
    return click.option(
        "--listen",
        callback=_checked_address,
        default=default,
        show_default=True,
        metavar="HOST:PORT",
        help="the address to serve on",
    )


def _checked_currency(_ctx: click.Context, _option: click.Parameter, value: str) -> str:
    if value not in CURRENCIES:
        raise click.BadParameter(f"{value[:10]!r} is not a currency of ISO 4217")
    return value


currency_option = click.option(
    "--currency", callback=_checked_currency, default="EUR", show_default=True, help="of ISO 4217"
)


def say_where(path: str) -> Callable[[str, int], None]:
    """Says the address once it is served, with the port that it became."""

    def bound(host: str, port: int) -> None:
        click.echo(f"http://{f'[{host}]' if ':' in host else host}:{port}{path}")

    return bound


def options(path: Path | None, given: dict[str, Any]) -> BackofficeOptions:
    """The file with what the command line says on top. Raises ConfigError."""
    values: dict[str, Any] = {}
    if path is None and CONFIG_DEFAULT.exists():
        path = CONFIG_DEFAULT
    if path is not None:
        values = _read(path)
    try:
        return msgspec.convert({**values, **given}, BackofficeOptions)
    except msgspec.ValidationError as e:
        where = "the options" if path is None else str(path)
        raise ConfigError(
            (f"{where}: {e}",), hint="give --db and --broker, or --config FILE with both"
        ) from e


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError((f"{path}: {e.strerror}",), hint="does the file exist and may it be read?") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError((f"{path}: {e}",), hint="the file is not TOML") from e


def database(call: Call, db_here: Path | None, config_here: Path | None) -> Path:
    """The database that the call names, or that its configuration does. Raises DatabaseUnknown."""
    if (db := db_here or call.db) is not None:
        return db
    path = config_here or call.config or (CONFIG_DEFAULT if CONFIG_DEFAULT.exists() else None)
    db_name = None if path is None else _read(path).get("db")
    if not isinstance(db_name, str):
        raise DatabaseUnknown("which database?")
    return Path(db_name)


def billing(call: Call, config_here: Path | None) -> Billing:
    """How accounts are billed: the section [billing] of the configuration, where there is one. Raises ConfigError."""
    from edge.backoffice.accounts import Billing

    path = config_here or call.config or (CONFIG_DEFAULT if CONFIG_DEFAULT.exists() else None)
    try:
        return msgspec.convert({} if path is None else _read(path).get("billing", {}), Billing)
    except msgspec.ValidationError as e:
        raise ConfigError((f"{path}: billing: {e}",), hint="edge/sync/README.md describes [billing]") from e


@contextmanager
def open_orders(call: Call, db_here: Path | None, config_here: Path | None) -> Iterator[Orders]:
    """The orders of the database, signed with the key beside it, which is made at the first order."""
    from edge.backoffice.orders import Orders, orders_key

    path = database(call, db_here, config_here)
    orders = Orders(path, orders_key(path))
    try:
        yield orders
    finally:
        orders.close()


def checked(order: _T) -> _T:
    """The order as a device will read it. Raises InputError for what its contract refuses."""
    try:
        return msgspec.convert(msgspec.to_builtins(order), type(order))
    except msgspec.ValidationError as e:
        said = str(e).replace("`str` matching regex '^[0-9a-f]{64}$'", "64 hex digits (0-9, a-f)")
        raise InputError(said.replace("`$.", "`")) from e
