"""What a decommissioned device leaves behind, also when its power goes in between."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.domain.ledger.checks import Checker
from edge.domain.ledger.envelope import Entry, digest, open_envelope
from edge.provision import retire
from edge.store.reading import Reading
from edge.store.store import StoreInUse
from edge.store.verification import verify
from tests.store.conftest import Till


class PowerCut(BaseException):
    """Nothing runs any more."""


@pytest.fixture
def till(tmp_path):
    made = Till(tmp_path)
    made.sell("A")
    made.store.rotate_key(made.now()).result(60)
    made.sell("B")
    made.store.decommission("r", made.now()).result(60)
    yield made
    made.store.close()


def exported(path, public_key):
    """Whoever has the export and the public key, and nothing else."""
    checker = Checker(public_key=public_key)
    for line in path.read_bytes().splitlines():
        envelope = open_envelope(line)
        checker.add(
            Entry(
                epoch=envelope.epoch,
                seq=int(envelope.seq),
                type=envelope.type,
                subject=envelope.subject,
                raw=line,
                hash=digest(line),
            )
        )
    return checker.report()


def test_the_export_proves_itself_with_the_public_key_alone(till, tmp_path):
    handed = retire.hand_over(till.file, tmp_path / "out")
    key = (tmp_path / "out" / "public.key").read_text().strip()
    assert key == till.store._key.public_hex, "that of the successor"
    report = exported(tmp_path / "out" / "ledger.ndjson", key)
    assert (report.problems, report.invoices) == ((), 2)
    assert handed.report.problems == ()


@pytest.mark.parametrize("step", range(8))
def test_a_power_cut_at_any_step_of_the_handover_leaves_nothing_torn(till, tmp_path, monkeypatch, step):
    folder, left = tmp_path / "out", [step]

    def cut(run):
        def maybe(*arguments, **how):
            left[0] -= 1
            if left[0] < 0:
                raise PowerCut
            return run(*arguments, **how)

        return maybe

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cut(Path.replace))
        patched.setattr(os, "fsync", cut(os.fsync))
        with pytest.raises(PowerCut):
            retire.hand_over(till.file, folder)
    if (folder / "till.db").exists():
        with Reading(folder / "till.db") as copy:
            assert verify(copy).problems == ()
    retire.hand_over(till.file, folder)
    names = {"till.db", "ledger.ndjson", "public.key", "verify.json"}
    assert names <= {f.name for f in folder.iterdir()}
    assert exported(folder / "ledger.ndjson", (folder / "public.key").read_text().strip()).problems == ()


def config(folder):
    (folder / "tls.key").write_text("secret")
    (folder / "till.lists.db").write_text("secret")
    (folder / "operator.key").write_text("secret")
    (folder / "ledger.key").write_text("secret")
    tls = SimpleNamespace(key=str(folder / "tls.key"))
    return SimpleNamespace(
        database=folder / "till.db",
        key=folder / "ledger.key",
        members_key_file=folder / "operator.key",
        sun_keys_file=None,
        mqtt=SimpleNamespace(tls=tls, password_file=None),
    )


@pytest.mark.parametrize("step", range(4))
def test_keys_go_one_by_one_the_ledgers_last_and_an_interrupted_run_is_finished(tmp_path, monkeypatch, step):
    place = config(tmp_path)
    keys, left = (*retire.lists_of(place), *retire.keys_of(place)), [step]
    unlink = Path.unlink

    def cut(path, **how):
        left[0] -= 1
        if left[0] < 0:
            raise PowerCut
        unlink(path, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", cut)
        with pytest.raises(PowerCut):
            retire.destroy(keys)
    assert (tmp_path / "ledger.key").exists()
    assert sum(b"secret" in f.read_bytes() for f in tmp_path.iterdir()) == 3 - step
    retire.destroy(keys)
    assert list(tmp_path.iterdir()) == []
    assert retire.destroy(keys) == ()


def test_a_key_that_cannot_be_removed_is_named(tmp_path):
    (tmp_path / "ledger.key").mkdir()
    with pytest.raises(retire.KeysRemain, match=r"ledger\.key"):
        retire.destroy((tmp_path / "ledger.key",))


@pytest.mark.parametrize("step", range(3))
def test_what_a_killed_till_had_only_in_its_log_goes_aside_with_the_ledger(till, tmp_path, monkeypatch, step):
    folder = tmp_path / "killed"
    folder.mkdir()
    for name in ("till.db", "till.db-wal"):
        (folder / name).write_bytes((tmp_path / name).read_bytes())
    left, replace = [step], Path.replace

    def cut(path, target):
        left[0] -= 1
        if left[0] < 0:
            raise PowerCut
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cut)
        with pytest.raises(PowerCut):
            retire.lay_aside_handed_over(folder / "till.db", key_id="another")
    old = retire.lay_aside_handed_over(folder / "till.db", key_id="another")
    assert old is not None
    with Reading(old) as copy:
        assert (copy.stats()["closed"], verify(copy).problems) == ("decommissioned", ())


def test_a_device_without_its_keys_begins_a_new_ledger_and_keeps_the_old_one_aside(till):
    epoch, key_id = till.store.head.epoch, till.store.key_id
    with pytest.raises(StoreInUse):
        retire.lay_aside_handed_over(till.file, key_id="another")
    till.store.close()
    assert retire.lay_aside_handed_over(till.file, key_id=key_id) is None, "it goes on in its own"
    old = retire.lay_aside_handed_over(till.file, key_id="another")
    assert (old.name, till.file.exists()) == (f"till-{epoch}.db", False)
    with Reading(old) as copy:
        assert verify(copy).problems == ()
    assert retire.lay_aside_handed_over(till.file, key_id="another") is None
    till.file = old
