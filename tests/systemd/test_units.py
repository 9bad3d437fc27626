"""The units and rules as systemd and udev themselves read them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = ["chargetill.service", "chargetill-kiosk.service"]


def here(text):
    """With programs that exist on this computer; systemd-analyze looks for them."""
    return re.sub(r"^(ExecSt\w+=-?)/\S+", r"\1/bin/true", text, flags=re.MULTILINE)


def verified(folder, *names):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(str(folder / n) for n in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stderr.splitlines() if str(folder) in line]


@pytest.fixture
def units(tmp_path):
    """Both services, as systemd would be given them."""
    assert shutil.which("systemd-analyze"), "systemd is not installed (apt-get install systemd)"
    for name in SERVICES:
        (tmp_path / name).write_text(here((UNITS / name).read_text()))
    return tmp_path


def test_the_service_exposes_at_most_two_out_of_ten(units):
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=20",
            "--no-pager",
            str(units / SERVICES[0]),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_has_a_line_that_systemd_does_not_know(units, name):
    assert verified(units, name) == []


def test_keys_can_come_as_credentials(units):
    """What the drop-in adds is understood, and exposes no more."""
    text = (units / "chargetill.service").read_text()
    more = (UNITS / "chargetill-credentials.conf").read_text().partition("[Service]\n")[2]
    (units / "chargetill.service").write_text(text.replace("\n[Install]", f"{more}\n[Install]"))
    assert verified(units, "chargetill.service") == []


def lines(name):
    return (UNITS / name).read_text().splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_it_is_restarted_for_ever(name):
    assert "StartLimitIntervalSec=0" in lines(name)
    assert "Restart=always" in lines(name)


def test_a_till_that_hangs_is_noticed_and_its_contactors_are_opened():
    text = (UNITS / "chargetill.service").read_text()
    assert "Type=notify" in text
    assert "WatchdogSec=10\n" in text
    (last,) = re.findall(r"^ExecStopPost=(.+)$", text, re.MULTILINE)
    assert last.startswith("-"), "an opening that fails must not keep the till from starting again"
    assert last.endswith(" open-contactors")


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_waits_for_a_network(name):
    for line in lines(name):
        if line.startswith(("Requires=", "After=", "BindsTo=", "Wants=")):
            assert "network" not in line


def test_every_program_of_the_units_is_where_the_installer_puts_it():
    for line in lines("chargetill.service"):
        if line.startswith("Exec"):
            assert (
                line.partition("=")[2].removeprefix("-").startswith("/opt/chargetill/current/bin/chargetill ")
            )


def test_the_screen_is_another_user_who_reaches_this_machine_only():
    text = (UNITS / "chargetill-kiosk.service").read_text()
    assert "User=chargetill-kiosk" in text
    assert "IPAddressDeny=any" in text
    assert "IPAddressAllow=localhost" in text


def test_users_and_folders_are_understood(tmp_path):
    for program, name in (
        ("systemd-sysusers", "chargetill.sysusers"),
        ("systemd-tmpfiles", "chargetill.tmpfiles"),
    ):
        (tmp_path / "etc").mkdir(exist_ok=True)
        arguments = [program, f"--root={tmp_path}", *(["--create"] if "tmpfiles" in program else [])]
        conf = tmp_path / name
        shutil.copy(UNITS / name, conf)
        done = subprocess.run([*arguments, str(conf)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "var/lib/chargetill").stat().st_mode & 0o777 == 0o700
    assert "chargetill-kiosk:" in (tmp_path / "etc/passwd").read_text()


def test_udev_rules_keep_to_the_grammar():
    """Every line is key operator value, every GOTO has its LABEL (udev(7))."""
    text = (UNITS / "60-chargetill.rules").read_text()
    part = re.compile(r'^(?:[A-Z]+(?:\{[^}]+\})?)(?:==|!=|=|\+=)"[^"]*"$')
    for line in text.splitlines():
        if line and not line.startswith("#"):
            assert all(part.match(p.strip()) for p in line.split(",")), line
    assert set(re.findall(r'GOTO="(\w+)"', text)) == set(re.findall(r'LABEL="(\w+)"', text))
    assert 'ENV{ID_MM_DEVICE_IGNORE}="1"' in text
