"""The contract's documents are what the code does, and enough to write a receiver from."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sqlite3
from datetime import UTC, datetime

import jsonschema
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import TillError
from edge.sync.contract import document
from edge.sync.contract.authorization import (
    AuthorizationRequest,
    Granted,
    Refused,
    read_answer,
    read_request,
)
from edge.sync.contract.messages import Ack, MessageInvalid, Need, State, read_ack, read_state
from edge.sync.contract.orders import RemoteStop, read_order, read_reply
from edge.sync.contract.signed import open_signed
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


README = (document.HERE.parent / "README.md").read_text()


class Stranger:
    """A receiver by the README alone: paho, json, hashlib, and the rule that stands there in Python."""

    def __init__(self, port: int) -> None:
        self.lines: dict[tuple[str, str], dict] = {}
        rule: dict = {"json": json, "sha256": hashlib.sha256}
        (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        exec(code, rule)
        self.rule = rule["receive"]
        self.client = Client(CallbackAPIVersion.VERSION2, client_id="stranger", manual_ack=True)
        self.client.on_connect = lambda client, *_: client.subscribe(
            [("till/v1/+/+/tx", 1), ("till/v1/+/+/state", 1)]
        )
        self.client.on_message = self.heard
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def line(self, device: str, epoch: str) -> dict:
        return self.lines.setdefault((device, epoch), {"upto": 0, "head": "0" * 64, "entries": {}})

    def heard(self, client: Client, _data: object, message) -> None:
        _, _, site, device, channel = message.topic.split("/")
        acks = []
        if channel == "tx":
            by_epoch: dict[str, list[bytes]] = {}
            for raw in message.payload.split(b"\n"):
                by_epoch.setdefault(json.loads(raw)["epoch"], []).append(raw)
            acks = [self.rule(self.line(device, epoch), raws) for epoch, raws in by_epoch.items()]
        elif (position := json.loads(message.payload).get("position")) is not None:
            line = self.line(device, position["epoch"])
            acks = [{"epoch": position["epoch"], "upto": line["upto"], "head": line["head"]}]
            if message.retain and position["seq"] > line["upto"]:
                acks[0]["need"] = {"from": line["upto"] + 1}
        for ack in acks:
            client.publish(f"till/v1/{site}/{device}/ack", json.dumps(ack), qos=1)
        client.ack(message.mid, message.qos)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_a_receiver_written_from_the_readme_alone_gets_everything(make_till, broker, wait) -> None:
    till, other = make_till("one", device="d1"), make_till("two", device="d2")
    till.write(500)
    till.connect(broker.address)
    other.connect(broker.address)
    stranger = Stranger(broker.port)
    wait(lambda: till.uplink.status().acknowledged == 501)
    broker.kill()
    till.write(20)
    broker.restart()
    till.new_epoch()
    till.write()
    other.write(30)
    wait(lambda: till.uplink.status().waiting == other.uplink.status().waiting == 0)
    assert till.rolled_back == other.rolled_back == []
    ends = {key: (line["upto"], line["head"]) for key, line in stranger.lines.items()}
    assert ends["d1", till.store.head.epoch] == (till.store.head.seq, till.store.head.hash)
    assert ends["d2", other.store.head.epoch] == (31, other.store.head.hash)
    assert sorted(upto for upto, _ in ends.values()) == [2, 31, 521]
    stranger.close()


def _signed_by_the_readme(payload: dict, key: Ed25519PrivateKey) -> bytes:
    """`BASE64URL({"alg":"EdDSA","kid":...}).BASE64URL(payload).BASE64URL(signature)`"""

    def part(raw: bytes) -> bytes:
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    public = key.public_key().public_bytes_raw()
    header = {"alg": "EdDSA", "kid": hashlib.sha256(public).hexdigest()[:16]}
    signed = part(json.dumps(header).encode()) + b"." + part(json.dumps(payload).encode())
    return signed + b"." + part(key.sign(signed))


def test_an_order_and_a_permission_written_from_the_readme_alone_are_believed() -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    keys = {hashlib.sha256(bytes.fromhex(public)).hexdigest()[:16]: public}
    examples = [json.loads(x) for x in re.findall(r"```json\n(.*?)```", README, re.DOTALL) if "stream" in x]
    order = read_order(open_signed(_signed_by_the_readme(examples[0], key), keys))
    assert (order.version, order.order) == (7, RemoteStop(session_id="..."))
    (answers,) = [x for x in re.findall(r"```json\n(.*?)```", README, re.DOTALL) if '"granted"' in x]
    decoder, found = json.JSONDecoder(), []
    while answers.strip():
        value, end = decoder.raw_decode(answers.strip())
        found.append(read_answer(open_signed(_signed_by_the_readme(value, key), keys)).decision)
        answers = answers.strip()[end:]
    assert found == [
        Granted(authorization_id="A1b2c3", account="a-17", limit_minor=3000, currency="EUR"),
        Refused(reason="card_blocked"),
    ]


def test_every_command_and_setting_of_the_readme_is_one_and_the_other_way_round() -> None:
    schemas = json.loads(document.SCHEMAS.read_text())
    tags = {
        d["properties"]["do"]["enum"][0] for d in schemas["$defs"].values() if "do" in d.get("properties", {})
    }
    assert {tag for tag in tags if f"`{tag}`" not in README} == set()
    for field in msgspec.structs.fields(AuthorizationRequest):
        assert f'"{field.encode_name}"' in README


def test_the_examples_of_the_readme_prove_themselves() -> None:
    texts = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    (lines,) = [t.encode().splitlines() for t in texts if "specversion" in t]
    before, schemas = "0" * 64, json.loads(document.SCHEMAS.read_text())
    for number, raw in enumerate(lines, start=1):
        entry = json.loads(raw)
        jsonschema.Draft202012Validator({**schemas, "$ref": "#/$defs/Entry"}).validate(entry)
        assert (entry["seq"], entry["prevhash"]) == (str(number), before)
        before = hashlib.sha256(raw).hexdigest()
    (ack,) = re.findall(r'`({"epoch":"7CHFYKPE","upto":3,[^`]*})`', README)
    assert read_ack(ack.encode()).head == before
    public = bytes.fromhex(json.loads(lines[0])["data"]["public_key"])
    assert public == Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
    said = json.loads(lines[2])["data"]
    message = f"7CHFYKPE:{said['upto']}:{said['head']}".encode()
    Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(said["signature"]), message)

    (signed,) = [t for t in texts if t.count(".") == 2]
    office, token = signed.split()
    header, payload, signature = token.encode().split(b".")
    padded = [
        base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)) for part in (header, payload, signature)
    ]
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(office)).verify(padded[2], header + b"." + payload)
    kid = hashlib.sha256(bytes.fromhex(office)).hexdigest()[:16]
    assert json.loads(padded[0]) == {"alg": "EdDSA", "kid": kid}
    assert read_order(padded[1]).order == RemoteStop(session_id="4f2a")


DEEP = b"[" * 3000 + b"]" * 3000
STRANGE = [b'{"zz":' + DEEP + b"}", b'{"epoch":"\xff","stream":"\xff","id":"\xff","at":"\xff","alg":"\xff"}']


@pytest.mark.parametrize("payload", STRANGE, ids=["deep", "no UTF-8"])
@pytest.mark.parametrize("read", [read_ack, read_state, read_request, read_answer, read_order, read_reply])
def test_whatever_a_message_holds_it_is_read_or_refused_in_words(read, payload) -> None:
    with pytest.raises(TillError):
        read(payload)


@pytest.mark.parametrize("header", STRANGE, ids=["deep", "no UTF-8"])
def test_a_strange_header_is_no_signature(header) -> None:
    with pytest.raises(TillError):
        open_signed(base64.urlsafe_b64encode(header).rstrip(b"=") + b".e30.AAAA", {})


def test_a_reply_that_could_not_be_written_down_is_refused() -> None:
    def nested(depth: int) -> bytes:
        return b"[" * depth + b"]" * depth

    def reply(result: bytes, version: int = 1, part: int = 1) -> bytes:
        number = b'"version":%d,"part":%d' % (version, part)
        return b'{"stream":"cmd",' + number + b',"ok":true,"result":' + result + b"}"

    assert read_reply(reply(nested(32), 2**63 - 1, 1000)).ok
    strange = [reply(nested(depth)) for depth in (34, 500, 3000)]
    strange += [reply(b"1", version=2**63), reply(b"1", part=2**63)]
    for payload in strange:
        with pytest.raises(TillError):
            read_reply(payload)
