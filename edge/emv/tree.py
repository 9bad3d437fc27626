"""BER-TLV as a person and a script may see it: named, nested, and scrubbed."""

from __future__ import annotations

import msgspec

from edge.emv import dol, tags, tlv
from edge.emv.hexdump import shown
from edge.emv.pan import HIDDEN
from edge.emv.scrub import scrub
from edge.emv.tlv import Tlv


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One data object.

    `length` is in bytes. A constructed object has `children` and no `value`; a data object list has `objects`,
    the tags and lengths that it asks for. `value` is upper-case hex; where `scrubbed` is true, it is what may be
    shown of card data. `text` is the value of an object that holds text.
    """

    tag: str
    name: str | None
    length: int
    value: str | None = None
    text: str | None = None
    scrubbed: bool = False
    objects: tuple[Wanted, ...] | None = None
    children: tuple[Node, ...] | None = None


class Wanted(msgspec.Struct, frozen=True):
    """An entry of a data object list."""

    tag: str
    name: str | None
    length: int


def describe(data: bytes) -> tuple[Node, ...]:
    """The tree of `data`. Raises TlvError."""
    return tuple(_node(each) for each in tlv.parse(data))


def outline(nodes: tuple[Node, ...], indent: str = "") -> str:
    """The tree as text: a line for each object, children further in."""
    lines = []
    for node in nodes:
        words = [f"{indent}{node.tag}", node.name or "(unknown)", f"[{node.length}]"]
        if node.value is not None:
            words.append(node.value + (f' "{node.text}"' if node.text is not None else ""))
        lines.append("  ".join(words).rstrip())
        lines += (
            f"{indent}  asks for {each.tag}  {each.name or '(unknown)'}  [{each.length}]"
            for each in node.objects or ()
        )
        if node.children:
            lines.append(outline(node.children, indent + "  "))
    return "\n".join(lines)


def _node(each: Tlv) -> Node:
    name = tags.NAMES.get(each.tag)
    if each.constructed:
        children = tuple(_node(child) for child in each.children)
        return Node(tag=each.tag, name=name, length=len(each.value), children=children)
    value = shown(each.tag, each.value)
    hidden = HIDDEN in value
    return Node(
        tag=each.tag,
        name=name,
        length=len(each.value),
        value=value,
        text=None if hidden else _text(each),
        scrubbed=hidden,
        objects=_wanted(each),
    )


def _text(each: Tlv) -> str | None:
    if each.tag not in tags.TEXT:
        return None
    text = each.value.decode("latin-1")
    return scrub(text) if text.isprintable() else None


def _wanted(each: Tlv) -> tuple[Wanted, ...] | None:
    """None where the list is not one: that is for whoever uses it to refuse, the tree shows its bytes."""
    if each.tag not in dol.LISTS:
        return None
    try:
        entries = dol.parse(each.value)
    except tlv.TlvError:
        return None
    return tuple(Wanted(e.tag, tags.NAMES.get(e.tag), e.length) for e in entries)
