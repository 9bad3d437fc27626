"""The package's own scripts: they never ask, they never touch the ledger by themselves."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
DEB = (TOP / "scripts" / "deb").read_text()


def maintainer(name):
    """A maintainer script as scripts/deb writes it, with the version filled in as bash does."""
    found = re.search(rf"DEBIAN/{name}\" <<('?)EOF'?\n(.*?)\nEOF\n", DEB, re.DOTALL)
    assert found, name
    text = found[2]
    return text if found[1] else text.replace("$fresh", "1.0-abc").replace("\\$", "$").replace("\\\\", "\\")


NAMES = ["preinst", "postinst", "prerm", "postrm"]


@pytest.mark.parametrize("name", NAMES)
def test_a_maintainer_script_is_sound_and_asks_nothing(name, tmp_path):
    script = tmp_path / name
    script.write_text(maintainer(name))
    done = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert script.read_text().startswith("#!/bin/sh\nset -e\n")
    assert not re.search(r"\b(read|select|debconf|whiptail)\b", script.read_text())


def removed(tmp_path, action, **environment):
    """Run postrm on a root made of folders; which of them are left."""
    for name in ("opt/chargetill", "etc/chargetill", "var/lib/chargetill"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    text = maintainer("postrm")
    for place in ("/opt/", "/etc/", "/var/lib/", "/run/"):
        text = text.replace(f" {place}", f" {tmp_path}{place}")
    script = tmp_path / "postrm"
    script.write_text(text)
    subprocess.run(["sh", str(script), action], check=True, env={**os.environ, **environment})
    return {n for n in ("opt/chargetill", "etc/chargetill", "var/lib/chargetill") if (tmp_path / n).exists()}


def test_a_removal_and_a_purge_keep_configuration_and_ledger(tmp_path):
    kept = {"etc/chargetill", "var/lib/chargetill"}
    assert removed(tmp_path, "remove") == kept
    assert removed(tmp_path, "purge") == kept


def test_only_a_purge_that_is_asked_for_twice_deletes_the_ledger(tmp_path):
    assert removed(tmp_path, "remove", CHARGETILL_DELETE_LEDGER="yes") == {
        "etc/chargetill",
        "var/lib/chargetill",
    }
    assert removed(tmp_path, "purge", CHARGETILL_DELETE_LEDGER="yes") == set()


def test_an_upgrade_keeps_what_it_may_have_to_go_back_to(tmp_path):
    opt = tmp_path / "opt/chargetill"
    old = opt / "versions/0.9-old"
    old.mkdir(parents=True)
    (old / "file").write_text("x")
    (opt / "current").symlink_to(old)
    script = tmp_path / "preinst"
    script.write_text(maintainer("preinst").replace("/opt/chargetill", str(opt)))
    subprocess.run(["sh", str(script), "upgrade", "0.9"], check=True)
    (old / "file").unlink()  # as dpkg does it
    old.rmdir()
    assert (opt / ".before/0.9-old/file").read_text() == "x"
