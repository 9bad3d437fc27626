"""A list of plans comes from an operator's file or from the back office: it is read, or refused in words."""

from __future__ import annotations

import pytest

from edge.errors import ConfigError
from edge.runtime.plans import read_plans


@pytest.mark.parametrize(
    "document",
    [b"", b"{}", b'[{"id":"\xff"}]', b'[{"x":' + b"[" * 3000 + b"]" * 3000 + b"}]"],
    ids=["empty", "no list", "no UTF-8", "deep"],
)
def test_what_is_no_list_of_plans_is_refused_with_its_place(document):
    with pytest.raises(ConfigError, match=r"plans\.json"):
        read_plans(document, "plans.json")
