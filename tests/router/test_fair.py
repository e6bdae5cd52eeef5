"""Fairness: the lock is handed over in order, clients take turns in the queue."""

import threading
import time

import pytest

from router.fair import FairLock, FairQueue, FairThreads


def test_the_lock_goes_to_those_who_wait_in_the_order_of_asking():
    """The holder asks again at once after each release, as a scheduler does; it gets it only after the three others."""
    lock, order = FairLock(), []
    lock.acquire()

    def ask(name):
        with lock:
            order.append(name)

    threads = []
    for number in range(3):
        threads.append(threading.Thread(target=ask, args=(number,)))
        threads[-1].start()
        while len(lock.line) <= number:
            time.sleep(0.001)
    lock.release()
    lock.acquire()
    order.append("holder")
    lock.release()
    for thread in threads:
        thread.join(5)
    assert order == [0, 1, 2, "holder"]


def test_who_gives_up_waiting_is_not_handed_the_lock():
    lock = FairLock()
    assert lock.acquire()
    assert not lock.acquire(timeout=0.01)
    assert not lock.line
    lock.release()
    assert lock.acquire(timeout=0.01)


def test_one_at_a_time():
    lock, inside, most = FairLock(), [], []

    def work():
        for _ in range(200):
            with lock:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(most), max(most)) == (800, 1)


def test_clients_take_turns():
    """Five of a, then one of b and two of c: whoever came later does not wait for all five."""
    queue = FairQueue()
    for client, item in [*(("a", f"a{i}") for i in range(5)), ("b", "b0"), ("c", "c0"), ("c", "c1")]:
        queue.push(client, item)
    assert (len(queue), queue.waiting("a"), queue.waiting("nobody")) == (8, 5, 0)
    taken = []
    while queue:
        assert queue.peek() == (item := queue.pop())
        taken.append(item)
    assert taken == ["a0", "b0", "c0", "a1", "c1", "a2", "a3", "a4"]


def test_items_can_be_taken_out():
    queue = FairQueue()
    for item in range(4):
        queue.push(str(item % 2), item)
    assert sorted(queue.take(lambda item: item in (0, 2, 3))) == [0, 2, 3]
    assert (len(queue), queue.pop(), len(queue)) == (1, 1, 0)


def test_clients_take_turns_at_the_threads():
    """One thread, held by z; three of a wait before one of b, which is served second. What is cancelled is not done,
    and an error is the caller's."""
    threads, done, gate = FairThreads(1, "test"), [], threading.Event()
    held = threads.submit("z", gate.wait)
    mine = [threads.submit("a", done.append, number) for number in range(3)]
    other = threads.submit("b", done.append, "b")
    wrong = threads.submit("c", lambda: 1 / 0)
    assert mine[1].cancel()
    gate.set()
    for each in (held, mine[0], mine[2], other):
        each.result(10)
    with pytest.raises(ZeroDivisionError):
        wrong.result(10)
    assert done == [0, "b", 2]
