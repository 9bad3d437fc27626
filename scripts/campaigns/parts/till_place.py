"""What the till of a trial is configured with: tariffs, members, holds, meters, ways to pay, by the seed."""

from __future__ import annotations

import json
import random
from typing import Any, Final

from parts.till_meters import OPTIONS, SIGNING
from parts.till_site import METER_LINE, UIDS, WALLBOX_LINE, Layout, Site

from edge.domain.tariffs import freeze
from hw.virtual.place import TARIFF, evse, furnish, head

TIME_ZONE: Final = "Europe/Berlin"
LANGUAGES: Final = ("en",)

_CA_KEYS: Final = "capk.json"

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

_REST: Final = """
hold_max_minor = {hold_max_minor}
[session]
plug_timeout_s = 60
show_end_s = 10
silence_max_s = 60
checkpoint_s = {checkpoint_s}
[ledger]
keep_days = 1
[mqtt]
brokers = ["127.0.0.1:1"]
[[reader]]
driver = "nfc"
path = "udp:127.0.0.1:1"
virtual = true
[lab]
virtual = true
"""

_TERMINAL: Final = """
[[terminal]]
driver = "zvt"
port = "tcp://127.0.0.1:1"
capture = "{capture}"
"""

_ACQUIRER: Final = """
[emv]
use = "payment"
ca_keys = "{ca_keys}"
[acquirer]
host = "127.0.0.1"
port = 1
terminal_id = "T1"
merchant_id = "M1"
acquirer_id = "12345"
retry_max_s = 20.0
"""


def draw(rng: random.Random) -> Layout:
    """What stands at a trial's site: one EVSE or two, some with meters that sign; cards at a terminal or a reader."""
    meters = tuple(
        rng.choice(("register", "register", rng.choice(SIGNING))) for _ in range(rng.choice((1, 1, 2)))
    )
    return Layout(meters=meters, pays=rng.choice(("terminal", "terminal", "acquirer")))


def tariff(number: int, serial: int) -> str:
    """One of the tariffs; `serial` tells each that is published from those before, by its price."""
    elements = json.loads(json.dumps(_ELEMENTS[number]))
    if serial:
        elements[-1]["price_components"][0]["price"] = round(0.49 + serial / 100, 2)
    return json.dumps({**TARIFF, "id": f"T{serial + 1}", "elements": elements})


def learn_tariffs(site: Site) -> None:
    """Whatever the till may find on sale in its folder."""
    for path in site.folder.glob("*.json"):
        if path.name != _CA_KEYS:
            frozen = freeze(path.read_bytes())
            site.tariffs[frozen.hash] = frozen


def build(site: Site, rng: random.Random, *, calm: bool = False) -> None:
    """A folder that a till can be started in; `calm`: a price for energy, and holds that are never used up."""
    folder, layout = site.folder, site.layout
    document = tariff(0 if calm else rng.randrange(len(_ELEMENTS)), 0)
    limits = [6000 if calm else rng.choice((20, 300, 6000)) for _ in range(3)]
    members = "".join(
        f'[[member]]\naccount = "A-{n}"\nuid = "{UIDS[n].hex()}"\nlimit_minor = {limit}\n'
        for n, limit in enumerate(limits)
    )
    # plastic pays without a PIN below 50 euros
    high = 6000 if layout.pays == "terminal" else 4000
    hold_minor = high if calm else rng.choice((5, 60, 60, 300, high, high))
    config = head(hold_minor=hold_minor, time_zone=TIME_ZONE) + _REST.format(
        hold_max_minor=0 if calm else rng.choice((0, 4 * hold_minor, 4 * hold_minor)),
        checkpoint_s=900 if calm else rng.choice((30, 900)),
    )
    if site.acquirer is None:
        config += _TERMINAL.format(capture=rng.choice(("release", "book")))
    else:
        site.acquirer.write_keys(folder / _CA_KEYS)
        config += _ACQUIRER.format(ca_keys=_CA_KEYS)
    config += "".join(
        evse(
            f"E{n}", label=str(n), options="poll_s = 4.0\nstale_s = 10", meter=OPTIONS[model], unit=n,
            meter_at=METER_LINE, charge_point_at=WALLBOX_LINE, charge_point="lease_s = 10.0\n",
        )
        for n, model in enumerate(layout.meters, start=1)
    )  # fmt: skip
    furnish(folder, config, tariff=document, members=members)
