"""Where a virtual till stands: a folder with everything that its configuration names, for tests, campaigns, benchmarks.

>>> furnish(folder, head() + evse("E1"))
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

#: The operator's key of every such place, in hex.
OPERATOR_KEY: Final = "0f" * 32

#: One price for energy, with VAT beside it.
TARIFF: Final[dict[str, Any]] = {
    "country_code": "DE",
    "party_id": "CHT",
    "id": "T1",
    "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.49, "vat": 19, "step_size": 1}]}],
    "last_updated": "2026-01-01T00:00:00Z",
}

_HEAD: Final = """
[device]
site = "s1"
name = "{device}"
database = "till.db"
key = "ledger.key"

[clock]
trust = "always"

[seller]
name = "Stadtwerke"
address = "Platz 1, 10115 Berlin"
country = "DE"
tax_id = "DE000000000"

[site]
address = "Parkplatz 1"
time_zone = "{time_zone}"

[membership]
list = "members.toml"
key = "operator.key"
key_id = "k1"

[tariff]
file = "tariff.json"
hold_minor = {hold_minor}
"""

_EVSE: Final = """
[[evse]]
id = "{evse_id}"
label = "{label}"
{options}
[evse.meter]
{meter}
port = "{meter_at}"
{unit}
[evse.charge_point]
driver = "heidelberg"
port = "{charge_point_at}"
{unit}{charge_point}"""


def head(*, device: str = "d1", hold_minor: int = 6000, time_zone: str = "Europe/Berlin") -> str:
    """The sections that every till needs but for its EVSEs; the last is `[tariff]`, for keys that follow."""
    return _HEAD.format(device=device, hold_minor=hold_minor, time_zone=time_zone)


def evse(
    evse_id: str,
    *,
    label: str = "1",
    meter: str = 'driver = "register"\nprofile = "eastron_sdm630"',
    meter_at: str = "tcp://127.0.0.1:9",
    charge_point_at: str = "tcp://127.0.0.2:9",
    unit: int | None = None,
    options: str = "",
    charge_point: str = "",
) -> str:
    """An EVSE with a Heidelberg wallbox. Nothing answers at the addresses that are not given; `unit` is both devices'
    on their lines; `meter`, `options` and `charge_point` are lines of those tables.
    """
    return _EVSE.format(
        evse_id=evse_id,
        label=label,
        meter=meter,
        meter_at=meter_at,
        charge_point_at=charge_point_at,
        unit="" if unit is None else f"unit = {unit}\n",
        options=options,
        charge_point=charge_point,
    )


def furnish(
    folder: Path, config: str, *, tariff: str | None = None, members: str = "", key: str = OPERATOR_KEY
) -> Path:
    """Write the configuration, and what it names, into the folder; the configuration's path."""
    (folder / "tariff.json").write_text(json.dumps(TARIFF) if tariff is None else tariff)
    (folder / "members.toml").write_text(members)
    operators = folder / "operator.key"
    operators.touch(mode=0o600)
    operators.write_text(key)
    path = folder / "config.toml"
    path.write_text(config)
    return path
