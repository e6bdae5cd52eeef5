"""Work on many items, results in order, with few under way: in this process, in threads or processes of this machine,
or on Ray (https://docs.ray.io), here or on the cluster of RAY_ADDRESS.

A worker that is killed loses nothing: its items are worked on again, so work must be safe to repeat.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Literal, TypeVar

from domains.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
Kind = Literal["threads", "processes", "ray"]

AHEAD = 8
MAX_TRIES = 4
EXTRA = "--engine ray needs one more package: install it with 'pip install expertsmith[ray]'."


@dataclass(frozen=True)
class Engine:
    """Where work is done, and by how many at a time. On Ray, `workers` 0 is one for each CPU of the cluster; where the
    work runs a model, one for each GPU, or without any one for each machine, with all its CPUs. Work and items go to
    other processes, so they must be picklable; the environment `variables` that are set here are set there."""

    kind: Kind = "threads"
    workers: int = 1
    runs_model: bool = False
    variables: tuple[str, ...] = ()

    @property
    def elsewhere(self) -> bool:
        """Whether work leaves this machine's memory, so that what it needs must be opened where it runs."""
        return self.kind == "ray"

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results in the order of the items, each as soon as it and all before it are there. At most a few items a
        worker are under way, so neither items nor results need fit in memory. The first error ends it."""
        if self.kind == "ray":
            return ray_results(work, items, self)
        if self.workers == 1:
            return map(work, items)
        results = thread_results if self.kind == "threads" else process_results
        return results(work, items, self.workers)


def thread_results(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Threads of this process."""
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from (each.result() for each in under_way(pool, work, items, AHEAD * workers))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def under_way(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], limit: int
) -> Iterator[Future[Result]]:
    """Futures in order, at most `limit` of them begun before they are asked for."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= limit:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def process_results(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Processes of this machine; when one is killed, all begin again with the items that have no result."""
    rest: Iterator[Item] = iter(items)
    pending: deque[Item] = deque()
    tries = 0
    while True:
        with ProcessPoolExecutor(workers) as pool:
            try:
                for result in process_round(pool, work, rest, pending, AHEAD * workers):
                    tries = 0
                    yield result
                return
            except BrokenProcessPool:
                tries += 1
                if tries == MAX_TRIES:
                    raise UserError(
                        f"A worker process was killed {MAX_TRIES} times in a row, probably for memory. Take fewer "
                        "processes (--jobs), then run again; what is done is kept."
                    ) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def process_round(
    pool: Executor, work: Callable[[Item], Result], rest: Iterator[Item], pending: deque[Item], limit: int
) -> Iterator[Result]:
    """Results until a worker is killed; `pending` then holds the items that have none."""
    again = deque(pending)
    pending.clear()

    def begun() -> Iterator[Item]:
        while again:
            pending.append(again.popleft())
            yield pending[-1]
        for item in rest:
            pending.append(item)
            yield item

    try:
        for future in under_way(pool, work, begun(), limit):
            result = future.result()
            pending.popleft()
            yield result
    except BrokenProcessPool:
        pending.extend(again)
        raise


def ray_results(work: Callable[[Item], Result], items: Iterable[Item], engine: Engine) -> Iterator[Result]:
    """Tasks on Ray, which runs those of a killed worker or a lost machine again."""
    with ray_library() as ray:
        there = ray.cluster_resources()
        num_gpus = int(there.get("GPU", 0)) if engine.runs_model else 0
        num_cpus = machine_cpus(ray) if engine.runs_model and not num_gpus else 1
        function = work if isinstance(work, FunctionType) else calling(work)
        variables = set_here(engine.variables) | {"OMP_NUM_THREADS": str(num_cpus)}
        task = ray.remote(
            max_retries=MAX_TRIES - 1,
            num_cpus=num_cpus,
            num_gpus=min(1, num_gpus),
            runtime_env={"env_vars": variables},
        )(function)
        room = engine.workers or num_gpus or max(1, int(there.get("CPU", 1)) // num_cpus)
        waiting: deque[Any] = deque()
        running: list[Any] = []
        for item in items:
            while engine.workers and len(running) >= engine.workers:
                running = ray.wait(running)[1]
            waiting.append(task.remote(item))
            running = [*running, waiting[-1]] if engine.workers else []
            if len(waiting) >= AHEAD * room:
                yield ray_result(ray, waiting.popleft())
        while waiting:
            yield ray_result(ray, waiting.popleft())


def machine_cpus(ray: Any) -> int:
    """The CPUs of the smallest machine of the cluster that has any."""
    found = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return min((cpus for cpus in found if cpus), default=1)


def set_here(variables: Sequence[str]) -> dict[str, str]:
    """The environment variables that have a value in this process."""
    return {name: os.environ[name] for name in variables if os.environ.get(name)}


def calling(work: Callable[[Item], Result]) -> Callable[[Item], Result]:
    """A function that calls an object, which is what Ray makes tasks of."""

    def call(item: Item) -> Result:
        return work(item)

    return call


def ray_result(ray: Any, reference: Any) -> Any:
    """A task's result; its error is raised as it was."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.ObjectLostError,
        ray.exceptions.LocalRayletDiedError,
    ) as error:
        raise UserError(
            f"A Ray worker or its machine was lost {MAX_TRIES} times on the same item ({type(error).__name__}), "
            "probably for memory. Give the workers more, then run again; what is done is kept."
        ) from None


@contextmanager
def ray_library() -> Iterator[Any]:
    """Ray, started here or joined at RAY_ADDRESS, and left as it was found. Its usage reports and dashboard are off."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(EXTRA) from None
    ours = not ray.is_initialized()
    if ours:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()
