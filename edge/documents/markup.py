"""XML as text: elements that are empty are left out, what XML cannot carry is dropped."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

_NOT_IN_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def text(name: str, value: object | None, **attributes: str) -> str:
    """`<name>value</name>`, or nothing for None and for an empty text."""
    if value is None or value == "":
        return ""
    content = escape(_NOT_IN_XML.sub("", str(value)))
    return f"<{name}{_attributes(attributes)}>{content}</{name}>"


def node(name: str, *children: str, **attributes: str) -> str:
    """An element around others, or nothing where all of them are empty."""
    content = "".join(children)
    return f"<{name}{_attributes(attributes)}>{content}</{name}>" if content else ""


def _attributes(attributes: dict[str, str]) -> str:
    return "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
