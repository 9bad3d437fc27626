"""Prometheus' text format, version 0.0.4: one family of samples under its help and type. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

#: What the answer is: https://prometheus.io/docs/instrumenting/exposition_formats/
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge"]
Labels = tuple[tuple[str, str], ...]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. A sample that is not known is left out: 0 would be a statement."""

    name: str
    kind: Kind
    help: str
    samples: tuple[tuple[Labels, int | float | None], ...]


def family(name: str, kind: Kind, text: str, value: float | bool | None) -> Family:  # noqa: FBT001
    """A metric with one sample and no labels."""
    return Family(name=name, kind=kind, help=text, samples=(((), value),))


def exposition(families: Iterable[Family]) -> bytes:
    """The whole answer; a family without a known sample is left out."""
    lines: list[str] = []
    for found in families:
        known = [(labels, value) for labels, value in found.samples if value is not None]
        if not known:
            continue
        lines.append(f"# HELP {found.name} {_escaped(found.help)}")
        lines.append(f"# TYPE {found.name} {found.kind}")
        lines += [f"{found.name}{_labels(labels)} {_number(value)}" for labels, value in known]
    return ("\n".join(lines) + "\n").encode()


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, (bool, int)) else repr(value)
