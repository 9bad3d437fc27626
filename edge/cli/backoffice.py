"""`chargetill backoffice`: the reference receiver and what it holds."""

from __future__ import annotations

import signal
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click
import msgspec

from edge.backoffice.options import BackofficeOptions
from edge.cli.call import NO, Call, command, table
from edge.errors import CallError, ConfigError, TillError

if TYPE_CHECKING:
    from edge.backoffice.export import Table

CONFIG_DEFAULT = Path("/etc/chargetill/backoffice.toml")


class _DatabaseUnknown(CallError):
    code = "call.database"
    hint = "give --db FILE, or --config FILE with `db`"


class _FileUnwritable(TillError):
    code = "call.output"
    hint = "choose a file that you may write, on a disk with room"


_db = click.option("--db", "db_here", type=click.Path(path_type=Path), help="the back office's database")
_config = click.option(
    "--config", "config_here", type=click.Path(path_type=Path), help=f"default {CONFIG_DEFAULT}"
)


@click.group()
def backoffice() -> None:
    """The reference back office: receives, verifies and shows what the chargers send."""


@backoffice.command("run")
@click.option("--broker", "brokers", multiple=True, metavar="HOST:PORT", help="repeat for several")
@_db
@_config
@command
def run(call: Call, brokers: tuple[str, ...], db_here: Path | None, config_here: Path | None) -> None:
    """Receive until SIGTERM; prints `ready` once a broker took the subscription."""
    from edge import log
    from edge.backoffice.receiver import Receiver

    log.setup()
    given: dict[str, Any] = {}
    if brokers:
        given["brokers"] = brokers
    if (db := db_here or call.db) is not None:
        given["db"] = str(db)
    options = _options(config_here or call.config, given)
    receiver = Receiver(options, on_ready=lambda: click.echo("ready"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: receiver.stop())
    receiver.run()


@backoffice.command("stats")
@_db
@_config
@command
def stats(call: Call, db_here: Path | None, config_here: Path | None) -> None:
    """Devices, epochs, entries, sessions, invoices and totals."""
    from edge.backoffice.stats import collect

    found = collect(_database(call, db_here, config_here))
    rows = [
        {
            "site": d.site,
            "device": d.device,
            "online": d.online,
            "epoch": e.epoch,
            "entries": e.entries,
            "upto": e.upto,
            "sessions": d.sessions,
            "invoices": d.invoices,
            "quarantined": d.quarantined,
        }
        for d in found.devices
        for e in d.epochs
    ]
    totals = "".join(
        f"\n{t.invoices} invoices, {t.payable_minor} {t.currency} minor units" for t in found.totals
    )
    columns = ("site", "device", "online", "epoch", "entries", "upto", "sessions", "invoices", "quarantined")
    call.say(found, table(rows, columns) + totals)


@backoffice.command("verify")
@_db
@_config
@command
def verify(call: Call, db_here: Path | None, config_here: Path | None) -> None:
    """Check every chain, signature and number again; exit 1 if anything is wrong."""
    from edge.backoffice.verify import verify as check

    found = check(_database(call, db_here, config_here))
    summary = (
        f"{found.devices} devices, {found.epochs} epochs, {found.entries} entries, "
        f"{found.checkpoints} signatures, {found.invoices} invoices: "
        + (f"{len(found.problems)} problems" if found.problems else "all is well")
    )
    call.say(found, "\n".join([*found.problems, summary]))
    if found.problems:
        sys.exit(NO)


@backoffice.command("export")
@click.option(
    "--table",
    "table_name",
    type=click.Choice(["entries", "sessions", "payments", "invoices", "meter_values"]),
    default="entries",
    show_default=True,
)
@click.option("--format", "form", type=click.Choice(["ndjson", "csv"]), default="ndjson", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="default: standard output")
@_db
@_config
@command
def export(
    call: Call, table_name: str, form: str, out: Path | None, db_here: Path | None, config_here: Path | None
) -> None:
    """The entries byte for byte, or a table."""
    from edge.backoffice.export import export as lines

    if table_name == "entries" and form == "csv":
        raise click.UsageError("entries are signed bytes: they have no CSV form")
    found = lines(
        _database(call, db_here, config_here),
        cast("Table", table_name),
        cast("Literal['ndjson', 'csv']", form),
    )
    try:
        with sys.stdout.buffer if out is None else out.open("wb") as file:
            file.writelines(found)
    except OSError as e:
        raise _FileUnwritable(f"{out or 'standard output'}: {e.strerror}") from e


@backoffice.command("web")
@click.option("--listen", default="127.0.0.1:8090", show_default=True, metavar="HOST:PORT")
@_db
@_config
@command
def web(call: Call, listen: str, db_here: Path | None, config_here: Path | None) -> None:
    """A read-only page of devices, sessions and invoices, on this machine only."""
    import asyncio

    from edge.backoffice.page import serve

    database = _database(call, db_here, config_here)
    click.echo(f"http://{listen}/")
    try:
        asyncio.run(serve(database, listen))
    except KeyboardInterrupt:
        return


@backoffice.command("access")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", "hosts", multiple=True, required=True, help="the broker's names and addresses")
@click.option("--port", type=click.IntRange(1, 65535), default=8883, show_default=True)
@command
def access(call: Call, folder: Path, hosts: tuple[str, ...], port: int) -> None:
    """Make a CA, the broker's and the back office's certificates, and mosquitto's configuration with its rules."""
    from edge.backoffice.access import Authority

    authority = Authority.open(folder)
    authority.issue_broker(hosts)
    authority.issue_backoffice()
    conf = authority.write_mosquitto(port)
    found = {"folder": str(folder), "mosquitto": str(conf), "devices": len(authority.devices())}
    call.say(found, f"mosquitto -c {conf}")


@backoffice.group("device")
def device() -> None:
    """The chargers that this back office knows."""


@device.command("enroll")
@click.argument("site")
@click.argument("name")
@click.option("--access", "folder", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8883, show_default=True)
@command
def enroll(call: Call, site: str, name: str, folder: Path, port: int) -> None:
    """Issue a device's certificate and let it in; tell mosquitto with SIGHUP."""
    from edge.backoffice.access import Authority
    from edge.sync.contract.topics import peer

    authority = Authority.open(folder)
    certificate = authority.issue_device(peer(site, name))
    authority.write_mosquitto(port)
    found = {
        "site": site,
        "device": name,
        "ca": str(folder / "ca.pem"),
        "cert": str(certificate),
        "key": str(certificate.with_suffix(".key")),
    }
    text = f"copy to the device: {found['ca']} {found['cert']} {found['key']}, then SIGHUP to mosquitto"
    call.say(found, text)


@device.command("list")
@_db
@_config
@command
def devices(call: Call, db_here: Path | None, config_here: Path | None) -> None:
    """Each device with what it said last."""
    from edge.backoffice.stats import collect

    found = collect(_database(call, db_here, config_here)).devices
    columns = ("site", "device", "online", "state_at", "entries", "sessions", "invoices", "quarantined")
    rows = [{column: getattr(d, column) for column in columns} for d in found]
    call.say(rows, table(rows, columns))


def _options(path: Path | None, given: dict[str, Any]) -> BackofficeOptions:
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


def _database(call: Call, db_here: Path | None, config_here: Path | None) -> Path:
    if (db := db_here or call.db) is not None:
        return db
    path = config_here or call.config or (CONFIG_DEFAULT if CONFIG_DEFAULT.exists() else None)
    db_name = None if path is None else _read(path).get("db")
    if not isinstance(db_name, str):
        raise _DatabaseUnknown("which database?")
    return Path(db_name)
