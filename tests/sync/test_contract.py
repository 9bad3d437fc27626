"""The contract's documents are what the code does, and enough to write a receiver from."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import UTC, datetime

import jsonschema
import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import TillError
from edge.sync.contract import document
from edge.sync.contract.messages import Ack, MessageInvalid, Need, State, read_ack, read_state
from edge.sync.contract.topics import NameInvalid, Peer, of_topic, peer

ADVICE = "run `python -m edge.sync.contract.document` and look at what changed for receivers"


def _meaning(node):
    """Without the descriptions: a docstring that is worded better is no other contract."""
    if isinstance(node, dict):
        return {k: _meaning(v) for k, v in node.items() if k != "description" or not isinstance(v, str)}
    return [_meaning(part) for part in node] if isinstance(node, list) else node


def test_the_documents_are_what_the_message_types_say() -> None:
    for file, now in ((document.SCHEMAS, document.schemas()), (document.ASYNCAPI, document.asyncapi())):
        checked_in = json.loads(file.read_text())
        assert _meaning(checked_in) == _meaning(json.loads(document.text(now))), ADVICE


def test_every_reference_in_the_documents_leads_somewhere() -> None:
    schemas = json.loads(document.SCHEMAS.read_text())
    jsonschema.Draft202012Validator.check_schema(schemas)

    def refs(node):
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            node = node.values()
        elif not isinstance(node, list):
            return
        for value in node:
            yield from refs(value)

    asyncapi = json.loads(document.ASYNCAPI.read_text())
    for here, reference in [*((schemas, r) for r in refs(schemas)), *((asyncapi, r) for r in refs(asyncapi))]:
        file, _, path = reference.partition("#/")
        found = schemas if file == "schemas.json" else here
        for part in path.split("/"):
            found = found[part]


def test_entries_as_they_are_sent_fit_their_schema(till) -> None:
    till.write(2)
    schemas = json.loads(document.SCHEMAS.read_text())
    validator = jsonschema.Draft202012Validator({**schemas, "$ref": "#/$defs/Entry"})
    with sqlite3.connect(till.database) as db:
        raws = [json.loads(raw) for (raw,) in db.execute("SELECT raw FROM entry ORDER BY seq")]
    for raw in raws:
        validator.validate(raw)
    broken = {**raws[0], "data": {**raws[0]["data"], "public_key": 7}}
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(broken)


def test_messages_fit_their_schema_and_come_back_as_they_were() -> None:
    schemas = json.loads(document.SCHEMAS.read_text())
    ack = Ack(epoch="E1", upto=3, head="ab" * 32, need=Need(from_=4), quarantined=(2,))
    state = State(online=False, at=datetime(2026, 6, 1, tzinfo=UTC), reason="stopped")
    for name, message, read in (("Ack", ack, read_ack), ("State", state, read_state)):
        payload = msgspec.json.encode(message)
        jsonschema.Draft202012Validator({**schemas, "$ref": f"#/$defs/{name}"}).validate(json.loads(payload))
        assert read(payload) == message


def test_a_receiver_may_write_its_numbers_as_strings() -> None:
    assert read_ack(json.dumps({"epoch": "E1", "upto": "3", "head": "ab" * 32}).encode()).upto == 3


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"null", b"\xff", b'{"epoch":"a b","upto":1,"head":"x"}', b" " * 70_000]
)
def test_what_is_no_acknowledgement_is_refused_with_a_code(payload) -> None:
    with pytest.raises(MessageInvalid) as refused:
        read_ack(payload)
    assert isinstance(refused.value, TillError)


def test_names_cannot_reach_into_other_topics() -> None:
    assert peer("s1", "d-1_X").topic("tx") == "till/v1/s1/d-1_X/tx"
    for bad in ("", "a/b", "+", "#", "ä", "a" * 65, "a b", "$SYS", "a\n"):
        with pytest.raises(NameInvalid):
            peer(bad, "d1")
        assert of_topic(f"till/v1/s1/{bad}/tx") is None
    assert of_topic("till/v1/s1/d1/tx") == (Peer("s1", "d1"), "tx")
    assert of_topic("till/v2/s1/d1/tx") is None


def test_a_receiver_written_from_the_readme_alone_gets_everything(till, broker, wait) -> None:
    stored: dict[str, dict[int, tuple[str, str, bytes]]] = {}
    ends: dict[str, tuple[int, str]] = {}

    def receive(client: Client, _data: object, message) -> None:
        touched = set()
        for line in message.payload.split(b"\n"):
            event = json.loads(line)
            epoch, seq = event["epoch"], int(event["seq"])
            known = stored.setdefault(epoch, {})
            known.setdefault(seq, (event["prevhash"], hashlib.sha256(line).hexdigest(), line))
            upto, head = ends.get(epoch, (0, "0" * 64))
            while upto + 1 in known and known[upto + 1][0] == head:
                upto, head = upto + 1, known[upto + 1][1]
            ends[epoch] = upto, head
            touched.add(epoch)
        _, _, site, device, _ = message.topic.split("/")
        for epoch in touched:
            upto, head = ends[epoch]
            ack = json.dumps({"epoch": epoch, "upto": upto, "head": head})
            client.publish(f"till/v1/{site}/{device}/ack", ack, qos=1)
        client.ack(message.mid, message.qos)

    stranger = Client(CallbackAPIVersion.VERSION2, client_id="stranger", manual_ack=True)
    stranger.on_connect = lambda client, *_: client.subscribe("till/v1/+/+/tx", qos=1)
    stranger.on_message = receive
    stranger.connect("127.0.0.1", broker.port)
    stranger.loop_start()
    till.write(500)
    till.connect(broker.address)
    wait(lambda: till.uplink.status().acknowledged == 501)
    till.write()
    wait(lambda: till.uplink.status().acknowledged == 502)
    assert ends[till.store.head.epoch] == (502, till.store.head.hash)
    stranger.disconnect()
    stranger.loop_stop()
