"""One thread that answers everyone: rows of all clients and experts share each step of one running batch.

A request waits in a fair queue, joins the batch when there is room, and leaves it when it is done, too late, or when
its reader is gone. Continuous batching as in Orca (Yu et al., OSDI 2022); the batch itself is in `router/slots.py`.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

from router.assistant import Answer, Busy, Closing, Piece, TimedOut
from router.fair import FairQueue
from router.slots import Batch, Place
from router.writing import Writer

EXIT_SECONDS = 60.0  # the longest that the end of a process waits for a step


@dataclass(frozen=True)
class Limits:
    """What is accepted: answers waiting in all and per client, and the wall clock of one from acceptance to end."""

    max_waiting: int = 64
    max_waiting_per_client: int = 32
    seconds: float = 120.0


@dataclass(eq=False)
class Row:
    """One answer on its way: prompt, expert, who writes it, and where its pieces go."""

    ids: Sequence[int]
    expert: str
    writer: Writer
    answer: Answer
    client: str = ""
    deadline: float = 0.0
    place: Place | None = None

    @property
    def width(self) -> int:
        """The most tokens that it can have."""
        return len(self.ids) + self.writer.sampling.max_tokens


@dataclass
class Counts:
    """What happened so far: answers by how they ended, tokens read and written, steps, and rows in these steps."""

    finished: int = 0
    cancelled: int = 0
    timed_out: int = 0
    failed: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    steps: int = 0
    step_rows: int = 0


@dataclass
class Scheduler:
    """Call `submit` from any thread; the pieces arrive in the answer. `close` ends it."""

    batch: Batch
    limits: Limits = Limits()
    counts: Counts = field(default_factory=Counts)
    waiting: FairQueue[Row] = field(default_factory=FairQueue)
    running: list[Row] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    thread: threading.Thread | None = None
    closing: bool = False
    seconds_per_answer: float = 1.0

    def check_room(self, client: str, num_rows: int = 1) -> None:
        """Refuse what could not wait: `Busy` with the seconds after which to try again."""
        with self.changed:
            if self.closing:
                raise Closing("The service is shutting down.")
            waiting, mine = len(self.waiting), self.waiting.waiting(client)
            if waiting + num_rows > self.limits.max_waiting:
                self.counts.refused += 1
                raise Busy(f"{waiting} answers are waiting already.", self.expected_wait())
            if mine + num_rows > self.limits.max_waiting_per_client:
                self.counts.refused += 1
                raise Busy(f"{mine} of your own requests are waiting already.", self.expected_wait())

    def expected_wait(self) -> float:
        """Seconds until some of those who wait have begun, from how long answers took lately."""
        return min(60.0, max(1.0, self.seconds_per_answer * (1 + len(self.waiting) / (1 + len(self.running)))))

    def submit(self, rows: Sequence[Row], client: str = "") -> None:
        """Accept the rows of one request, all or none."""
        with self.changed:
            self.check_room(client, len(rows))
            for row in rows:
                row.client, row.deadline = client, time.monotonic() + self.limits.seconds
                self.waiting.push(client, row)
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name="scheduler", daemon=True)
                self.thread.start()
                atexit.register(end_thread, weakref.ref(self))
            self.changed.notify_all()

    def run(self) -> None:
        """Turn after turn, until it is closed and nothing is left."""
        while self.has_work():
            try:
                self.turn()
            except Exception as error:
                self.fail_running(error)

    def has_work(self) -> bool:
        """Wait for work; False when there will be none."""
        with self.changed:
            while not (self.waiting or self.running or self.closing):
                self.changed.wait()
            return bool(self.waiting or self.running)

    def turn(self) -> None:
        """Let out who is gone or late, let in who has room, and go one step with all."""
        self.sweep()
        self.admit()
        if not self.running:
            return
        rows = {row.place: row for row in self.running}
        due = self.batch.step()
        self.counts.steps += 1
        self.counts.step_rows += len(due)
        for place, logits_V in due:
            self.write(rows[place], logits_V)

    def write(self, row: Row, logits_V: object) -> None:
        """The next token of one answer; an error in it is the error of this answer alone."""
        assert row.place is not None
        try:
            piece = row.writer.take(logits_V)  # type: ignore[arg-type]
        except Exception as error:
            self.counts.failed += 1
            self.end(row, error)
            return
        row.place.token = row.writer.token
        if piece.text or piece.logprobs or piece.finish_reason:
            row.answer.put(piece)
        if piece.finish_reason:
            self.finish(row, piece)

    def finish(self, row: Row, piece: Piece) -> None:
        """Count an answer that is done and free its place."""
        seconds = time.monotonic() - (row.deadline - self.limits.seconds)
        self.seconds_per_answer += 0.2 * (seconds - self.seconds_per_answer)
        self.counts.finished += 1
        self.counts.prompt_tokens += piece.prompt_tokens
        self.counts.completion_tokens += piece.completion_tokens
        self.end(row, None)

    def end(self, row: Row, error: Exception | None) -> None:
        """Take a row out of the batch; an error is told to its reader."""
        if row.place is not None:
            self.batch.leave(row.place)
            row.place = None
        with self.changed:
            if row in self.running:
                self.running.remove(row)
            self.changed.notify_all()
        if error is not None:
            row.answer.fail(error)

    def sweep(self) -> None:
        """End the rows whose reader is gone or whose time is over."""
        now = time.monotonic()
        with self.changed:
            gone = self.waiting.take(lambda row: row.answer.closed)
            late = self.waiting.take(lambda row: row.deadline <= now)
        gone += [row for row in self.running if row.answer.closed]
        late += [row for row in self.running if row.deadline <= now and not row.answer.closed]
        for row in gone:
            self.counts.cancelled += 1
            self.end(row, None)
        for row in late:
            self.counts.timed_out += 1
            self.end(row, TimedOut(f"The answer was not finished within {self.limits.seconds:g} seconds."))

    def admit(self) -> None:
        """Let waiting rows into the batch while it has room, clients in turn; one that cannot join is told why."""
        with self.changed:
            while self.waiting and self.batch.has_room(self.waiting.peek().width):
                row = self.waiting.pop()
                try:
                    row.place = self.batch.join(row.ids, row.expert, row.width)
                except Exception as error:
                    self.counts.failed += 1
                    row.answer.fail(error)
                else:
                    self.running.append(row)

    def fail_running(self, error: Exception) -> None:
        """A step failed: everyone in the batch is told, and the next ones start with a clean one."""
        for row in list(self.running):
            self.counts.failed += 1
            self.end(row, error)

    def close(self, seconds: float = 0.0) -> int:
        """Accept nothing more, finish what is there for at most `seconds`, then tell the rest that it is unfinished.

        Returns how many were told.
        """
        deadline = time.monotonic() + seconds
        with self.changed:
            self.closing = True
            self.changed.notify_all()
            while (self.waiting or self.running) and time.monotonic() < deadline:
                self.changed.wait(max(0.0, deadline - time.monotonic()))
            left = [*self.waiting, *self.running]
            self.waiting.take(lambda row: True)
        for row in left:
            row.answer.fail(Closing("The service shut down before the answer was finished."))
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(timeout=max(1.0, seconds))
        return len(left)


def end_thread(scheduler: weakref.ref[Scheduler]) -> None:
    """Before the interpreter goes: a thread that it finds inside a step would abort the process."""
    found = scheduler()
    if found is not None:
        found.close()
        if found.thread is not None:
            found.thread.join(EXIT_SECONDS)
