"""The configuration as an installer meets it: everything that is wrong, at once, with file and key."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import config as configuration
from edge import sections
from edge.domain.session.terms import Rules
from edge.errors import ConfigError, TillError
from edge.inventory import check, kinds, load


def problems(path: Path, read=load) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as found:
        read(path)
    assert found.value.exit_code == 2
    assert found.value.hint
    assert all(p.startswith(str(path.parent)) for p in found.value.problems)
    assert "\n" not in str(found.value)
    return tuple(p.removeprefix(f"{path}: ") for p in found.value.problems)


def test_a_right_file_becomes_facts_with_absolute_paths(place):
    config = check(place.config)
    assert config.database == place.folder / "till.db"
    assert config.evses[0].section.id == "DE*T*1"
    assert config.evses[0].meter.options.profile == "eastron_sdm630"
    assert config.lab is None


def test_files_of_the_way_up_start_at_the_files_folder_too(place, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    place.add(
        '[mqtt]\nbrokers = ["127.0.0.1:1"]\npassword_file = "word"\ntls = { ca = "ca.pem", key = "/k.pem" }\n'
    )
    mqtt = load(place.config).mqtt
    assert mqtt.password_file == str(place.folder / "word")
    assert mqtt.tls.ca == str(place.folder / "ca.pem")
    assert (mqtt.tls.key, mqtt.tls.cert) == ("/k.pem", None)


def test_every_mistake_is_found_at_once(place):
    place.edit('site = "s1"', 'site = "no spaces, please"\nsit = 1')
    place.edit("hold_minor = 6000", "hold_minor = 0")
    place.edit('label = "1"', 'label = "far too long"\nmax_current_a = 500\npoll_s = "fast"')
    place.edit('country = "DE"', "")
    place.edit('profile = "eastron_sdm630"', 'profile = "eastron_sdm630"\nunit = 999')
    place.edit('driver = "heidelberg"', 'driver = "heidelburg"')
    place.add("[sesion]\nplug_timeout_s = 5\n")
    found = problems(place.config)
    for key in (
        "device.site:", "device.sit: unknown key, did you mean `site`?", "tariff.hold_minor:", "evse[0].label:",
        "evse[0].max_current_a:", "evse[0].poll_s:", "seller.country: missing", "evse[0].meter.unit:",
        "evse[0].charge_point.driver: no evse driver `heidelburg`", "sesion: unknown key, did you mean `session`?",
    ):  # fmt: skip
        assert any(p.startswith(key) for p in found), (key, found)
    assert len(found) == 10


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('time_zone = "Europe/Berlin"', 'time_zone = "Berlin"', "no IANA time zone"),
        ('time_zone = "Europe/Berlin"', 'time_zone = "../../etc/passwd"', "no IANA time zone"),
        ("[clock]", "[clock]\nfoo = 1", "clock.foo: unknown key"),
        ('trust = "always"', 'trust = "maybe"', "clock.trust"),
        ('label = "1"', 'label = "1"\npoll_s = 8.0', "at most half of session.stale_s"),
        ('label = "1"', 'label = "1"\npoll_s = 3.0\nstale_s = 5', "at most half of evse[0].stale_s"),
        (
            'driver = "heidelberg"',
            'driver = "heidelberg"\nlease_s = 1.5',
            "at most half of evse[0].charge_point.lease_s",
        ),
        ("[[evse]]", "[session]\ncheckpoint_s = 1\n[[evse]]", "session.checkpoint_s"),
        ("[[evse]]", '[invoice]\nprefix = "lower"\n[[evse]]', "invoice.prefix"),
        ("[[evse]]", "[mqtt]\nbrokers = []\n[[evse]]", "mqtt.brokers"),
        ("[[evse]]", '[mqtt]\nbrokers = ["nowhere"]\n[[evse]]', "mqtt.brokers"),
        ("[[evse]]", "[kiosk]\nport = 70000\n[[evse]]", "kiosk.port"),
        ('country = "DE"', 'country = "Germany"', "seller.country: must be two capital letters"),
        ("[[evse]]", 'reader = "nfc"\n[[evse]]', "reader"),
        ("[[evse]]", '[[reader]]\npath = "usb"\n[[evse]]', "reader[0].driver: missing"),
        ('driver = "register"', "driver = 5", "evse[0].meter.driver: missing"),
        (
            'port = "tcp://127.0.0.1:9"\n\n',
            'port = "COM3"\n\n',
            "evse[0].meter.port: must be a serial device such",
        ),
        ("tcp://127.0.0.1:9", "tcp://127.0.0.1:0", "evse[0].meter.port: must be a serial device such"),
        ("tcp://127.0.0.1:9", "tcp://127.0.0.1:65536", "with a port from 1 to 65535"),
        ("tcp://127.0.0.1:9", "tcp://dev/ttyUSB0", "with a port from 1 to 65535"),
    ],
)
def test_each_mistake_says_where_it_is(place, old, new, says):
    place.edit(old, new)
    assert any(says in p for p in problems(place.config))


def test_an_evse_stands_once(place):
    text = place.config.read_text()
    place.add(text[text.index("[[evse]]") :])
    assert problems(place.config) == ("evse: the id 'DE*T*1' stands twice",)


def test_devices_that_describe_a_serial_line_differently_are_named(place):
    place.edit("tcp://127.0.0.1:9", "/dev/line")
    place.edit("tcp://127.0.0.2:9", "/dev/line")
    place.edit('driver = "heidelberg"', 'driver = "heidelberg"\nunit = 2')
    (problem,) = problems(place.config, check)
    assert problem.startswith(
        "evse[0].meter: /dev/line: 9600 Bd 8N1 here, 19200 Bd 8E1 for the devices before"
    )
    assert "share its port, baud rate" in problem


def test_behind_a_gateway_every_device_has_its_models_own_line_settings(place):
    place.edit("tcp://127.0.0.2:9", "tcp://127.0.0.1:9")
    place.edit('driver = "heidelberg"', 'driver = "heidelberg"\nunit = 2')
    check(place.config)


def test_there_are_no_tills_without_an_evse_nor_with_too_many(place):
    text = place.config.read_text()
    head, evse = text[: text.index("[[evse]]")], text[text.index("[[evse]]") :]
    place.config.write_text(head)
    assert problems(place.config) == ("evse: missing",)
    place.config.write_text("evse = []\n" + head)
    assert problems(place.config) == ("evse: must have at least 1",)
    place.config.write_text(head + "".join(evse.replace("DE*T*1", f"DE*T*{n}") for n in range(65)))
    assert problems(place.config) == ("evse: must have at most 64, has 65",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[device\n", "line 1"),
        ("a = 1\na = 2", "overwrite"),
        ("\x00", ""),
        ("", "missing"),
        ("x = 1", "unknown"),
    ],
)
def test_a_file_that_is_no_configuration(place, text, says):
    place.config.write_text(text)
    assert says in "; ".join(problems(place.config))


def test_a_file_that_is_not_there_or_not_text(place):
    missing = place.folder / "none.toml"
    assert problems(missing) == ("No such file or directory",)
    assert "directory" in "; ".join(problems(place.folder / "none.toml" / ".."))
    place.config.write_bytes(b"\xff\xfe")
    assert problems(place.config)


# --- the lab


def test_virtual_hardware_needs_the_lab(place):
    place.edit(
        "[[evse]]", '[[reader]]\ndriver = "nfc"\npath = "udp:127.0.0.1:5000"\nvirtual = true\n[[evse]]'
    )
    assert "needs a section [lab]" in problems(place.config)[0]
    place.add("[lab]\nvirtual = true\n")
    load(place.config)


def test_the_udp_field_says_itself_that_it_is_virtual(place):
    place.edit("[[evse]]", '[[reader]]\ndriver = "nfc"\npath = "udp:127.0.0.1:5000"\n[[evse]]')
    assert "virtual = true" in problems(place.config)[0]


@pytest.mark.parametrize(
    "lab",
    ["[lab]\n", "[lab]\nvirtual = false\n", "[lab]\nvirtual = true\nspeed = 0\n", "lab = true\n",
     "[lab]\nvirtual = true\norigin = 2026-01-01T00:00:00\n"],
)  # fmt: skip
def test_the_lab_is_entered_in_so_many_words(place, lab):
    text = place.config.read_text()
    place.config.write_text(lab + text if lab.startswith("lab") else text + lab)
    assert problems(place.config)[0].startswith("lab")


@pytest.mark.parametrize("broker", ["127.0.0.1:1883", "localhost:1883", "[::1]:1883"])
def test_a_lab_may_speak_to_this_machine(place, broker):
    place.add(f'[lab]\nvirtual = true\n[mqtt]\nbrokers = ["{broker}"]\n')
    assert load(place.config).lab is not None


@pytest.mark.parametrize("broker", ["127.evil.example:1883", "10.0.0.1:1883", "localhost.example:1883"])
def test_a_lab_speaks_to_nothing_beyond_this_machine(place, broker):
    place.add(f'[lab]\nvirtual = true\n[mqtt]\nbrokers = ["{broker}"]\n')
    assert "only to brokers on this machine" in problems(place.config)[0]


@pytest.mark.parametrize("port", ["tcp://10.0.0.7:502", "/dev/ttyUSB0", "tcp://gateway:502"])
def test_a_lab_switches_no_real_device(place, port):
    place.add("[lab]\nvirtual = true\n")
    place.edit('port = "tcp://127.0.0.1:9"\n\n', f'port = "{port}"\n\n')
    assert problems(place.config) == (f"lab: register at {port} is no virtual device on this machine",)


# --- what it names


def test_everything_that_it_names_is_checked_at_once(place):
    (place.folder / "tariff.json").write_text('{"id": "T"}')
    (place.folder / "operator.key").write_text("zz")
    place.edit("eastron_sdm630", "unknown_meter")
    found = problems(place.config, check)
    assert len(found) == 3
    assert any("tariff.json" in p for p in found)
    assert any("operator.key: not hexadecimal" in p for p in found)
    assert any("unknown_meter" in p for p in found)


def test_a_fallback_tariff_is_one_for_any_time_in_the_same_currency(place):
    place.edit('file = "tariff.json"\n', 'file = "tariff.json"\nfallback_file = "fallback.json"\n')
    fallback = place.folder / "fallback.json"
    assert "No such file" in problems(place.config, check)[0]
    usual = json.loads((place.folder / "tariff.json").read_text())
    night = {
        "price_components": usual["elements"][0]["price_components"],
        "restrictions": {"start_time": "22:00"},
    }
    fallback.write_text(json.dumps({**usual, "currency": "CHF", "elements": [night]}))
    timed, foreign = problems(place.config, check)
    assert "depends on the time" in timed
    assert foreign == f"{fallback}: is in CHF, the tariff in EUR"
    fallback.write_text(json.dumps(usual))
    assert check(place.config).fallback_file == fallback


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0o600, "No such file"),
        ("", 0o600, "has 0 bytes"),
        ("0f" * 31, 0o600, "has 31 bytes"),
        ("0x" * 32, 0o600, "not hexadecimal"),
        ("0f" * 32, 0o644, "readable by others"),
        ("0f" * 32, 0o660, "readable by others"),
    ],
)
def test_the_operators_key_is_32_bytes_for_nobody_else(place, content, mode, says):
    key = place.folder / "operator.key"
    key.unlink()
    if content is not None:
        key.write_text(content)
        key.chmod(mode)
    (found,) = problems(place.config, check)
    assert says in found
    assert "0f0f" not in found


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[[member]]\naccount = 'x'\n", "missing"),
        ("[[member]]\naccount = 'x'\nuid = '04A1'\nlimit_minor = 1\n", "uid: must be 8, 14 or 20 hex digits"),
        ("[[member]]\naccount = 'a b'\nuid = '04A1B2C3D4E5F6'\nlimit_minor = 1\n", "account"),
        ("[[member]]\naccount = 'x'\nuid = '04A1B2C3D4E5F6'\nlimit_minor = 0\n", "limit_minor"),
        ("[[member]]\naccount = 'x'\nuid = '08A1B2C3'\nlimit_minor = 1\n", "another one at each tap"),
        (
            "[[member]]\naccount = 'x'\nuid = '04A1B2C3D4E5F6'\nlimit_minor = 1\n" * 2,
            "stands in the list twice",
        ),
        ("[[members]]\n", "member"),
        ("not toml", "members.toml"),
    ],
)
def test_a_bad_list_of_members_says_which_one_and_never_a_uid(place, content, says):
    (place.folder / "members.toml").write_text(content)
    found = "; ".join(problems(place.config, check))
    assert says in found
    assert "04A1B2C3" not in found


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.one_of(
            st.booleans(), st.integers(-1, 2**70), st.floats(), st.text(max_size=9), st.datetimes(),
            st.sampled_from(["register", "nfc", "heidelberg", "usb", "/dev/ttyUSB0", "tcp://127.0.0.1:1"]),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["driver", "port", "unit", "evse", "meter", "charge_point", "reader", "mqtt", "kiosk", "lab",
                     "device", "site", "tariff", "seller", "membership", "session", "id", "label", "brokers"]
                ),
                inner, max_size=6,
            ),
        ),
        max_leaves=25,
    )
)  # fmt: skip
def test_no_table_whatever_breaks_the_reader(table):
    if not isinstance(table, dict):
        table = {"evse": table}
    with pytest.raises(TillError):
        configuration._Reader(Path("/x/config.toml"), table, kinds()).read()


def test_bounds_stand_on_every_number_of_the_file():
    """A number without a bound lets a typing error through: each int and float says at least how small and big."""
    unbounded = []

    def look(kind, path):
        for field in msgspec.structs.fields(kind):
            info = msgspec.inspect.type_info(field.type)
            for one in getattr(info, "types", (info,)):
                inner = one
                while isinstance(inner, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
                    inner = inner.item_type
                if isinstance(inner, msgspec.inspect.StructType):
                    look(inner.cls, f"{path}.{field.name}")
                if isinstance(inner, msgspec.inspect.IntType | msgspec.inspect.FloatType):
                    low = inner.ge if inner.ge is not None else inner.gt
                    high = inner.le if inner.le is not None else inner.lt
                    if low is None or high is None:
                        unbounded.append(f"{path}.{field.name}")

    look(sections.File, "")
    from hw import registry

    for kind in ("meter", "evse", "reader", "terminal"):
        for name in registry.drivers(kind):
            look(registry.options_type(kind, name), name)
    from edge.kiosk import KioskOptions
    from edge.sync.options import UplinkOptions

    look(KioskOptions, "kiosk")
    look(UplinkOptions, "mqtt")
    assert unbounded == [".lab.base_ns"]  # a reading of CLOCK_BOOTTIME, which no person writes


def test_a_configuration_that_is_not_ours_to_read(place):
    if os.geteuid() == 0:
        place.config.unlink()
        place.config.mkdir()
        assert problems(place.config) == ("Is a directory",)
        return
    place.config.chmod(0)
    assert problems(place.config) == ("Permission denied",)


def test_every_key_of_the_file_stands_in_the_readme():
    """`chargetill provision` says so at the top of what it writes."""
    said = (Path(__file__).parents[2] / "README.md").read_text()
    tables = [
        kind
        for kind in vars(sections).values()
        if isinstance(kind, type)
        and issubclass(kind, sections.Table)
        and kind not in (sections.Table, sections.Lab)
    ]
    keys = {f.encode_name for kind in [*tables, Rules] for f in msgspec.structs.fields(kind)}
    assert keys - set(re.findall(r"[a-z_]+", said)) == set()
