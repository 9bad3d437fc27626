"""Inside a booted Debian root, as root: install, hang, restart, upgrade and rollback, all with a session running.

Called by scripts/nspawn through a unit of its own. Needs nothing but Debian's python3 and the folder /trial, which
holds the packages `good.deb`, `better.deb` and `broken.deb`, the world's code under `site`, and this file. Says
`ok NAME` or `FAILED NAME: why` for each step in /trial/result, and `end` at the end.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import traceback
from pathlib import Path
from typing import Any

TRIAL = Path("/trial")
ETC = Path("/etc/chargetill")
PATIENCE_S = 90

ANSWERS = """
[device]
site = "trial"
name = "till-1"
[seller]
name = "Stadtwerke"
address = "Platz 1"
country = "DE"
tax_id = "DE1"
[site]
address = "Parkplatz 1"
time_zone = "Europe/Berlin"
[tariff]
price_per_kwh = "0.49"
[membership]
key_id = "op-1"
members_from = "/trial/members.toml"
[clock]
trust = "always"
[[evse]]
id = "DE*T*1"
label = "A"
meter = { port = "tcp://127.0.0.1:7701" }
charge_point = { driver = "heidelberg", port = "tcp://127.0.0.1:7702" }
"""
MEMBERS = '[[member]]\naccount = "A-1"\nuid = "04A1B2C3D4E5F6"\nlimit_minor = 6000\n'


class Failed(Exception):
    """A step did not do what it should."""


def run(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)
    if check and done.returncode:
        raise Failed(f"{' '.join(arguments)} -> {done.returncode}: {done.stdout[-800:]} {done.stderr[-800:]}")
    return done.stdout


def till(*arguments: str) -> Any:
    return json.loads(run("runuser", "-u", "chargetill", "--", "chargetill", *arguments, "--json"))


def world(command: str) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", 7700), 30) as s:
        s.settimeout(60)
        s.sendall(command.encode() + b"\n")
        return json.loads(s.makefile().readline())


def shown(*properties: str) -> dict[str, str]:
    text = run("systemctl", "show", "chargetill", "-p", ",".join(properties))
    return dict(line.split("=", 1) for line in text.splitlines())


def until(what: str, condition: Any, within_s: float = PATIENCE_S) -> Any:
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        try:
            found = condition()
        except (Failed, OSError, ValueError):
            found = None
        if found:
            return found
        time.sleep(0.5)
    raise Failed(f"{what}: not within {within_s:g} s")


def sessions() -> list[dict[str, Any]]:
    return till("session", "list")


def one_session_charging(session_id: str | None = None) -> str:
    until("power flows", lambda: world("state")["power_w"] > 1000)
    (session,) = sessions()
    if session["status"] == "ended" or (session_id is not None and session["session_id"] != session_id):
        raise Failed(f"the session is {session}")
    return session["session_id"]


def installed() -> str:
    return Path("/opt/chargetill/current").resolve().name


# --- the steps, in order -------------------------------------------------------------------------------------------


def install() -> None:
    run("dpkg", "-i", "/trial/good.deb")
    if shown("UnitFileState")["UnitFileState"] != "enabled":
        raise Failed("the unit is not enabled")


def provision() -> None:
    (TRIAL / "answers.toml").write_text(ANSWERS)
    (TRIAL / "members.toml").write_text(MEMBERS)
    subprocess.Popen(["/usr/bin/python3", "/trial/world.py"], env={**os.environ, "PYTHONPATH": "/trial/site"})
    state = until("the world", lambda: world("state"))
    run("chargetill", "provision", "--answers", "/trial/answers.toml")
    config = ETC / "config.toml"
    lab = f'\n[[reader]]\ndriver = "nfc"\npath = "{state["reader"]}"\nvirtual = true\n[lab]\nvirtual = true\n'
    config.write_text(config.read_text() + lab)
    for path in (config, ETC / "operator.key"):
        if path.stat().st_mode & 0o007:
            raise Failed(f"{path} is readable by everybody")
    till("config", "check")


def start() -> None:
    run("systemctl", "start", "chargetill")
    if shown("ActiveState")["ActiveState"] != "active":
        raise Failed("not active after start")


def doctor() -> None:
    done = subprocess.run(["chargetill", "doctor", "--json"], capture_output=True, text=True, check=False)
    wrong = [c for c in json.loads(done.stdout)["checks"] if c["result"] == "fail"]
    if wrong:
        raise Failed(str(wrong))


def exposure() -> None:
    text = run("systemd-analyze", "security", "--no-pager", "chargetill.service")
    found = re.search(r"exposure level for \S+:\s+([0-9.]+)", text)
    figure = float(found[1]) if found else None
    if figure is None or figure > 2.0:
        raise Failed(f"exposure {figure}")


def fields() -> None:
    """What happened is a field in the journal, from inside the hardened service."""
    found = until(
        "the entry",
        lambda: run("journalctl", "-o", "json", "-n", "1", "CHARGETILL_EVENT=till.ready", "--no-pager"),
    )
    entry = json.loads(found)
    if entry["CHARGETILL_DEVICE"] != "till-1" or entry["_SYSTEMD_UNIT"] != "chargetill.service":
        raise Failed(found)


def charge() -> None:
    world("tap")
    until("authorized", sessions)
    world("plug")
    one_session_charging()


def hang() -> None:
    """A stopped process: the watchdog ends it, the contactor opens, it comes back, the session goes on."""
    session_id = one_session_charging()
    before = shown("MainPID", "NRestarts")
    zeros = world("state")["zeros"]
    os.kill(int(before["MainPID"]), 19)
    until("the watchdog", lambda: shown("NRestarts")["NRestarts"] != before["NRestarts"])
    until("active again", lambda: shown("ActiveState")["ActiveState"] == "active")
    if world("state")["zeros"] <= zeros:
        raise Failed("nobody opened the contactor")
    log = run("journalctl", "-u", "chargetill", "-o", "cat", "--no-pager", "-n", "200")
    if "atchdog timeout" not in log:
        raise Failed("it was not the watchdog")
    one_session_charging(session_id)


def kill() -> None:
    """SIGKILL: ExecStopPost opens the contactor before anything else."""
    session_id = one_session_charging()
    before = shown("MainPID", "NRestarts")
    zeros = world("state")["zeros"]
    os.kill(int(before["MainPID"]), 9)
    until("opened by ExecStopPost", lambda: world("state")["zeros"] > zeros, 10)
    until("restarted", lambda: shown("NRestarts")["NRestarts"] != before["NRestarts"])
    until("active again", lambda: shown("ActiveState")["ActiveState"] == "active")
    one_session_charging(session_id)


def many_crashes() -> None:
    """No start limit: also the eighth crash in a row is followed by a start."""
    for _ in range(8):
        run("systemctl", "kill", "-s", "KILL", "chargetill")
        until("active again", lambda: shown("ActiveState", "SubState")["SubState"] == "running", 60)
    one_session_charging()


def upgrade() -> None:
    session_id, before = one_session_charging(), installed()
    run("dpkg", "-i", "/trial/better.deb")
    if installed() == before:
        raise Failed("the version is the same")
    one_session_charging(session_id)


def rollback(package: str = "broken") -> None:
    session_id, before = one_session_charging(), installed()
    os.environ["CHARGETILL_READY_S"] = "20"
    done = subprocess.run(
        ["dpkg", "-i", f"/trial/{package}.deb"], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        raise Failed("a version that never becomes ready was taken for good")
    if installed() != before:
        raise Failed(f"{installed()} is current: {done.stdout[-1500:]} {done.stderr[-500:]}")
    until("active again", lambda: shown("ActiveState")["ActiveState"] == "active")
    one_session_charging(session_id)


def rollback_of_the_ledger() -> None:
    """The new version changed the tables before it failed: the old one gets the file that it can read."""
    rollback("newer")
    if not list(Path("/var/lib/chargetill").glob("till.db.of-failed-upgrade")):
        raise Failed("the tables were not changed, or what the new version wrote is gone")


def invoice() -> None:
    world("unplug")
    found = until("the invoice", lambda: till("invoice", "list"))
    if len(found) != 1 or len(sessions()) != 1:
        raise Failed(f"{len(found)} invoices, {len(sessions())} sessions")
    if till("ledger", "verify")["problems"]:
        raise Failed("the ledger has problems")
    billed, flowed = sessions()[0]["energy_wh"], world("state")["energy_wh"]
    if not billed or abs(billed - flowed) > 2:
        raise Failed(f"billed {billed} Wh of {flowed} Wh")


def credentials() -> None:
    """The keys as credentials of systemd: root's files, copies in memory for the service alone."""
    run("systemctl", "stop", "chargetill")
    config = ETC / "config.toml"
    before = config.read_text()
    config.write_text(before.replace('"operator.key"', '"/run/credentials/chargetill.service/operator.key"'))
    folder = Path("/run/systemd/system/chargetill.service.d")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "keys.conf").write_text("[Service]\nLoadCredential=operator.key:/etc/chargetill/operator.key\n")
    os.chown(ETC / "operator.key", 0, 0)
    try:
        run("systemctl", "daemon-reload")
        run("systemctl", "start", "chargetill")
    finally:
        (folder / "keys.conf").unlink()
        config.write_text(before)
        run("chown", "chargetill:", str(ETC / "operator.key"))
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "chargetill", check=False)


def remove() -> None:
    entries = till("ledger", "verify")["entries"]
    run("dpkg", "--purge", "chargetill")
    if not entries or not Path("/var/lib/chargetill/till.db").exists() or not (ETC / "config.toml").exists():
        raise Failed("the ledger or the configuration is gone")
    if Path("/opt/chargetill").exists():
        raise Failed("the program is still there")


STEPS = (
    install, provision, start, doctor, exposure, fields, charge, hang, kill, many_crashes, upgrade, rollback,
    rollback_of_the_ledger, invoice, credentials, remove,
)  # fmt: skip


def main() -> None:
    with (TRIAL / "result").open("a", buffering=1) as result:
        for step in STEPS:
            name, began = step.__name__.replace("_", " "), time.monotonic()
            try:
                step()
            except Exception as e:  # noqa: BLE001  (whatever went wrong is the answer)
                trace = "" if isinstance(e, Failed) else traceback.format_exc().replace("\n", " | ")
                result.write(f"FAILED {name}: {e} {trace}\n")
                log = run(
                    "journalctl", "-u", "chargetill", "-n", "40", "--no-pager", "-o", "cat", check=False
                )
                (TRIAL / f"journal-{step.__name__}").write_text(log)
                if step in {install, provision, start}:
                    break
            else:
                result.write(f"ok {name} ({time.monotonic() - began:.0f} s)\n")
        result.write("end\n")


if __name__ == "__main__":
    main()
