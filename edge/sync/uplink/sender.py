"""Sends the journal over one connection after the other, and takes what the back office says about it.

Lives on the uplink's thread. `pump` sends as much as the windows allow; `heard` takes an acknowledgement;
`tick` does what time demands. All times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec

from edge import log
from edge.errors import LedgerError
from edge.sync.contract.messages import Ack, Position
from edge.sync.link import Link
from edge.sync.options import UplinkOptions
from edge.sync.retry import Resend
from edge.sync.uplink.lines import Line, Verdict, book, judge
from edge.sync.uplink.outbox import Outbox, messages
from edge.sync.uplink.watermark import Watermark

#: A lower acknowledgement may be an old one that was overtaken; after this without a higher one it is true.
DOUBT_S = 1.0

#: The back office may ask for a gap this often; more would let it make us send without end.
NEED_INTERVAL_S = 1.0


class RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """The back office has booked what this device does not hold: it runs on an old copy. Stop selling.

    `ahead`: it booked up to `acknowledged`, we hold up to `held`. `diverged`: its entry has another hash.
    """

    epoch: str
    reason: Literal["ahead", "diverged"]
    held: int
    acknowledged: int
    head: str


class Sender:
    """See the module."""

    def __init__(
        self,
        outbox: Outbox,
        watermark: Watermark,
        options: UplinkOptions,
        topic: str,
        on_rolled_back: Callable[[RolledBack], None],
    ) -> None:
        self._outbox = outbox
        self._watermark = watermark
        self._options = options
        self._topic = topic
        self._on_rolled_back = on_rolled_back
        self._resend = Resend(options.resend_s, options.resend_max_s)
        self._doubts: dict[str, tuple[int, str, float]] = {}
        self._needed_at: dict[str, float] = {}
        self._complained: set[tuple[str, str, int]] = set()
        self._messages_max = options.messages_max
        self._bytes_max = options.batch_bytes
        self.lines: list[Line] = outbox.lines()
        #: the last thing that went wrong with the entries, for people
        self.trouble: str | None = None

    def refresh(self) -> None:
        """Look what was committed since: newer entries, and a newer epoch."""
        if self.lines:
            self._look(self.lines[-1])
        if self._outbox.epochs() == len(self.lines):
            return
        known = {line.epoch: line for line in self.lines}
        for fresh in self._outbox.lines():
            line = known.get(fresh.epoch)
            if line is None:
                self.lines.append(fresh)
                continue
            # an epoch that turned out to be an old copy is closed now: the new one carries what was stuck in it
            line.halted, line.settled = False, fresh.settled
            if fresh.settled:
                line.last = line.acked = line.sent = fresh.last
        self.trouble = None

    def _look(self, line: Line) -> None:
        """A line never shrinks: its end may be pruned."""
        line.last = max(line.last, self._outbox.last(line.epoch))

    @property
    def waiting(self) -> int:
        """Entries without acknowledgement."""
        return sum(line.last - line.acked for line in self.lines)

    @property
    def awaits_answer(self) -> bool:
        """Whether something is under way that a back office could acknowledge."""
        return any(line.under_way and not line.halted and not line.settled for line in self.lines)

    def position(self) -> Position | None:
        """For the state message."""
        if not self.lines:
            return None
        newest = self.lines[-1]
        return Position(
            epoch=newest.epoch,
            seq=newest.last,
            head=self._outbox.hash_of(newest.epoch, newest.last) or "0" * 64,
            acknowledged=newest.acked,
            waiting=self.waiting,
            oldest_waiting_at=self._oldest(),
        )

    def _oldest(self) -> datetime | None:
        line = next((line for line in self.lines if line.acked < line.last), None)
        return None if line is None else self._outbox.time_of(line.epoch, line.acked + 1)

    def attached(self, messages_max: int | None, bytes_max: int | None) -> None:
        """A new connection, with what its broker takes at once; nothing of the last one counts any more."""
        self._messages_max = self._options.messages_max
        if messages_max is not None:
            # state and answers go out beside the entries
            self._messages_max = max(1, min(self._messages_max, messages_max - _BESIDE))
        # a PUBLISH adds its topic, lengths and number to the payload
        room = None if bytes_max is None else bytes_max - len(self._topic) - 32
        self._bytes_max = min(self._options.batch_bytes, room or self._options.batch_bytes)
        self._rewind()

    def refused(self, reason: str) -> None:
        """The broker (MQTT 5) would not take entries; the resend timer tries again."""
        if self.trouble is None:
            log.error("sync.publish_refused", topic=self._topic, reason=reason)
        self.trouble = f"the broker refuses to take entries: {reason}"

    def pump(self, link: Link, now: float) -> None:
        """Send what is committed and not under way, oldest first, as far as the windows allow."""
        for line in self.lines:
            while line.unsent > 0 and self._send(link, line):
                pass
        if any(line.under_way for line in self.lines):
            self._resend.start(now)

    def _send(self, link: Link, line: Line) -> bool:
        """The next messages of a line, from one reading; False when there is no room or nothing to send."""
        free = self._messages_max - link.in_flight
        room = self._options.window - sum(each.under_way for each in self.lines)
        rows_max = min(room, free * self._options.batch, _READ_ROWS)
        if rows_max <= 0:
            return False
        try:
            rows = self._outbox.read(line.epoch, line.sent, rows_max=rows_max, bytes_max=_READ_BYTES)
        except LedgerError as e:
            line.halted = True
            self.trouble = e.message
            log.error("sync.cannot_resend", error=e, epoch=line.epoch, after=line.sent)
            return False
        for message in messages(rows, rows_max=self._options.batch, bytes_max=self._bytes_max):
            if link.in_flight >= self._messages_max:
                break
            link.publish(self._topic, b"\n".join(message))
            line.sent += len(message)
        return bool(rows)

    def heard(self, ack: Ack, now: float) -> bool:
        """An acknowledgement. True when a fresh state should go out, so that the back office says it again."""
        line = next((line for line in self.lines if line.epoch == ack.epoch), None)
        if line is None:
            self._complain(
                "unknown_epoch", ack.epoch, 0, "the back office acknowledges an epoch we never had"
            )
            return False
        if line.settled:
            return False
        if ack.upto > line.last:
            self._look(line)
        verdict = judge(line, ack, self._outbox.hash_of(ack.epoch, ack.upto))
        self._name_bad(ack, now)
        match verdict:
            case Verdict.PROGRESS:
                self._progress(line, ack.upto, ack.head, now)
            case Verdict.BEHIND:
                return self._doubt(line, ack, now)
            case Verdict.AHEAD | Verdict.DIVERGED:
                self._contradiction(line, ack, verdict, now)
                return False
            case Verdict.SAME:
                pass
        self._doubts.pop(line.epoch, None)
        if ack.need is not None:
            self._need(line, ack.need.from_, now)
        return False

    def _progress(self, line: Line, upto: int, head: str, now: float) -> None:
        self._watermark.rise(line.epoch, upto, head, rows=upto - line.acked, at=now)
        book(line, upto)
        self.trouble = None
        self._resend.progress(now, waiting=any(each.under_way for each in self.lines))

    def _doubt(self, line: Line, ack: Ack, now: float) -> bool:
        first = line.epoch not in self._doubts
        since = now if first else self._doubts[line.epoch][2]
        self._doubts[line.epoch] = (ack.upto, ack.head, since)
        return first

    def _need(self, line: Line, start: int, now: float) -> None:
        if now - self._needed_at.get(line.epoch, -NEED_INTERVAL_S) < NEED_INTERVAL_S:
            return
        self._needed_at[line.epoch] = now
        line.sent = max(line.acked, min(line.sent, start - 1))

    def _contradiction(self, line: Line, ack: Ack, verdict: Verdict, now: float) -> None:
        newest = line is self.lines[-1]
        if verdict is Verdict.AHEAD and not newest:
            # a closed epoch from before a restore: the back office has all that we hold, and more
            if line.acked < line.last:
                self._progress(line, line.last, self._outbox.hash_of(line.epoch, line.last) or "", now)
            return
        if line.halted:
            return
        line.halted = True
        reason: Literal["ahead", "diverged"] = "ahead" if verdict is Verdict.AHEAD else "diverged"
        self.trouble = f"the back office holds another epoch {line.epoch}: {verdict.value}"
        log.error("sync.rolled_back", epoch=line.epoch, reason=reason, held=line.last, acknowledged=ack.upto)
        if newest:
            self._on_rolled_back(
                RolledBack(
                    epoch=line.epoch, reason=reason, held=line.last, acknowledged=ack.upto, head=ack.head
                )
            )

    def _name_bad(self, ack: Ack, now: float) -> None:
        if ack.refused is not None:
            self.trouble = f"the back office refuses entry {ack.refused.seq}: {ack.refused.reason}"
            if self._complain("refused", ack.epoch, ack.refused.seq, ack.refused.reason):
                self._watermark.refuse(ack.epoch, ack.refused.seq, ack.refused.reason, at=now)
        for seq in ack.quarantined:
            self._complain("quarantined", ack.epoch, seq, "the back office could not read it")

    def _complain(self, what: str, epoch: str, seq: int, reason: str) -> bool:
        """Whether it was news."""
        if (what, epoch, seq) in self._complained or len(self._complained) >= _COMPLAINTS_MAX:
            return False
        self._complained.add((what, epoch, seq))
        log.error(f"sync.{what}", epoch=epoch, seq=seq, reason=reason)
        return True

    def tick(self, now: float, *, in_transit: bool = False) -> None:
        """Send again what nobody acknowledged, believe what was not contradicted, write down what is due.

        `in_transit`: the broker has not taken everything yet. On a slow line that lasts; nothing is lost by it, and
        sending it again would only make it slower.
        """
        for epoch, (upto, head, since) in list(self._doubts.items()):
            if now >= since + DOUBT_S:
                self._restored(epoch, upto, head, now)
        if in_transit:
            self._resend.hold(now)
        else:
            self._resend.arrived()
        if self._resend.expired(now):
            self._rewind()
        self._watermark.write(now)

    def _restored(self, epoch: str, upto: int, head: str, now: float) -> None:
        del self._doubts[epoch]
        line = next(line for line in self.lines if line.epoch == epoch)
        log.warning("sync.backoffice_restored", epoch=epoch, upto=upto, was=line.acked)
        line.rewind(upto)
        self._watermark.fall(epoch, upto, head, at=now)

    def _rewind(self) -> None:
        for line in self.lines:
            line.rewind()

    def next_at(self) -> float | None:
        """When `tick` has something to do."""
        times = [since + DOUBT_S for _, _, since in self._doubts.values()]
        times += [at for at in (self._resend.due_at, self._watermark.due_at) if at is not None]
        return min(times, default=None)


#: Of what the broker takes at once, for messages that are not entries.
_BESIDE = 2

#: One reading of the journal: what a backlog sends at once, and small enough for a Pi.
_READ_ROWS = 500
_READ_BYTES = 262_144

#: Bad entries are complained about once each, and not without end.
_COMPLAINTS_MAX = 1000
