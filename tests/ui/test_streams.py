"""Answers read in threads: order, ticks, errors, closing; and the line of questions."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from domains.errors import UserError
from router.assistant import Piece, Reply
from router.route import Route
from ui.streams import Line, Streams

ROUTE = Route("general", 1.0)


def saying(*words: str) -> Reply:
    return Reply(ROUTE, iter([Piece(word) for word in words]))


def test_routes_come_first_then_pieces_in_order_then_the_end() -> None:
    with Streams() as streams:
        streams.start(0, lambda: saying("a", "b"))
        events = [event for event in streams if event]
    assert [event.route for event in events] == [ROUTE, None, None, None]
    assert [event.piece.text for event in events if event.piece] == ["a", "b"]
    assert [event.end for event in events] == [False, False, False, True]


def test_one_answer_does_not_wait_for_the_other() -> None:
    """The left answer is held until the right one has ended."""
    held = threading.Event()

    def left() -> Iterator[Piece]:
        held.wait(10)
        yield Piece("left")

    order = []
    with Streams() as streams:
        streams.start(0, lambda: Reply(ROUTE, left()))
        streams.start(1, lambda: saying("right"))
        for event in streams:
            if event and event.piece:
                order.append(event.piece.text)
            if event and event.end and event.place == 1:
                held.set()
    assert order == ["right", "left"]


def test_ticks_while_nothing_comes() -> None:
    held = threading.Event()

    def slow() -> Iterator[Piece]:
        held.wait(10)
        yield Piece("x")

    with Streams(tick_seconds=0.01) as streams:
        streams.start(0, lambda: Reply(ROUTE, slow()))
        events = iter(streams)
        while next(events) is not None:
            pass
        assert next(events) is None
        held.set()
        assert [event.piece.text for event in events if event and event.piece] == ["x"]


@pytest.mark.parametrize("early", [True, False])
def test_an_error_reaches_the_reader(early: bool) -> None:
    def pieces() -> Iterator[Piece]:
        yield Piece("a")
        raise OSError("gone")

    def ask() -> Reply:
        if early:
            raise OSError("gone")
        return Reply(ROUTE, pieces())

    with Streams() as streams:
        streams.start(0, ask)
        with pytest.raises(OSError, match="gone"):
            list(streams)


def test_leaving_closes_a_generator_at_its_next_piece() -> None:
    closed = threading.Event()

    def endless() -> Iterator[Piece]:
        try:
            while True:
                yield Piece("x")
        finally:
            closed.set()

    with Streams() as streams:
        streams.start(0, lambda: Reply(ROUTE, endless()))
        next(iter(streams))
    assert closed.wait(5)


class Waiting:
    """Pieces that come only after `close`, like those of a request in a queue."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Waiting:
        return self

    def __next__(self) -> Piece:
        self.closed.wait(10)
        raise StopIteration

    def close(self) -> None:
        self.closed.set()


def test_leaving_closes_at_once_what_can_be_closed_from_outside() -> None:
    pieces = Waiting()
    with Streams() as streams:
        streams.start(0, lambda: Reply(ROUTE, pieces))
        next(iter(streams))
    assert pieces.closed.is_set()


def test_the_line_knows_who_came_before_and_has_an_end() -> None:
    line = Line(room=2)
    with line.place() as first:
        with line.place() as second:
            assert (first(), second()) == (0, 1)
            with pytest.raises(UserError, match="2 questions are being answered"), line.place():
                pass
        with line.place() as third:
            assert third() == 1
    assert line.tickets == []


def test_leaving_the_line_with_an_error_frees_the_place() -> None:
    line = Line(room=1)
    with pytest.raises(OSError, match="x"), line.place():
        raise OSError("x")
    with line.place() as place:
        assert place() == 0
