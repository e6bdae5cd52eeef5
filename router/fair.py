"""Fairness: a lock that is handed over in the order of asking, a queue in which clients take turns, and threads that
work through such a queue."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class FairLock:
    """First come, first served. `threading.Lock` may give itself to the thread that has just released it."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.held = False
        self.line: deque[threading.Event] = deque()

    def acquire(self, timeout: float | None = None) -> bool:
        """Wait for the turn, at most `timeout` seconds; False when it did not come."""
        with self.mutex:
            if not self.held:
                self.held = True
                return True
            turn = threading.Event()
            self.line.append(turn)
        if turn.wait(timeout):
            return True
        with self.mutex:
            if turn.is_set():  # the turn came at the last moment
                return True
            self.line.remove(turn)
            return False

    def release(self) -> None:
        """Hand it to the one who has waited longest."""
        with self.mutex:
            if self.line:
                self.line.popleft().set()
            else:
                self.held = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class FairQueue(Generic[Item]):
    """A queue per client; the clients take turns, so that one with many requests does not hold up the others."""

    def __init__(self) -> None:
        self.lanes: OrderedDict[str, deque[Item]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(lane) for lane in self.lanes.values())

    def __iter__(self) -> Iterator[Item]:
        return (item for lane in self.lanes.values() for item in lane)

    def waiting(self, client: str) -> int:
        """How many of a client's items wait."""
        return len(self.lanes.get(client, ()))

    def push(self, client: str, item: Item) -> None:
        """Add an item at the end of its client's lane."""
        self.lanes.setdefault(client, deque()).append(item)

    def peek(self) -> Item:
        """The next item."""
        return next(iter(self.lanes.values()))[0]

    def pop(self) -> Item:
        """Take the next item; its client goes to the end of the line."""
        client, lane = next(iter(self.lanes.items()))
        item = lane.popleft()
        del self.lanes[client]
        if lane:
            self.lanes[client] = lane
        return item

    def take(self, unwanted: Callable[[Item], bool]) -> list[Item]:
        """Take out the items that answer to a description."""
        found = [item for item in self if unwanted(item)]
        for client, lane in list(self.lanes.items()):
            kept = deque(item for item in lane if not unwanted(item))
            if kept:
                self.lanes[client] = kept
            else:
                del self.lanes[client]
        return found


class FairThreads:
    """Worker threads for short blocking work of many clients, who take turns."""

    def __init__(self, size: int, name: str) -> None:
        self.pool = ThreadPoolExecutor(size, name)
        self.mutex = threading.Lock()
        self.waiting: FairQueue[tuple[Future[Any], Callable[[], Any]]] = FairQueue()

    def submit(self, client: str, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Do some work when it is the client's turn; cancelled before that, it is not done."""
        future: Future[Result] = Future()
        with self.mutex:
            self.waiting.push(client, (future, partial(work, *arguments)))
        self.pool.submit(self.work_next)
        return future

    def work_next(self) -> None:
        """The work of the client whose turn it is."""
        with self.mutex:
            future, work = self.waiting.pop()
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
