"""Questions one by one: a wrong answer is asked again, an interruption loses nothing."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from edge.cli.root import root
from edge.inventory import check
from edge.provision import finding_meters
from edge.provision.interview import Draft


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(finding_meters, "UNITS", (1, 2))


def asked(tmp_path, answers):
    """What a person sees who types these lines."""
    arguments = ["--config", str(tmp_path / "etc/config.toml"), "provision", "--state", str(tmp_path / "var")]
    return CliRunner().invoke(root, arguments, input="\n".join(answers) + "\n")


def identity(site="north"):
    return [site, "till-1", "Car park 1", "Europe/Berlin", "Stadtwerke", "Platz 1", "DE", "DE1", "n"]


MONEY = ["n", "0.49", "19", "EUR", "6000", "op-1", "n"]
NETWORK = ["y", "127.0.0.1:8883", "y", "y"]
READER = ["nfc", "tty:AMA0:pn532", "y", "tcp://127.0.0.1:22000"]


def evse(hardware, number):
    meter, wallbox = hardware
    unit = str(number)
    return [
        f"DE*T*{number}", "", "16", meter, unit, "eastron_sdm630", "heidelberg", wallbox, unit
    ]  # fmt: skip


def test_two_evses_by_hand(tmp_path, hardware):
    lines = [*identity(), *MONEY, *NETWORK, *READER, "2", *evse(hardware, 1), *evse(hardware, 2)]
    done = asked(tmp_path, lines)
    assert done.exit_code == 0, done.output
    config = check(tmp_path / "etc/config.toml")
    assert [(e.section.id, e.section.label, e.meter.options.unit) for e in config.evses] == [
        ("DE*T*1", "A", 1),
        ("DE*T*2", "B", 2),
    ]
    assert config.terminals[0].driver.options.port == "tcp://127.0.0.1:22000"
    assert not list((tmp_path / "etc").glob(".*")), "the draft has served"
    assert "next:" in done.output


def test_a_wrong_answer_is_asked_again(tmp_path, hardware):
    wrong = [
        "no spaces",
        "north",
        "till-1",
        "Car park 1",
        "Berlin",
        "Europe/Berlin",
        "S",
        "P",
        "Germany",
        "DE",
        "DE1",
        "n",
    ]
    done = asked(tmp_path, [*wrong, *MONEY, *NETWORK, *READER, "1", *evse(hardware, 1)])
    assert done.exit_code == 0, done.output
    assert done.output.count("not that:") == 3
    assert "no IANA time zone" in done.output


def test_answers_survive_an_interruption(tmp_path, hardware):
    stopped = asked(tmp_path, identity("south"))  # the input ends here
    assert stopped.exception.code == "provision.interrupted"
    assert "--answers FILE" in stopped.exception.hint
    assert not (tmp_path / "etc/config.toml").exists()
    lines = [*[""] * 8, "n", *MONEY, *NETWORK, *READER, "1", *evse(hardware, 1)]
    done = asked(tmp_path, lines)
    assert done.exit_code == 0, done.output
    assert check(tmp_path / "etc/config.toml").device.site == "south"


def test_a_draft_keeps_what_it_is_told(tmp_path):
    draft = Draft(tmp_path / "draft")
    draft.put("seller.name", 'Ünïcode "quoted"\n')
    draft.put("evse.0.meter", {"port": "/dev/meter0", "unit": 3})
    draft.put("evse.1.label", "B")
    draft.put("evse.0.meter.unit", 4)
    again = Draft(tmp_path / "draft")
    assert again.table == draft.table
    assert again.get("evse.0.meter.unit") == 4
    assert again.get("evse.2.label") is None
    assert (tmp_path / "draft").stat().st_mode & 0o777 == 0o600
