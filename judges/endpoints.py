"""Several OpenAI-compatible endpoints with the same model, as one: each request goes to the least loaded of them.

Each keeps its own pace, so one that is told to slow down slows nobody else. What one cannot serve for now is asked
elsewhere at once; one that cannot be reached three times, with growing pauses, is taken out. A request that gets no
reply again and again where others get theirs is refused for now: it is too slow, and the endpoints are not.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from openai import OpenAI

from domains.errors import UserError
from judges.endpoint import STRIKES, Endpoint, Late, Lost, Refused, Reply, Spent, Unusable, side_by_side
from judges.pace import pause_seconds

Item = TypeVar("Item")
Result = TypeVar("Result")
PAUSE_SECONDS = 1.0
LOG = logging.getLogger(__name__)


@dataclass
class Load:
    """Requests under way at each endpoint, which have ever replied, how often in a row each could not be reached, and
    why some are out."""

    under_way: Counter[int] = field(default_factory=Counter)
    replied: set[int] = field(default_factory=set)
    strikes: Counter[int] = field(default_factory=Counter)
    out: dict[int, UserError] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)


@dataclass
class Course:
    """How one request went so far: who refused it since all were asked anew, how often that was, and how often it got
    no reply from an endpoint that serves others."""

    refused: dict[int, Refused] = field(default_factory=dict)
    tries: int = 0
    num_lost: int = 0


@dataclass(frozen=True)
class Endpoints:
    """Endpoints of one model, which themselves try a request once; what all refuse for now, or what gets no reply, is
    tried `retries` times more. The first one's URL names them: answers that were kept stay valid when others are added
    or left out."""

    members: tuple[Endpoint, ...]
    retries: int = 2
    load: Load = field(default_factory=Load, compare=False)

    @property
    def url(self) -> str:
        """The first URL."""
        return self.members[0].url

    @property
    def model_name(self) -> str:
        """The model that is asked for."""
        return self.members[0].model_name

    @property
    def concurrency(self) -> int:
        """Requests at a time, all endpoints together."""
        return sum(member.concurrency for member in self.members)

    @contextmanager
    def open(self) -> Iterator[list[OpenAI]]:
        """A client for each."""
        with ExitStack() as stack:
            yield [stack.enter_context(member.open()) for member in self.members]

    def complete(self, clients: Sequence[OpenAI], messages: Sequence[Mapping[str, str]], **options: Any) -> Reply:
        """One reply. What an endpoint cannot give for now is asked of another one; without any that works it is a
        UserError, and what each of them refuses, or gives no reply to, is `Refused`."""
        course = Course()
        while True:
            if self.all_refused(course.refused):
                if course.tries == self.retries:
                    raise next(iter(course.refused.values()))
                course.tries += 1
                course.refused.clear()
            place = self.take(course.refused)
            try:
                reply = self.members[place].ask(clients[place], messages, **options)
            except Spent:
                raise
            except Refused as error:
                self.refuse(place, error, course)
            except Lost as error:
                self.lose(place, error, course)
            except UserError as error:
                self.strike(place, error)
            else:
                self.load.strikes[place] = 0
                self.load.replied.add(place)
                return reply
            finally:
                self.release(place)

    def refuse(self, place: int, error: Refused, course: Course) -> None:
        """Ask elsewhere what an endpoint does not serve for now; it is given time. What it never serves is raised."""
        if not error.for_now:
            raise error
        course.refused[place] = error
        headers = {} if error.after_seconds is None else {"retry-after": str(error.after_seconds)}
        self.members[place].pace.back_off(pause_seconds(headers, course.tries))

    def lose(self, place: int, error: Lost, course: Course) -> None:
        """Ask elsewhere what got no reply. Where others get theirs, the request may be to blame: its first late reply
        is the endpoint's strike, the next ones are not; after `retries` further tries it is `Refused` for now."""
        serves_others = place in self.load.replied
        if not (serves_others and course.num_lost and isinstance(error, Late)):
            self.strike(place, error)
        if serves_others:
            course.num_lost += 1
            course.refused[place] = Refused(str(error), for_now=True)
            if course.num_lost > self.retries:
                raise course.refused[place]

    def all_refused(self, refused: Mapping[int, Refused]) -> bool:
        """Whether every endpoint that is not out has refused."""
        with self.load.changed:
            left = set(range(len(self.members))) - self.load.out.keys()
        return bool(left) and left <= refused.keys()

    def take(self, refused: Mapping[int, Refused]) -> int:
        """The least loaded endpoint that is not full; waits while all are."""
        load = self.load
        with load.changed:
            while True:
                there = [n for n in range(len(self.members)) if n not in load.out and n not in refused]
                if not there:
                    raise next(iter((*refused.values(), *load.out.values())))
                ready = [n for n in there if not self.is_paused(n)] or there
                best = min(ready, key=lambda n: load.under_way[n] / self.members[n].concurrency)
                if load.under_way[best] < self.members[best].concurrency:
                    load.under_way[best] += 1
                    return best
                load.changed.wait(PAUSE_SECONDS)

    def is_paused(self, place: int) -> bool:
        """Whether an endpoint has told us to wait."""
        pace = self.members[place].pace
        return pace.resume_at > pace.clock()

    def release(self, place: int) -> None:
        """A request has ended."""
        with self.load.changed:
            self.load.under_way[place] -= 1
            self.load.changed.notify_all()

    def strike(self, place: int, error: UserError) -> None:
        """An endpoint cannot be reached: leave it alone for a while, or for good. What fails at the same time is one
        strike."""
        with self.load.changed:
            if place in self.load.out or self.is_paused(place) and not isinstance(error, Unusable):
                return
            self.load.strikes[place] += 1
            if self.load.strikes[place] < STRIKES and not isinstance(error, Unusable):
                self.members[place].pace.back_off(pause_seconds({}, self.load.strikes[place] - 1))
                return
            self.load.out[place] = error
        LOG.warning("%s It is asked no more; %d are left.", error, len(self.members) - len(self.load.out))

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results in order, as many at a time as all endpoints take."""
        return side_by_side(work, items, self.concurrency)


AnyEndpoint = Endpoint | Endpoints


def endpoints_of(urls: str, model: str, key_env: str) -> AnyEndpoint:
    """The endpoint of a URL, or those of several, comma-separated."""
    if "," not in urls:
        return Endpoint(urls.strip(), model, key_env)
    found = [Endpoint(url.strip(), model, key_env, retries=0) for url in urls.split(",")]
    if len({each.url for each in found}) < len(found) or not all(each.base_url for each in found):
        raise UserError(f"--endpoint {urls} names an endpoint twice, or none between two commas. Give each URL once.")
    return Endpoints(tuple(found))
