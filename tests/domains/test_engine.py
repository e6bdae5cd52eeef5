"""Work in order with few items under way, in threads, in processes and on Ray; killed workers lose nothing."""

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from domains.engine import AHEAD, MAX_TRIES, Engine, ray_result
from domains.errors import UserError
from domains.new_domain import Request, grouped, new_domain
from tests.fakes_documents import write_garden

LOCAL = [Engine(), Engine("threads", 3), Engine("processes", 1), Engine("processes", 2)]


def square(number):
    return number * number


@pytest.mark.parametrize("engine", LOCAL)
def test_results_are_in_the_order_of_the_items(engine):
    assert list(engine.map(square, range(50))) == [n * n for n in range(50)]
    assert list(engine.map(square, [])) == []


@pytest.mark.parametrize("engine", [Engine(), Engine("threads", 3)])
def test_few_items_are_under_way(engine):
    """An endless corpus: before the k-th result no more than k + workers * AHEAD items were taken."""
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    results = engine.map(square, endless())
    for number in range(20):
        assert next(results) == number * number
        assert len(taken) <= number + AHEAD * engine.workers
    results = None


def test_a_slow_item_holds_results_back_but_not_the_work():
    """The first of four items waits until the others are done, which two threads can do, and is still the first."""
    done, others = [], threading.Event()

    def work(number):
        if number == 0:
            assert others.wait(5)
        done.append(number)
        if len(done) == 3:
            others.set()
        return number

    assert list(Engine("threads", 2).map(work, range(4))) == [0, 1, 2, 3]
    assert done[-1] == 0


def failing(number):
    if number == 3:
        raise UserError("three")
    return number


@pytest.mark.parametrize("engine", LOCAL)
def test_the_first_error_ends_it(engine):
    found = []
    with pytest.raises(UserError, match="three"):
        found.extend(engine.map(failing, range(10)))
    assert found in ([], [0, 1, 2])


def killed_once(folder: Path, number: int) -> int:
    """The worker dies the first time that it meets a multiple of seven, as if memory had run out."""
    mark = folder / str(number)
    if number % 7 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_killed_processes_lose_nothing(tmp_path):
    engine = Engine("processes", 2)
    assert list(engine.map(partial(killed_once, tmp_path), range(30))) == [n * n for n in range(30)]
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [0, 7, 14, 21, 28]


def always_killed(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_an_item_that_always_kills_is_told():
    with pytest.raises(UserError, match=f"killed {MAX_TRIES} times in a row"):
        list(Engine("processes", 2).map(always_killed, range(5)))


@pytest.mark.parametrize(
    ("kind", "given"),
    [("WorkerCrashedError", ()), ("OutOfMemoryError", ("no memory",)), ("NodeDiedError", ("gone",))]
    + [(kind, ("00" * 28, b"", "")) for kind in ("ObjectLostError", "OwnerDiedError")],
)
@pytest.mark.filterwarnings("ignore")
def test_a_lost_worker_of_ray_is_told(kind, given):
    """The library's own errors; its `get` is played."""
    library = pytest.importorskip("ray")

    def get(reference):
        raise getattr(library.exceptions, kind)(*given)

    with pytest.raises(UserError, match=f"lost {MAX_TRIES} times on the same item .{kind}."):
        ray_result(SimpleNamespace(get=get, exceptions=library.exceptions), None)


def test_files_are_grouped_by_size():
    """Limits of 1,000,000 bytes and 32 files: a large file alone, small ones together, none left out."""
    sizes = {"large": 3_000_000, "half": 600_000, "other": 600_000} | {f"small{n}": 10 for n in range(40)}
    groups = list(grouped(list(sizes), sizes))
    assert groups[:2] == [["large"], ["half"]]
    assert groups[2][0] == "other"
    assert [len(group) for group in groups[2:]] == [32, 9]
    assert [name for group in groups for name in group] == list(sizes)


@pytest.fixture(scope="module")
def ray():
    """Ray on this machine with two workers, for all tests of this file."""
    library = pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    library.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield library
    library.shutdown()


def environment(name):
    return os.environ.get(name)


def times(number):
    """When the work began and ended."""
    began = time.time()
    time.sleep(0.1)
    return began, time.time()


def most_at_once(spans):
    """How many of some spans of time had begun and not ended at the beginning of one."""
    spans = list(spans)
    return max(sum(begin <= start < end for begin, end in spans) for start, _ in spans)


def written(folder, request):
    """The documents of a domain and its report, without what differs from run to run."""
    report = new_domain(request)
    report.pop("performance")
    return report, {path.name: path.read_bytes() for path in (folder / "documents").iterdir()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_gives_the_same_documents_and_rows_and_survives_a_kill(ray, tmp_path, monkeypatch):
    """Variables that were set after Ray began, order, an error as it was, killed workers, and a domain that is the same
    as one made in this process."""
    monkeypatch.setenv("GIVEN", "here")
    monkeypatch.delenv("UNSET", raising=False)
    given = Engine("ray", 2, variables=("GIVEN", "UNSET"))
    assert list(given.map(environment, ["GIVEN", "UNSET"])) == ["here", None]
    threads = [list(Engine("ray", 2, model).map(environment, ["OMP_NUM_THREADS"])) for model in (False, True)]
    assert threads == [["1"], ["2"]], "one for a task, all of the machine's for a model"
    engine = Engine("ray", 2)
    assert list(engine.map(square, range(50))) == [n * n for n in range(50)]
    assert most_at_once(Engine("ray", 1).map(times, range(4))) == 1
    assert most_at_once(Engine("ray", 2, runs_model=True).map(times, range(4))) == 1, "there is one machine"
    with pytest.raises(UserError, match="^three$"):
        list(engine.map(failing, range(10)))
    (tmp_path / "marks").mkdir()
    assert list(engine.map(partial(killed_once, tmp_path / "marks"), range(30))) == [n * n for n in range(30)]
    assert len(list((tmp_path / "marks").iterdir())) == 5
    source = tmp_path / "source"
    write_garden(source)
    here = written(tmp_path / "here", Request("leases", source, tmp_path / "here"))
    there = written(tmp_path / "there", Request("leases", source, tmp_path / "there", engine=engine))
    assert here == there
    assert len(here[1]) > 1
