"""The contract as documents: JSON Schemas of every message and entry, and an AsyncAPI 3 description.

python -m edge.sync.contract.document        # writes schemas.json and asyncapi.json beside this file
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edge.domain.ledger.envelope import Envelope
from edge.domain.ledger.facts import FACTS
from edge.sync.contract.authorization import AuthorizationReply, AuthorizationRequest
from edge.sync.contract.messages import Ack, State
from edge.sync.contract.orders import Order, Reply

HERE = Path(__file__).parent
SCHEMAS = HERE / "schemas.json"
ASYNCAPI = HERE / "asyncapi.json"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAME = "1 to 64 characters of A-Z a-z 0-9 _ -"
_REF = "#/$defs/{name}"

#: What is not an entry.
_MESSAGES = ("Ack", "State", "Order", "Reply", "AuthorizationRequest", "AuthorizationReply")

#: Fields that let this engine price a session again; their inside is no promise to anyone.
_OPAQUE = {"accrual", "bill"}

_RETAINED = {"state", "documents"}

#: What is extra in an entry: strings that are numbers, and hashes (msgspec knows them as plain strings).
_ENVELOPE = {
    "specversion": {"const": "1.0"},
    "epoch": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    "seq": {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"},
    "prevhash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "keyid": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    "monotonicns": {"type": "string", "pattern": "^[0-9]{1,19}$"},
}


def _unknown(kind: type) -> dict[str, Any]:
    """What msgspec writes through a hook of ours: exact numbers as strings."""
    return {"type": "string", "description": kind.__name__}


def schemas() -> dict[str, Any]:
    """One document with a definition per message, per kind of entry (under its CloudEvents type) and per part."""
    kinds = list(FACTS.values())
    refs, parts = msgspec.json.schema_components(
        [Envelope, Ack, State, Order, Reply, AuthorizationRequest, AuthorizationReply, *kinds],
        schema_hook=_unknown,
        ref_template=_REF,
    )
    definitions: dict[str, Any] = dict(sorted(parts.items()))
    definitions["Envelope"]["properties"] |= _ENVELOPE
    definitions["Envelope"]["properties"]["data"] = {"type": "object"}
    entry = {
        "allOf": [
            refs[0],
            *(
                {
                    "if": {"properties": {"type": {"const": kind.TYPE}}},
                    "then": {"properties": {"data": {"$ref": f"#/$defs/{kind.TYPE}"}}},
                }
                for kind in kinds
            ),
        ]
    }
    for kind in kinds:
        definition = definitions[kind.TYPE] = definitions.pop(kind.__name__)
        for name in _OPAQUE & definition["properties"].keys():
            definition["properties"][name] = {"description": "the pricing engine's own; keep it as it is"}
    document = {
        "$schema": _DIALECT,
        "title": "Chargetill: messages between a till and its back office",
        "$defs": {"Entry": entry, **_reached(entry, definitions)},
    }
    _unfold(document)
    return document


def _reached(entry: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The definitions that something refers to, sorted by name."""
    found: dict[str, Any] = {}
    waiting: list[Any] = [entry, *({"$ref": _REF.format(name=name)} for name in _MESSAGES)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).removeprefix(_REF.format(name=""))
            if name in definitions and name not in found:
                found[name] = definitions[name]
                waiting.append(found[name])
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return dict(sorted(found.items()))


def _unfold(node: Any) -> None:
    """Descriptions come from docstrings: their line breaks and indentation mean nothing here."""
    if isinstance(node, list):
        for part in node:
            _unfold(part)
    elif isinstance(node, dict):
        text = node.get("description")
        if isinstance(text, str):
            node["description"] = " ".join(text.split())
        for part in node.values():
            _unfold(part)


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0, written from the back office's side: it receives `tx` and `state` and sends `ack`."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Chargetill sync",
            "version": "1.0.0",
            "description": "The rules that no schema can express are in edge/sync/README.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "tx": _channel("tx", "entries", "Journal entries, NDJSON of one or more lines."),
            "state": _channel("state", "state", "Retained health, and the last will."),
            "ack": _channel("ack", "ack", "What is booked."),
            "cmd": _channel("cmd", "order", "Commands for one device."),
            "reply": _channel("reply", "reply", "What became of an order."),
            "authorize": _channel("authorize", "request", "May whoever stands here charge?"),
            "authorization": _channel("authorization", "answer", "The answer to that."),
            "documents": {
                **_channel("", "order", "Documents for every device of a site, each on a topic of its own."),
                "address": "till/v1/{site}/{document}",
                "parameters": {
                    "site": {"description": _NAME},
                    "document": {
                        "description": "tariff, plans, members/list, members/changes, members/{version}/{part}"
                    },
                },
            },
        },
        "operations": {
            "receiveEntries": _operation("receive", "tx", "Book each entry once, then acknowledge."),
            "receiveState": _operation("receive", "state", "Keep it, and answer with an acknowledgement."),
            "sendAck": _operation("send", "ack", "After the commit, before the PUBACK."),
            "sendCommand": _operation("send", "cmd", "Again and again until it is answered."),
            "receiveReply": _operation("receive", "reply", "The first answer to a command counts."),
            "receiveRequest": _operation(
                "receive", "authorize", "Answer it in time, the same way each time."
            ),
            "sendAnswer": _operation("send", "authorization", "To the device that asked."),
            "publishDocument": _operation("send", "documents", "The newest version replaces the others."),
        },
        "components": {
            "messages": {
                "entries": _message("Entry", "application/x-ndjson", "One CloudEvents JSON per line."),
                "state": _message("State", "application/json", "The till's state."),
                "ack": _message("Ack", "application/json", "The acknowledgement."),
                "order": _message("Order", "application/jose", "JWS (compact, EdDSA) of this payload."),
                "reply": _message("Reply", "application/json", "The answer to an order."),
                "request": _message("AuthorizationRequest", "application/json", "A request with a deadline."),
                "answer": _message(
                    "AuthorizationReply", "application/jose", "JWS (compact, EdDSA) of this payload."
                ),
            }
        },
    }


def _channel(name: str, message: str, description: str) -> dict[str, Any]:
    return {
        "address": f"till/v1/{{site}}/{{device}}/{name}",
        "description": description,
        "parameters": {
            "site": {"description": _NAME},
            "device": {"description": _NAME},
        },
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "bindings": {"mqtt": {"qos": 1, "retain": channel in _RETAINED, "bindingVersion": "0.2.0"}},
    }


def _message(schema: str, content_type: str, summary: str) -> dict[str, Any]:
    return {
        "contentType": content_type,
        "summary": summary,
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"schemas.json#/$defs/{schema}"},
        },
    }


def text(document: dict[str, Any]) -> str:
    """As it is checked in."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


if __name__ == "__main__":
    SCHEMAS.write_text(text(schemas()), encoding="utf-8")
    ASYNCAPI.write_text(text(asyncapi()), encoding="utf-8")
