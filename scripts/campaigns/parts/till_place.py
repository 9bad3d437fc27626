"""What the till of a trial is configured with: a tariff, members, holds, by the seed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final

from parts.till_site import METER_LINE, UIDS, WALLBOX_LINE

_ELEMENT: Final[dict[str, Any]] = {"type": "ENERGY", "price": 0.49, "vat": 19, "step_size": 1}
_FEE: Final[dict[str, Any]] = {"type": "FLAT", "price": 0.35, "vat": 19, "step_size": 1}
_TIME: Final[dict[str, Any]] = {"type": "TIME", "price": 1.2, "vat": 19, "step_size": 60}
_PARKING: Final[dict[str, Any]] = {"type": "PARKING_TIME", "price": 6.0, "vat": 19, "step_size": 60}
_NIGHT: Final[dict[str, Any]] = {"start_time": "23:00", "end_time": "03:00"}

_ELEMENTS: Final[tuple[list[dict[str, Any]], ...]] = (
    [{"price_components": [_ELEMENT]}],
    [{"price_components": [_ELEMENT]}],
    [{"price_components": [_FEE, _ELEMENT, _TIME, _PARKING]}],
    [
        {"price_components": [{**_ELEMENT, "price": 0.21}], "restrictions": _NIGHT},
        {"price_components": [_ELEMENT]},
    ],
    [{"price_components": [{**_ELEMENT, "price": 0}]}],
)

_CONFIG: Final = """
[device]
site = "s1"
name = "d1"
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
time_zone = "Europe/Berlin"
[tariff]
file = "tariff.json"
hold_minor = {hold_minor}
[session]
plug_timeout_s = 60
show_end_s = 10
silence_max_s = 60
checkpoint_s = {checkpoint_s}
[membership]
list = "members.toml"
key = "operator.key"
key_id = "k1"
[ledger]
keep_days = 1
[mqtt]
brokers = ["127.0.0.1:1"]
[[reader]]
driver = "nfc"
path = "udp:127.0.0.1:1"
virtual = true
[[terminal]]
driver = "zvt"
port = "tcp://127.0.0.1:1"
capture = "{capture}"
[lab]
virtual = true
"""

_EVSE: Final = """
[[evse]]
id = "E{number}"
label = "{number}"
poll_s = 4.0
stale_s = 10
[evse.meter]
driver = "register"
profile = "eastron_sdm630"
port = "{meters}"
unit = {number}
[evse.charge_point]
driver = "heidelberg"
port = "{wallboxes}"
unit = {number}
lease_s = 10.0
"""


def build(folder: Path, rng: random.Random, *, evses: int, calm: bool = False) -> None:
    """A folder that a till can be started in; `calm`: a price for energy, and holds that are never used up."""
    tariff = {
        "country_code": "DE", "party_id": "CHT", "id": "T1", "currency": "EUR",
        "elements": _ELEMENTS[0] if calm else rng.choice(_ELEMENTS), "last_updated": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    (folder / "tariff.json").write_text(json.dumps(tariff))
    limits = [6000 if calm else rng.choice((20, 300, 6000)) for _ in range(3)]
    members = "".join(
        f'[[member]]\naccount = "A-{n}"\nuid = "{UIDS[n].hex()}"\nlimit_minor = {limit}\n'
        for n, limit in enumerate(limits)
    )
    (folder / "members.toml").write_text(members)
    key = folder / "operator.key"
    key.touch(mode=0o600)
    key.write_text("0f" * 32)
    config = _CONFIG.format(
        hold_minor=6000 if calm else rng.choice((5, 60, 300, 6000, 6000)),
        checkpoint_s=900 if calm else rng.choice((30, 900)),
        capture=rng.choice(("release", "book")),
    )
    config += "".join(
        _EVSE.format(number=n + 1, meters=METER_LINE, wallboxes=WALLBOX_LINE) for n in range(evses)
    )
    (folder / "config.toml").write_text(config)
