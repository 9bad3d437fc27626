"""The installer in a folder: what goes where, twice the same, and what an uninstallation leaves alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge import __version__

TOP = Path(__file__).parents[2]
PARTS = ("edge", "hw", "scripts", "systemd", "pyproject.toml", "requirements.txt", "README.md", "LICENSE")


def install(*arguments, code=0, top=TOP):
    done = subprocess.run(
        ["bash", str(top / "scripts/install"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "PYTHON": sys.executable},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The checkout as it is now, whatever is edited meanwhile."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in PARTS:
        source = TOP / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory, checkout):
    """A root with the daemon in it, without its optional parts."""
    folder = tmp_path_factory.mktemp("root")
    install("--root", folder, "--extras", "ocmf", top=checkout)
    return folder


def current(root):
    return root / str((root / "opt/chargetill/current").readlink()).lstrip("/")


def test_a_wrong_call_names_the_help_and_touches_nothing(tmp_path):
    for words in (["--name"], ["--bogus"], ["--root", tmp_path / "r", "--wheels"]):
        assert "--help" in install(*words, code=2).stderr
    assert install("--help").stdout.startswith("Installs this checkout")
    assert not list(tmp_path.iterdir())


def test_the_program_runs_from_the_place_where_it_will_stand(root):
    version = current(root)
    first = (version / "bin/chargetill").read_text().splitlines()[0]
    assert first == f"#/opt/chargetill/versions/{version.name}/bin/python".replace("#", "#!", 1)
    done = subprocess.run(
        [version / "bin/python", "-m", "edge", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.stdout == f"chargetill, version {__version__}\n"
    assert version.name.startswith(f"{__version__}-")
    assert str((root / "usr/bin/chargetill").readlink()) == "/opt/chargetill/current/bin/chargetill"


def test_no_path_of_the_building_place_stays_in_the_scripts(root):
    for file in (current(root) / "bin").iterdir():
        if not file.is_symlink():
            assert str(root) not in file.read_text(errors="replace"), file.name
    assert not (current(root) / "bin/pip").exists()


def test_units_and_rules_are_in_place(root):
    for file in (
        "systemd/system/chargetill.service",
        "systemd/system/chargetill-kiosk.service",
        "udev/rules.d/60-chargetill.rules",
        "polkit-1/rules.d/50-chargetill-pcscd.rules",
        "sysusers.d/chargetill.conf",
        "tmpfiles.d/chargetill.conf",
        "modprobe.d/chargetill.conf",
    ):
        assert (root / "etc" / file).is_file(), file


def test_a_second_installation_changes_nothing(root, checkout):
    def seen():
        return {
            p: p.lstat().st_mtime_ns
            for p in (root / "opt").rglob("*")
            if not p.is_dir() and "__pycache__" not in p.parts and p.name != "current"
        }

    before = seen()
    install("--root", root, "--extras", "ocmf", top=checkout)
    assert seen() == before


def test_uninstalling_keeps_the_ledger_and_purging_wants_two_words(root, tmp_path):
    copy = tmp_path / "root"
    shutil.copytree(root, copy, symlinks=True, ignore=shutil.ignore_patterns("lib"))
    for name in ("etc/chargetill/config.toml", "var/lib/chargetill/till.db"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("precious")
    install("--root", copy, "--uninstall")
    assert not (copy / "opt/chargetill").exists()
    assert not list((copy / "etc").rglob("*chargetill*.service"))
    assert (copy / "var/lib/chargetill/till.db").read_text() == "precious"
    refused = install("--root", copy, "--purge", code=2)
    assert "--delete-ledger" in refused.stderr
    assert (copy / "etc/chargetill/config.toml").exists()
    install("--root", copy, "--purge", "--delete-ledger")
    assert not (copy / "var/lib/chargetill").exists()


SCRIPTS = sorted(p for p in (TOP / "scripts").iterdir() if p.is_file())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_every_script_is_one_that_its_shell_understands(script):
    first = script.read_text().splitlines()[0]
    if re.match(r"#!.*\bbash", first):
        done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert script.stat().st_mode & 0o111
