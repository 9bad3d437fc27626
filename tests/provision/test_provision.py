"""From answers to a till that starts: what is made, what stays, and what is refused before anything is made."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import pytest

from edge.backoffice.orders import orders_key
from edge.inventory import check
from edge.provision import finding_meters


@pytest.fixture
def hurry(monkeypatch):
    """Units 1 to 3 are enough for these tests."""
    monkeypatch.setattr(finding_meters, "UNITS", (1, 2, 3))


def provisioned(call, folder, answers, *more):
    return call(
        "--config",
        folder / "etc/config.toml",
        "provision",
        "--answers",
        answers,
        "--state",
        folder / "var",
        *more,
    )


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture
def named(answers):
    """The answers with the meters' models given, so that nothing is searched for."""
    text = answers.read_text()
    for unit in (1, 2):
        text = text.replace("gap_ms = 5 }", f'gap_ms = 5, profile = "eastron_sdm630", unit = {unit}}}', 1)
    answers.write_text(text)
    return answers


def test_answers_become_a_till_that_passes_its_check(tmp_path, answers, call):
    done = provisioned(call, tmp_path, answers, "--json")
    assert done.code == 0, done.err
    config = check(tmp_path / "etc/config.toml")
    assert [e.section.id for e in config.evses] == ["DE*CHT*Etill-17*1", "DE*CHT*Etill-17*2"]
    assert [e.meter.options.unit for e in config.evses] == [1, 2], "each EVSE has a meter of its own"
    assert {e.meter.options.profile for e in config.evses} == {"eastron_sdm630"}
    said = json.loads(done.out)
    assert said["made_operator_key"] is True
    assert len(said["ledger_public_key"]) == 64
    mode = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "etc").iterdir()}
    assert mode["config.toml"] == 0o640
    assert mode["operator.key"] == mode["tls.key"] == 0o600
    assert stat.S_IMODE((tmp_path / "var/ledger.key").stat().st_mode) == 0o600
    assert not [name for name in mode if name.startswith(".")], "nothing half-made stays"


def test_the_configuration_explains_itself(tmp_path, named, call):
    provisioned(call, tmp_path, named)
    text = (tmp_path / "etc/config.toml").read_text()
    assert "# The way to the back office." in text
    assert "# what one session may cost at most" in text
    tomllib.loads(text)


def test_a_till_without_a_reader_or_a_back_office_is_one_too(tmp_path, named, call):
    edit(named, '[[reader]]\ndriver = "nfc"\npath = "tty:AMA0:pn532"', "")
    edit(named, '[mqtt]\nbrokers = ["127.0.0.1:8883"]', "")
    done = provisioned(call, tmp_path, named, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["enrollment"] is None
    config = tmp_path / "etc/config.toml"
    config.write_text(config.read_text() + '[[reader]]\ndriver = "nfc"\n')
    assert len(check(config).readers) == 1, "a reader can be added at the end by hand"


def test_a_configuration_is_not_overwritten(tmp_path, named, call):
    provisioned(call, tmp_path, named)
    config = tmp_path / "etc/config.toml"
    config.write_text(config.read_text() + "\n# by hand\n")
    again = provisioned(call, tmp_path, named, "--json")
    assert again.code == 2
    assert again.error["code"] == "provision.exists"
    assert "--force" in again.error["hint"]
    key = (tmp_path / "etc/operator.key").read_text(), (tmp_path / "etc/tls.key").read_text()
    forced = provisioned(call, tmp_path, named, "--force", "--json")
    assert forced.code == 0, forced.err
    kept = json.loads(forced.out)["kept"]
    assert "# by hand" in Path(kept).read_text()
    assert "# by hand" not in config.read_text()
    assert key == ((tmp_path / "etc/operator.key").read_text(), (tmp_path / "etc/tls.key").read_text())


def test_every_mistake_in_the_answers_at_once_and_nothing_is_made(tmp_path, named, call):
    edit(named, 'site = "north"', 'site = "no spaces"\nsit = 1')
    edit(named, 'country = "DE"', 'country = "Germany"')
    edit(named, 'label = "B"', "")
    done = provisioned(call, tmp_path, named, "--json")
    assert done.code == 2
    for key in ("device.site", "device.sit:", "seller.country", "evse[1].label: missing"):
        assert key in done.error["message"]
    assert not (tmp_path / "etc").exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("price_per_kwh = 0.49", "", "either `file` or `price_per_kwh`"),
        ('key_id = "op-1"', 'key_id = "op-1"\nkey_from = "stick/key"', "membership.key_from"),
        ("price_per_kwh = 0.49", 'file = "none.json"', "none.json"),
        ('driver = "heidelberg", port', 'driver = "heidelburg", port', "heidelburg"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, named, call, old, new, says):
    edit(named, old, new)
    done = provisioned(call, tmp_path, named, "--json")
    assert done.code == 2
    assert says in done.error["message"]
    assert not (tmp_path / "etc/config.toml").exists()


def test_no_meter_where_one_should_be(tmp_path, answers, call, hurry):
    from edge.errors import ConfigError
    from edge.provision import answers as given
    from edge.provision import setup
    from edge.runtime.clock import SystemClock

    edit(answers, "gap_ms = 5 }", "gap_ms = 5, unit = 9 }")
    layout = setup.Layout(config=tmp_path / "etc/config.toml", state=tmp_path / "var")
    with pytest.raises(ConfigError) as refused:
        setup.provision(
            given.read(answers), layout, base=tmp_path, clock=SystemClock(trust="always"), force=False
        )
    assert refused.value.code == "provision.no_meter"
    assert "unit 9" in refused.value.message
    assert not layout.config.exists()


def test_the_operators_key_comes_from_a_stick_and_the_name_from_the_computer(tmp_path, named, call):
    (tmp_path / "stick.key").write_text("ab" * 32)
    edit(named, 'key_id = "op-1"', 'key_id = "op-1"\nkey_from = "stick.key"')
    edit(named, 'name = "till-17"', "")
    done = provisioned(call, tmp_path, named, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["made_operator_key"] is False
    assert (tmp_path / "etc/operator.key").read_text().strip() == "ab" * 32


def test_enrollment_goes_there_and_back_and_no_private_key_travels(tmp_path, named, call):
    provisioned(call, tmp_path, named)
    etc = tmp_path / "etc"
    request = etc / "enrollment-north.till-17.json"
    assert "PRIVATE" not in request.read_text()
    access = tmp_path / "access"
    access.mkdir()
    office = call("backoffice", "device", "enroll", "--request", request, "--access", access, "--json")
    assert office.code == 0, office.err
    said = json.loads(office.out)
    assert not (access / "device-north.till-17.key").exists()
    assert "user north.till-17" in (access / "acl").read_text()
    answer = json.loads(Path(said["answer"]).read_text())
    assert answer.keys() == {"site", "device", "ca", "certificate"}, "older devices know no more"
    before = (etc / "config.toml").read_text()
    taken = call("--config", etc / "config.toml", "provision", "--enrolled", said["answer"], "--json")
    assert taken.code == 0, taken.err
    assert {(etc / "ca.pem"), (etc / "tls.pem")} <= set(etc.iterdir())
    assert (said["orders_keys"], json.loads(taken.out)["orders_keys"]) == ([], [])
    assert (etc / "config.toml").read_text() == before, "no books were named"

    renewed = call("--config", etc / "config.toml", "provision", "--renew", "--json")
    assert renewed.code == 0, renewed.err
    old = (etc / "tls.key").read_text()
    refused = call("--config", etc / "config.toml", "provision", "--enrolled", said["answer"], "--json")
    assert refused.error["code"] == "provision.enrollment", "an answer to the key before"
    assert (etc / "tls.key").read_text() == old
    books = tmp_path / "books.db"
    call("backoffice", "device", "enroll", "--request", request, "--access", access, "--db", books)
    again = call("--config", etc / "config.toml", "provision", "--enrolled", said["answer"])
    assert again.code == 0, again.err
    assert (etc / "tls.key").read_text() != old
    obeyed = check(etc / "config.toml").mqtt.orders_keys
    assert obeyed == (orders_key(books).public_hex,)
    call("--config", etc / "config.toml", "provision", "--renew")
    provisioned(call, tmp_path, named, "--force")
    call("backoffice", "device", "enroll", "--request", request, "--access", access)
    newest = call("--config", etc / "config.toml", "provision", "--enrolled", said["answer"])
    assert newest.code == 0, "only the newest request counts"
    assert check(etc / "config.toml").mqtt.orders_keys == obeyed, "whom it obeys is no answer's to forget"
    for wrong in (request, etc / "none.json"):
        refused = call("--config", etc / "config.toml", "provision", "--enrolled", wrong, "--json")
        assert (refused.code, refused.error["code"]) == (2, "provision.answer")


def test_a_request_of_another_device_is_refused(tmp_path, named, call):
    provisioned(call, tmp_path, named)
    access = tmp_path / "access"
    access.mkdir()
    request = tmp_path / "etc/enrollment-north.till-17.json"
    done = call(
        "backoffice",
        "device",
        "enroll",
        "north",
        "till-18",
        "--request",
        request,
        "--access",
        access,
        "--json",
    )
    assert done.code == 2
    assert "north/till-17" in done.error["message"]
    request.write_text("{}")
    assert call("backoffice", "device", "enroll", "--request", request, "--access", access).code == 2
