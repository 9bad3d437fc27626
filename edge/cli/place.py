"""Where a command finds the till's database: `--db`, else the configuration's own word for it."""

from __future__ import annotations

import tomllib
from pathlib import Path

from edge.cli.call import CONFIG_DEFAULT, Call
from edge.errors import ConfigError


def config_file(call: Call) -> Path:
    return call.config or CONFIG_DEFAULT


def database(call: Call) -> Path:
    """The database that the command is about. Raises ConfigError when nothing says which."""
    if call.db is not None:
        return call.db
    path = config_file(call)
    try:
        name = tomllib.loads(path.read_text()).get("device", {}).get("database")
    except OSError as e:
        raise ConfigError((f"{path}: {e.strerror}",), hint="give --db FILE or --config FILE") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError) as e:
        raise ConfigError((f"{path}: {e}",)) from e
    return path.resolve().parent / (name if isinstance(name, str) else "/var/lib/chargetill/till.db")
