"""The base of all facts."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all: `TYPE` is the CloudEvents type, `subject` the session that it belongs to."""

    TYPE: ClassVar[str]

    @property
    def subject(self) -> str | None:
        return None


class SessionFact(Fact, frozen=True, kw_only=True):
    session_id: str

    @property
    def subject(self) -> str | None:
        return self.session_id
