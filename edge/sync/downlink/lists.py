"""What the back office sent, on disk: members (members.py), documents, and which orders were seen and answered.

A file of its own beside the ledger: it can be lost and sent again, and loading 100,000 members never holds up the
ledger's writer. What must not be lost with it stands in the till's memory too (edge/sync/downlink/memory.py). One
thread writes, and whoever erases somebody; lookups go through a read-only connection of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from edge import log
from edge.domain.identity import IdToken, Member
from edge.store.connection import StoreCorrupt, check_whole, one_commit, open_reader, open_writer, translated
from edge.sync.contract.orders import MemberChanges, MemberPart, Reply
from edge.sync.downlink.aside import lay_aside, remove_laid_aside
from edge.sync.downlink.gate import OrderOld, Seen
from edge.sync.downlink.members import (
    LISTED,
    MEMBER_TABLES,
    VERSION,
    activate,
    erase_members,
    find_member,
    load_part,
    replace_changes,
    sweep_members,
    sweep_rest,
    version_of,
)
from edge.sync.downlink.memory import Memory, NoMemory, Remembered

_TABLES = """
CREATE TABLE IF NOT EXISTS seen (
    slot TEXT PRIMARY KEY, version INTEGER NOT NULL, hash TEXT NOT NULL UNIQUE, reply BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS command (
    version INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, reply BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS document (stream TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
"""

#: Commands whose answers are kept: the back office sends each until it has heard its answer, so a few dozen matter.
_COMMANDS_KEPT = 1000


def open_lists(path: Path, memory: Memory | None = None) -> Lists:
    """What the back office sent. A broken file is laid aside: everything in it is sent again. Raises StoreError."""
    there = path.exists()
    try:
        lists = Lists(path, memory)
    except StoreCorrupt as e:
        log.error("order.lists_lost", error=e)
        lay_aside(path)
        return Lists(path, memory)
    if not there and lists.announced():
        log.error("order.lists_lost", path=str(path), why="it is not there any more")
    return lists


class Lists:
    """See the module. `find` may be called from one other thread than the one that writes.

    A file that turns out to be broken is laid aside at once, and the StoreCorrupt goes on: the till starts anew.
    """

    def __init__(self, path: Path, memory: Memory | None = None) -> None:
        self._path = path
        self._memory = Remembered(NoMemory() if memory is None else memory)
        self._writing = threading.Lock()
        self._db = open_writer(path)
        try:
            self._prepare()
            self._reader = open_reader(path)
            self._remember()
            self._behind = self._is_behind()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        with translated("migrate", self._path):
            check_whole(self._db, self._path)
            # lists are replaced seldom: whoever left one stays in no page of the file
            self._db.execute("PRAGMA secure_delete = ON").fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                for table in ("active", *LISTED):
                    self._db.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in (_TABLES + MEMBER_TABLES).split(";\n"):
                self._db.execute(statement)
            if version != VERSION:
                self._db.execute("DELETE FROM seen WHERE slot LIKE 'members%'")
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    def _remember(self) -> None:
        """What only this file knows: an older version wrote it, or an older ledger was restored beside it."""
        with self._guarded("read"):
            seen = self._db.execute("SELECT slot, version, hash FROM seen").fetchall()
            documents = self._db.execute("SELECT stream, document FROM document").fetchall()
        for slot, version, sha256 in seen:
            self._memory.see_later(slot, Seen(version, sha256))
        for stream, document in documents:
            turn, remembered = self._active(f"turn:{stream}")[0], self._memory.document(stream)
            if remembered is None or remembered[0] < turn:
                self._memory.keep(stream, turn, document)
        version, base = self._active("changes")
        if base is not None and version > self._memory.changes()[0]:
            self._memory.changed(version, base)

    def close(self) -> None:
        self._reader.close()
        self._db.close()

    def announced(self) -> bool:
        """Whether there was a list once, here or in memory."""
        return self._memory.seen("members/list") is not None

    def obey(self, key_ids: Collection[str]) -> None:
        """Whose orders count from now on. Where nobody of before is left, nothing of before counts as seen."""
        if not key_ids:
            return
        anew = self._memory.strangers(key_ids)
        if anew:
            log.event("order.other_office", key_ids=" ".join(sorted(key_ids)))
            with self._transaction():
                for table in ("seen", "command", *LISTED):
                    self._db.execute(f"DELETE FROM {table}")  # noqa: S608  (names are ours)
                self._db.execute("DELETE FROM active WHERE name IN ('members', 'changes')")
        self._memory.obey(key_ids, anew=anew)
        self._behind = self._is_behind()

    def seen(self, slot: str) -> Seen | None:
        """The newest order that was accepted in a slot."""
        with self._guarded("read"):
            row = self._db.execute("SELECT version, hash FROM seen WHERE slot = ?", (slot,)).fetchone()
        here, remembered = None if row is None else Seen(*row), self._memory.seen(slot)
        found = [seen for seen in (here, remembered) if seen is not None]
        return max(found, key=lambda seen: seen.version, default=None)

    def accept(self, slot: str, seen: Seen, reply: Reply) -> None:
        """A document, or a part of a list, is in force or was refused: this is the answer to it from now on."""
        self._memory.see(slot, seen)
        with self._transaction():
            self._see(slot, seen, msgspec.json.encode(reply))

    def begin(self, slot: str, seen: Seen) -> None:
        """From here on this command was seen, whatever happens to us; it has no answer yet."""
        self._memory.see(slot, seen)
        with self._transaction():
            self._see(slot, seen, None)
            self._db.execute("INSERT INTO command (version, hash) VALUES (?, ?)", (seen.version, seen.hash))
            self._db.execute("DELETE FROM command WHERE version <= ?", (seen.version - _COMMANDS_KEPT,))

    def finish(self, reply: Reply) -> None:
        """Keep a command's answer, for the day when it comes again."""
        with self._transaction():
            self._db.execute(
                "UPDATE command SET reply = ? WHERE version = ?", (msgspec.json.encode(reply), reply.version)
            )

    def _see(self, slot: str, seen: Seen, reply: bytes | None) -> None:
        self._db.execute(
            "INSERT INTO seen (slot, version, hash, reply) VALUES (?, ?, ?, ?) ON CONFLICT (slot) "
            "DO UPDATE SET version = excluded.version, hash = excluded.hash, reply = excluded.reply",
            (slot, seen.version, seen.hash, reply),
        )

    def command(self, sha256: str) -> tuple[int, Reply | None] | None:
        """The number of the command that came as this very message, and its answer unless that was never known."""
        with self._guarded("read"):
            row = self._db.execute("SELECT version, reply FROM command WHERE hash = ?", (sha256,)).fetchone()
        return row and (int(row[0]), _reply(row[1]))

    def known(self, sha256: str) -> Reply | None:
        """The answer to the document that came as this very message, if it is the newest of its kind."""
        with self._guarded("read"):
            row = self._db.execute("SELECT reply FROM seen WHERE hash = ?", (sha256,)).fetchone()
        return row and _reply(row[0])

    def keep(self, stream: str, document: str) -> None:
        """A document that is in force from now on, also after a restart."""
        remembered = self._memory.document(stream)
        turn = 1 + max(self._active(f"turn:{stream}")[0], 0 if remembered is None else remembered[0])
        self._memory.keep(stream, turn, document)
        with self._transaction():
            self._db.execute(
                "INSERT INTO document (stream, document) VALUES (?, ?) "
                "ON CONFLICT (stream) DO UPDATE SET document = excluded.document",
                (stream, document),
            )
            activate(self._db, f"turn:{stream}", turn, None)

    def document(self, stream: str) -> str | None:
        """The document in force; None when none was ever sent."""
        remembered = self._memory.document(stream)
        with self._guarded("read"):
            row = self._db.execute("SELECT document FROM document WHERE stream = ?", (stream,)).fetchone()
        if remembered is not None and (row is None or remembered[0] > self._active(f"turn:{stream}")[0]):
            return remembered[1]
        return None if row is None else str(row[0])

    def load(self, version: int, part: MemberPart) -> bool:
        """Store one part of a full list; True when that made the list complete and put it in force.

        Raises OrderOld for a part of a list that is older than the one in force, or than the one that is announced.
        """
        active, announced = self._active("members")[0], self.seen("members/list")
        newest = max(active, 0 if announced is None else announced.version)
        if version < newest:
            raise OrderOld(f"members {version}: there is {newest}")
        with self._transaction():
            complete = load_part(self._db, version, part) and version > active
            if complete:
                activate(self._db, "members", version, None)
        if complete:
            self._sweep(version)
            self._behind = self._is_behind()
        return complete

    def change(self, version: int, changes: MemberChanges) -> None:
        """Replace the changes; they count while the list that they are based on is in force."""
        self._memory.changed(version, changes.base)
        with self._transaction():
            replace_changes(self._db, version, changes)
        self._behind = self._is_behind()

    def _is_behind(self) -> bool:
        """Changes of the list in force are missing here: who was blocked since is not known, so nobody is."""
        version, base = self._memory.changes()
        return base == self._active("members")[0] and version > self._active("changes")[0]

    def erase(self, tokens: Collection[str], account: str | None) -> int:
        """Forget these cards, and everybody of an account; how many there were. From any thread.

        What is still on its way in a list of today does not bring them back; a list that is made later may.
        """
        with self._transaction():
            count = erase_members(self._db, tokens, account)
        # on a connection of its own: the other thread's may be in the middle of something
        with self._writing, self._guarded("fold"), closing(open_writer(self._path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        remove_laid_aside(self._path)
        return count

    def find(self, token: IdToken) -> Member | None:
        """Implements edge.ports.MemberList."""
        if self._behind:
            return None
        with self._guarded("read"):
            return find_member(self._reader, token)

    def in_force(self) -> int:
        """The version of the full list that lookups use; 0 when there is none."""
        return self._active("members")[0]

    def _active(self, name: str) -> tuple[int, int | None]:
        with self._guarded("read"):
            return version_of(self._db, name)

    def _sweep(self, version: int) -> None:
        """Drop what is older than the list in force, a little at a time."""
        swept = False
        while not swept:
            with self._transaction():
                swept = sweep_members(self._db, version)
        with self._transaction():
            sweep_rest(self._db, version)

    @contextmanager
    def _guarded(self, operation: str) -> Iterator[None]:
        try:
            with translated(operation, self._path):
                yield
        except StoreCorrupt:
            lay_aside(self._path)
            raise

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing, self._guarded("write"), one_commit(self._db, self._path):
            yield


def _reply(kept: bytes | None) -> Reply | None:
    return None if kept is None else msgspec.json.decode(kept, type=Reply)
