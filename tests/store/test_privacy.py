"""Who it was can be forgotten at any time; the journal says the same before and after."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from edge.domain.session.state import EvseState
from edge.store.privacy import Erasure, ErasureUnclear, erase, expire, has_expired
from edge.store.reading import Reading


def tokens(one):
    return [t for (t,) in one.store._connection.execute("SELECT token FROM personal ORDER BY rowid")]


def erased(one, **wanted):
    done = one.commit(lambda tx: erase(tx, Erasure(**wanted)))
    one.store.fold().result(60)
    return done


def on_disk(one):
    return b"".join(f.read_bytes() for f in one.folder.glob("till.db*") if f.stat().st_size)


@pytest.fixture
def visited(till):
    one = till()
    for card in "ABA":
        one.sell(card)
    return one


def test_a_card_is_forgotten_everywhere_and_the_chain_still_verifies(visited):
    one = visited
    token = tokens(one)[0]
    other = tokens(one)[1]
    before = one.verified()
    assert token.encode() in on_disk(one)
    done = erased(one, token=token)
    assert len(done.sessions) == 2
    assert tokens(one) == [other]
    assert token.encode() not in on_disk(one)
    assert one.verified() == before
    assert before.problems == ()


def test_the_last_sessions_card_is_forgotten_at_its_evse_too(visited):
    one = visited
    (saved,) = one.store._connection.execute("SELECT state FROM evse").fetchone()
    last = msgspec.json.decode(saved, type=EvseState).last
    erased(one, session_id=last.finished.session_id)
    (saved,) = one.store._connection.execute("SELECT state FROM evse").fetchone()
    assert msgspec.json.decode(saved, type=EvseState).last is None


def test_an_account_loses_all_its_sessions_and_counters(visited):
    one = visited
    with Reading(one.file) as db:
        first = db.sessions()[0]
    token = tokens(one)[0]
    from edge.domain.identity import IdToken

    one.commit(lambda tx: tx.raise_sun_counter(IdToken(kind="sun", value=token, key_id="k"), 7, one.now()))
    done = erased(one, account=first["account"])
    assert (len(done.sessions), done.counters) == (2, 1)
    assert erased(one, account=first["account"]).counters == 0


def test_an_account_loses_what_the_back_office_granted_to_it_too(visited):
    one = visited
    card, other = tokens(one)[:2]
    with Reading(one.file) as db:
        granted = db.sessions()[-1]["session_id"]
    ref = one.store._connection.execute(
        "SELECT payment_ref FROM payment WHERE session_id = ?", (granted,)
    ).fetchone()[0]
    one.commit(lambda tx: tx.keep_account(ref, "a-18"))
    one.restart()
    assert b"a-18" in on_disk(one)
    done = erased(one, account="a-18")
    assert (done.sessions, done.tokens) == ((granted,), (card,))
    assert tokens(one) == [card, other]
    assert b"a-18" not in on_disk(one)
    one.commit(lambda tx: tx.keep_account(ref, "a-18"))
    assert erased(one, account="a-18").sessions == (), "an answer that comes after the erasure names nobody"
    assert one.verified().problems == ()


def test_an_open_session_keeps_its_card_until_it_has_ended(till):
    one = till()
    one.charger.tap("C")
    one.charger.deliver()
    (token,) = tokens(one)
    done = erased(one, token=token)
    assert (done.sessions, len(done.open_sessions)) == ((), 1)
    assert tokens(one) == [token]


@pytest.mark.parametrize("wanted", [{}, {"token": "t", "account": "a"}])
def test_an_erasure_names_one_thing(till, wanted):
    with pytest.raises(ErasureUnclear):
        till().commit(lambda tx: erase(tx, Erasure(**wanted)))


def test_after_its_time_a_token_goes_by_itself(visited):
    one = visited
    now = one.now().utc
    assert not has_expired(one.store._connection, now - timedelta(days=1))
    assert one.commit(lambda tx: expire(tx, now - timedelta(days=1))) == 0
    assert has_expired(one.store._connection, now)
    assert one.commit(lambda tx: expire(tx, now)) == 3
    assert tokens(one) == []
    assert one.verified().problems == ()
