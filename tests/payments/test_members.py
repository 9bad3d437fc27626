"""The device's own list of members, as an installer writes it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edge.domain.identity import uid_token
from edge.errors import ConfigError
from edge.payments.members import FileMembers

KEY = b"k" * 32
UID = "04A1B2C3D4E5F6"


def load(tmp_path, text):
    file = tmp_path / "members.toml"
    file.write_text(text)
    return FileMembers.load(file, key=KEY, key_id="k", currency="EUR")


def test_a_card_is_found_by_its_token_with_group_and_last_moment(tmp_path):
    members = load(
        tmp_path,
        f'[[member]]\naccount = "A-1"\nuid = "{UID}"\nlimit_minor = 6000\ngroup = "staff"\n'
        "valid_until = 2027-01-01T00:00:00+01:00\n",
    )
    found = members.find(uid_token(bytes.fromhex(UID), key=KEY, key_id="k"))
    assert (found.account, found.group, found.limit_minor) == ("A-1", "staff", 6000)
    assert found.valid_until == datetime(2026, 12, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    "wrong",
    ['valid_until = "2027-01-01"', "valid_until = 2027-01-01T00:00:00", "valid_until = 1", "valid = true"],
)
def test_a_last_moment_without_its_offset_is_refused_with_its_place(tmp_path, wrong):
    with pytest.raises(ConfigError) as found:
        load(tmp_path, f'[[member]]\naccount = "A-1"\nuid = "{UID}"\nlimit_minor = 6000\n{wrong}\n')
    assert any("member[0]" in problem for problem in found.value.problems)
