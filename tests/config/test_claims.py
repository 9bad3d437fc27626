"""Two parts of a till that would have one device between them are refused, with file, key and what to do."""

from __future__ import annotations

import pytest

from edge.errors import ConfigError
from edge.inventory import load


def problems(path):
    with pytest.raises(ConfigError) as found:
        load(path)
    assert all(p.startswith(f"{path}: ") for p in found.value.problems)
    return [p.removeprefix(f"{path}: ") for p in found.value.problems]


PLACES = """
[[evse]]
id = "{id}"
label = "{label}"
[evse.meter]
{meter}
[evse.charge_point]
{point}
"""
METER = 'driver = "register"\nprofile = "eastron_sdm630"\nport = "{port}"\nunit = {unit}'
WALLBOX = 'driver = "heidelberg"\nport = "{port}"\nunit = {unit}'
CHARX = 'driver = "phoenix"\nmodel = "charx"\nport = "tcp://192.0.2.1:502"\nconnector = {n}\nguard = {{ relay = "{pin}" }}'
PINS = 'driver = "gpio_contactor"\nrelay = "{0}"\nvehicle = "{1}"'


def meter(port="/dev/ttyM", unit=1):
    return METER.format(port=port, unit=unit)


def wallbox(port="/dev/ttyW", unit=1):
    return WALLBOX.format(port=port, unit=unit)


@pytest.fixture
def two(place):
    """`two((meter, charge point), (meter, charge point), more)`: the file with these EVSEs."""

    def write(first, second, more=""):
        text = place.config.read_text()
        evses = [
            PLACES.format(id=f"E{n}", label=n, meter=m, point=p) for n, (m, p) in enumerate((first, second))
        ]
        place.config.write_text(text[: text.index("[[evse]]")] + "".join(evses) + more)
        return place.config

    return write


@pytest.mark.parametrize(
    ("first", "second", "more", "says"),
    [
        (
            (meter(), wallbox()), (meter(), wallbox(unit=2)), "",
            "evse[1].meter.unit: 1 at /dev/ttyM is evse[0].meter already",
        ),
        (
            (meter("tcp://localhost:502"), wallbox()), (meter("tcp://127.0.0.1:0502"), wallbox(unit=2)), "",
            "evse[1].meter.unit: 1 at tcp://127.0.0.1:0502 is evse[0].meter already",
        ),
        (
            (meter(), wallbox()), (meter(unit=2), wallbox()), "",
            "evse[1].charge_point.unit: 1 at /dev/ttyW is evse[0].charge_point already",
        ),
        (
            (meter(), wallbox()), (meter(unit=2), wallbox("/dev/ttyM")), "",
            "evse[1].charge_point.unit: 1 at /dev/ttyM is evse[0].meter already",
        ),
        (
            (meter(), CHARX.format(n=1, pin="gpio:17")), (meter(unit=2), CHARX.format(n=1, pin="gpio:18")), "",
            "evse[1].charge_point.unit: 1 at tcp://192.0.2.1:502 is evse[0].charge_point already",
        ),
        (
            (meter(), CHARX.format(n=1, pin="gpio:17")), (meter(unit=2), CHARX.format(n=2, pin="gpio-low:GPIO17")),
            "", "evse[1].charge_point.guard.relay: gpio-low:GPIO17 is evse[0].charge_point.guard.relay already",
        ),
        (
            (meter(), PINS.format("gpio:17", "gpio:17")), (meter(unit=2), PINS.format("gpio:4", "gpio:5")), "",
            "evse[0].charge_point.vehicle: gpio:17 is evse[0].charge_point.relay already",
        ),
        (
            (meter(), wallbox()), (meter(unit=2), wallbox(unit=2)),
            '[[terminal]]\ndriver = "zvt"\nport = "/dev/ttyW"\n',
            "terminal[0].port: /dev/ttyW is the line of evse[1].charge_point",
        ),
        (
            (meter("/dev/ttyUSB7"), wallbox()), (meter("/dev/ttyUSB7", 2), wallbox(unit=2)),
            '[[reader]]\ndriver = "nfc"\npath = "tty:USB7:pn532"\n',
            "reader[0].path: tty:USB7:pn532 is the line of evse[1].meter",
        ),
        (
            (meter(), wallbox()), (meter(unit=2), wallbox(unit=2)),
            '[[reader]]\ndriver = "pcsc"\nreader = "ACR"\n[[reader]]\ndriver = "pcsc"\nreader = "ACR"\n',
            "reader[1].reader: 'ACR' is reader[0].reader already",
        ),
    ],
)  # fmt: skip
def test_what_can_be_there_once_stands_once(two, first, second, more, says):
    found = problems(two(first, second, more))
    assert len(found) == 1
    assert found[0].startswith(says)
    assert found[0].endswith(")")


@pytest.mark.parametrize(
    ("first", "second", "more"),
    [
        ((meter(), wallbox()), (meter(unit=2), wallbox(unit=2)), ""),
        ((meter(), wallbox("/dev/ttyM", 3)), (meter("/dev/ttyN"), wallbox("/dev/ttyN", 3)), ""),
        (
            (meter(), CHARX.format(n=1, pin="gpio:17")), (meter(unit=2), CHARX.format(n=2, pin="gpio:18")),
            '[[reader]]\ndriver = "nfc"\npath = "usb"\n[[reader]]\ndriver = "nfc"\npath = "usb"\n',
        ),
    ],
)  # fmt: skip
def test_lines_are_shared_and_one_controller_may_have_several_connectors(two, first, second, more):
    assert len(load(two(first, second, more)).evses) == 2


def test_a_guard_is_fed_twice_within_its_lease(two):
    point = CHARX.format(n=1, pin="gpio:17").replace(" }", ", lease_s = 1.5 }")
    (found,) = problems(two((meter(), point), (meter(unit=2), wallbox())))
    assert "at most half of evse[0].charge_point.guard.lease_s" in found


def test_one_line_has_one_name(two, tmp_path):
    (tmp_path / "line").touch()
    (tmp_path / "link").symlink_to(tmp_path / "line")
    line, link = meter(tmp_path / "line"), meter(tmp_path / "link", 2)
    (found,) = problems(two((line, wallbox()), (link, wallbox(unit=2))))
    assert found.startswith(f"evse[1].meter.port: {tmp_path}/link is {tmp_path}/line of evse[0].meter")
