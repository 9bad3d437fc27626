"""The `[kiosk]` section of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

STATIC = Path(__file__).parent / "static"

#: A language is one file of words; whoever adds one changes no code.
LANGUAGES = tuple(sorted(f.stem for f in (STATIC / "words").glob("*.json")))

#: Where something is, seen from the screen.
Side = Literal["left", "right", "above", "below"]


class KioskOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the driver's screen is served and looks.

    The first of `languages` is shown until a driver chooses another. `reader` is where the card reader is,
    seen from the screen: the arrow points there. `terminal` is the same for a payment terminal, None where it
    stands beside the reader. `support` (such as a phone number) stands under "out of order". Port 0 takes any
    free port.
    """

    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    languages: Annotated[tuple[str, ...], Meta(min_length=1, max_length=6)] = ("en", "de")
    theme: Literal["auto", "light", "dark"] = "auto"
    reader: Side = "right"
    terminal: Side | None = None
    support: Annotated[str, Meta(max_length=60)] = ""

    def __post_init__(self) -> None:
        for language in self.languages:
            if language not in LANGUAGES:
                raise ValueError(f"no words for language {language!r}; there are {', '.join(LANGUAGES)}")
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("a language stands twice in `languages`")
