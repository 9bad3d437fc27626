"""Certificates and access rules: a device can be itself, and nobody else."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.backoffice.access import AccessError, Authority, rules
from edge.backoffice.options import BackofficeOptions
from edge.backoffice.receiver import Receiver
from edge.sync.contract.topics import Peer
from edge.sync.options import TlsOptions
from hw.virtual.broker import Mosquitto

D1, D2 = Peer("s1", "d1"), Peer("s1", "d2")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority.open(tmp_path / "ca")
    made.issue_broker(("127.0.0.1", "localhost"))
    made.issue_backoffice()
    made.issue_device(D1)
    made.issue_device(D2)
    return made


@pytest.fixture
def guarded(authority: Authority) -> Iterator[Mosquitto]:
    broker = Mosquitto.start()
    broker.stop()
    _guard(broker, authority)
    yield broker
    broker.stop()


def _guard(broker: Mosquitto, authority: Authority) -> None:
    conf = authority.write_mosquitto(broker.port, address="127.0.0.1")
    broker.lines = tuple(conf.read_text().splitlines())
    broker.restart()


def _tls(authority: Authority, name: str) -> TlsOptions:
    folder = authority.folder
    return TlsOptions(ca=f"{folder}/ca.pem", cert=f"{folder}/{name}.pem", key=f"{folder}/{name}.key")


def test_a_device_with_its_certificate_syncs(make_till, guarded, authority, back_office, wait) -> None:
    back_office(guarded.address, tls=_tls(authority, "backoffice"))
    till = make_till(tls=_tls(authority, "device-s1.d1"))
    till.write(50)
    till.connect(guarded.address)
    wait(lambda: till.uplink.status().acknowledged == 51)


def test_a_device_cannot_write_for_another(make_till, guarded, authority, back_office, wait) -> None:
    office = back_office(guarded.address, tls=_tls(authority, "backoffice"))
    impostor = make_till(device="d1", tls=_tls(authority, "device-s1.d2"))
    impostor.connect(guarded.address)
    wait(lambda: "Not authorized" in (impostor.uplink.status().trouble or ""), "the refusal")
    assert office.stats().entries == 0


def test_a_device_cannot_listen_to_another(guarded, authority, wait) -> None:
    heard: list[str] = []
    spy = Client(CallbackAPIVersion.VERSION2, client_id="spy", protocol=MQTTProtocolVersion.MQTTv5)
    tls = _tls(authority, "device-s1.d2")
    spy.tls_set(ca_certs=tls.ca, certfile=tls.cert, keyfile=tls.key)
    subscribed: list[object] = []
    spy.on_connect = lambda client, *_: client.subscribe([("till/v1/s1/d1/ack", 1), ("till/v1/s1/d2/ack", 1)])
    spy.on_subscribe = lambda _c, _d, _m, codes, _p: subscribed.append(codes)
    spy.on_message = lambda _c, _d, message: heard.append(message.topic)
    spy.connect("127.0.0.1", guarded.port)
    office = Client(CallbackAPIVersion.VERSION2, client_id="office", protocol=MQTTProtocolVersion.MQTTv5)
    own = _tls(authority, "backoffice")
    office.tls_set(ca_certs=own.ca, certfile=own.cert, keyfile=own.key)
    office.connect("127.0.0.1", guarded.port)
    for client in (spy, office):
        client.loop_start()
    try:
        wait(lambda: subscribed)
        for device in ("d1", "d2"):
            office.publish(f"till/v1/s1/{device}/ack", b"{}", qos=1).wait_for_publish(20)
        wait(lambda: heard)
        assert heard == ["till/v1/s1/d2/ack"]
    finally:
        for client in (spy, office):
            client.disconnect()
            client.loop_stop()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda a, _: a.issue_broker(("127.0.0.1",), days=-2), "expired"),
        (lambda a, _: a.issue_broker(("elsewhere.example",)), "mismatch"),
        (lambda _, other: other.issue_broker(("127.0.0.1",)), "unable to get local issuer certificate"),
    ],
    ids=["expired", "another host", "another CA"],
)
def test_a_broker_that_cannot_prove_itself_is_refused_with_a_clear_line(
    make_till, authority, wait, tmp_path, spoil: Callable[[Authority, Authority], Path], says
) -> None:
    broker = Mosquitto.start()
    broker.stop()
    other = Authority.open(tmp_path / "other")
    file = spoil(authority, other)
    _guard(broker, authority)
    broker.stop()
    key = file.with_suffix(".key")
    broker.lines = tuple(
        f"certfile {file}" if x.startswith("certfile") else f"keyfile {key}" if x.startswith("keyfile") else x
        for x in broker.lines
    )
    broker.restart()
    till = make_till(tls=_tls(authority, "device-s1.d1"))
    till.connect(broker.address)
    wait(lambda: "sync.certificate" in (till.uplink.status().trouble or ""), "the refusal")
    assert says in till.uplink.status().trouble
    broker.stop()


@pytest.mark.parametrize("kind", ["none", "expired", "foreign", "self-signed", "revoked"])
def test_a_device_that_cannot_prove_itself_is_refused_with_a_clear_line(
    make_till, guarded, authority, wait, tmp_path, kind
) -> None:
    match kind:
        case "none":
            tls = TlsOptions(ca=f"{authority.folder}/ca.pem")
        case "expired":
            authority.issue_device(D1, days=-2)
            tls = _tls(authority, "device-s1.d1")
        case "self-signed":
            own = Authority.open(tmp_path / "own")
            tls = TlsOptions(
                ca=f"{authority.folder}/ca.pem", cert=f"{own.folder}/ca.pem", key=f"{own.folder}/ca.key"
            )
        case "revoked":
            kept = {x: (authority.folder / f"device-s1.d1.{x}").read_bytes() for x in ("pem", "key")}
            assert authority.revoke(D1) == 1
            for x, content in kept.items():
                (tmp_path / f"stolen.{x}").write_bytes(content)
            guarded.stop()
            _guard(guarded, authority)
            tls = TlsOptions(
                ca=f"{authority.folder}/ca.pem",
                cert=f"{tmp_path}/stolen.pem",
                key=f"{tmp_path}/stolen.key",
            )
        case _:
            other = Authority.open(tmp_path / "other")
            other.issue_device(D1)
            theirs = _tls(other, "device-s1.d1")
            tls = TlsOptions(ca=f"{authority.folder}/ca.pem", cert=theirs.cert, key=theirs.key)
    till = make_till(tls=tls)
    till.connect(guarded.address)
    wait(lambda: "sync.certificate" in (till.uplink.status().trouble or ""), "the refusal")


@pytest.mark.parametrize("kind", ["expired", "foreign", "self-signed"])
def test_a_back_office_that_cannot_prove_itself_or_trust_its_broker_says_so(
    guarded, authority, tmp_path, wait, kind
) -> None:
    ca = f"{authority.folder}/ca.pem"
    match kind:
        case "expired":
            authority.issue_backoffice(days=-2)
            tls = _tls(authority, "backoffice")
        case "self-signed":
            own = Authority.open(tmp_path / "own").folder
            tls = TlsOptions(ca=ca, cert=f"{own}/ca.pem", key=f"{own}/ca.key")
        case _:
            tls = TlsOptions(ca=f"{Authority.open(tmp_path / 'own').folder}/ca.pem")
    options = BackofficeOptions(
        db=str(tmp_path / "b.db"), brokers=(guarded.address,), tls=tls, retry_s=0.1, retry_max_s=0.5
    )
    receiver = Receiver(options)
    thread = threading.Thread(target=receiver.run, daemon=True)
    thread.start()
    wait(lambda: "sync.certificate" in receiver._attachments[0].trouble, "the refusal")
    receiver.stop()
    thread.join(60)


def test_a_revoked_device_is_heard_no_more_as_soon_as_the_broker_rereads(
    make_till, guarded, authority, back_office, wait
) -> None:
    office = back_office(guarded.address, tls=_tls(authority, "backoffice"))
    tills = {
        name: make_till(name, device=name, tls=_tls(authority, f"device-s1.{name}")) for name in ("d1", "d2")
    }
    for till in tills.values():
        till.connect(guarded.address)

    def count(name: str) -> int:
        return sum(device.entries for device in office.stats().devices if device.device == name)

    wait(lambda: count("d1") == count("d2") == 1)
    assert authority.revoke(D1) == 1
    assert authority.devices() == (D2,)
    authority.write_mosquitto(guarded.port, address="127.0.0.1")
    guarded.reread()
    wait(lambda: tills["d1"].write() or "Not authorized" in (tills["d1"].uplink.status().trouble or ""))
    tills["d2"].write()
    wait(lambda: count("d2") == 2)  # what had been on its way has arrived as well
    booked = count("d1")
    for till in tills.values():
        till.write()
    wait(lambda: count("d2") == 3)
    assert count("d1") == booked


def test_a_device_that_never_had_a_certificate_cannot_be_revoked(authority) -> None:
    with pytest.raises(AccessError, match="s1/d9 has no certificate"):
        authority.revoke(Peer("s1", "d9"))


def test_a_certificate_file_that_is_not_there_is_a_clear_line(make_till, wait) -> None:
    till = make_till(tls=TlsOptions(ca="/nowhere/ca.pem"))
    till.connect("127.0.0.1:1")
    wait(lambda: "No such file" in (till.uplink.status().trouble or ""))


def test_private_keys_are_for_their_owner_only(authority) -> None:
    assert {file.stat().st_mode & 0o777 for file in authority.folder.glob("*.key")} == {0o600}


def test_the_rules_name_each_device_and_no_wildcard_for_it() -> None:
    blocks = rules((D1, D2)).split("\n\n")
    assert len(blocks) == 3
    for device, block in zip((D1, D2), blocks[1:], strict=True):
        lines = block.strip().splitlines()
        assert lines[0] == f"user {device.site}.{device.device}"
        assert all(line.split()[1] in {"read", "write"} for line in lines[1:])
        assert not any("+" in line for line in lines)
        writes = [line.split()[2] for line in lines if line.startswith("topic write")]
        assert all(topic.startswith(f"till/v1/s1/{device.device}/") for topic in writes)


def test_the_same_folder_keeps_its_authority(authority) -> None:
    again = Authority.open(authority.folder)
    assert again.devices() == (D1, D2)
    ssl.create_default_context(cafile=str(again.folder / "ca.pem"))
