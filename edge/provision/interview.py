"""Questions one by one: each answer is judged at once, kept at once, and offered again after an interruption."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import InputError
from edge.provision import files, toml_text


class Draft:
    """Answers so far, in a file beside the configuration until that is written. Keys are paths: `seller.name`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.table: dict[str, Any] = {}
        if path.exists():
            try:
                self.table = tomllib.loads(path.read_text(encoding="utf-8"))
            except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
                self.table = {}  # a draft that cannot be read is asked for again

    def get(self, key: str) -> Any:
        """The answer to a question, None when it was not asked yet."""
        found: Any = self.table
        for part in key.split("."):
            if isinstance(found, list):
                found = found[int(part)] if int(part) < len(found) else None
            else:
                found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def put(self, key: str, value: Any) -> None:
        """Keep an answer, durably. A number in the key is a place in a list, which grows by one at most."""
        *path, last = key.split(".")
        here: Any = self.table
        for number, part in enumerate(path):
            following = [*path, last][number + 1]
            fresh: Any = [] if following.isdigit() else {}
            if isinstance(here, list):
                if int(part) == len(here):
                    here.append(fresh)
                here = here[int(part)]
            else:
                here = here.setdefault(part, fresh)
        here[last] = value
        self._save()

    def drop(self, key: str) -> None:
        """Forget an answer."""
        self.table.pop(key, None)
        self._save()

    def keep_first(self, key: str, count: int) -> None:
        """Forget what lies behind the first `count` of a list."""
        rows = self.table.get(key)
        if isinstance(rows, list):
            del rows[count:]

    def _save(self) -> None:
        files.write(self._path, toml_text.document(self.table, {}), mode=0o600)

    def done(self) -> None:
        """The configuration is written: the draft has served."""
        self._path.unlink(missing_ok=True)


def judge(kind: type[msgspec.Struct], field: str) -> Callable[[str], Any]:
    """What turns an answer into a field's value. It raises InputError with what would be right."""
    (found,) = (f for f in msgspec.structs.fields(kind) if f.encode_name == field)

    def judged(text: str) -> Any:
        try:
            return msgspec.convert(text.strip(), found.type, strict=False)
        except msgspec.ValidationError as e:
            raise InputError(str(e).replace("Expected", "must be").replace("`", "")) from e

    return judged


def plain(value: Any) -> Any:
    """A value as a file of answers has it."""
    return msgspec.to_builtins(value)
