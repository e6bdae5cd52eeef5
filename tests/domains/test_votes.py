"""Votes on disk: their formats, deduplication, thumbs that become pairs, several writers at once, lines cut off."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domains.errors import UserError
from domains.example import Message
from domains.validate import validate
from domains.votes import Candidate, Votes, domain_of

ASKED = (Message("user", "Mom will not eat."), Message("assistant", "Since when?"), Message("user", "Monday."))
GOOD, BAD = Candidate("caregiving/conversation", "That is hard."), Candidate("general", "Who cares?")


def rows(votes: Votes, name: str) -> list[dict]:
    return [json.loads(line) for line in (votes.folder / f"{name}.jsonl").read_text().splitlines()]


def test_a_comparison_is_a_conversational_preference_row(tmp_path):
    votes = Votes.of_home(tmp_path)
    assert votes.prefer(ASKED, GOOD, BAD)
    (row,) = rows(votes, "caregiving")
    assert list(row) == ["id", "prompt", "chosen", "rejected", "source", "experts", "time"]
    assert row["prompt"] == [turn.as_dict() for turn in ASKED]
    assert row["chosen"] == [{"role": "assistant", "content": "That is hard."}]
    assert row["rejected"] == [{"role": "assistant", "content": "Who cares?"}]
    assert row["experts"] == {"chosen": "caregiving/conversation", "rejected": "general"}
    assert row["source"] == "vote"
    assert abs(datetime.fromisoformat(row["time"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert (tmp_path / "votes" / "caregiving.jsonl").stat().st_mode & 0o077 == 0


def test_the_same_vote_is_stored_once_and_the_opposite_one_as_well(tmp_path):
    votes = Votes(tmp_path)
    assert votes.prefer(ASKED, GOOD, BAD)
    assert not votes.prefer(ASKED, GOOD, BAD)
    assert votes.prefer(ASKED, BAD, GOOD)
    first, second = rows(votes, "caregiving")
    assert first["id"] != second["id"]
    assert (first["chosen"], first["rejected"]) == (second["rejected"], second["chosen"])


@pytest.mark.parametrize(
    ("first", "second", "domain"),
    [
        ("mortgage/conversation", "general", "mortgage"),
        ("general", "mortgage/structured", "mortgage"),
        ("mortgage/conversation", "caregiving/conversation", "mortgage"),
        ("general", "general", "general"),
    ],
)
def test_the_domain_that_learns(first, second, domain):
    assert domain_of(Candidate(first, "a"), Candidate(second, "b")) == domain


@pytest.mark.parametrize("expert", ["../../outside", "", ".hidden/x", "a b/c"])
def test_a_name_that_is_no_domain_writes_nothing(tmp_path, expert):
    votes = Votes(tmp_path / "home" / "votes")
    with pytest.raises(UserError, match="not the name of a domain"):
        votes.rate(ASKED, Candidate(expert, "Yes."), True)
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_tie_does_not_depend_on_the_order_shown(tmp_path):
    votes = Votes(tmp_path)
    assert votes.tie(ASKED, GOOD, BAD)
    assert not votes.tie(ASKED, BAD, GOOD)
    (row,) = rows(votes, "caregiving.ties")
    assert row["completions"] == [GOOD.turn, BAD.turn]
    assert row["experts"] == ["caregiving/conversation", "general"]


def test_two_thumbs_on_one_prompt_become_a_pair(tmp_path):
    """Up on one answer and down on another: one pair, in the domain of the better one; a third makes a second pair."""
    votes, other = Votes(tmp_path), Candidate("caregiving/structured", "No.")
    assert votes.rate(ASKED, GOOD, True) == 0
    assert votes.rate(ASKED[:1], BAD, False) == 0
    assert votes.rate(ASKED, BAD, False) == 1
    assert votes.rate(ASKED, BAD, False) == 0
    assert votes.rate(ASKED, other, False) == 1
    assert [row["rejected"] for row in rows(votes, "caregiving")] == [BAD.turn, other.turn]
    assert all(row["chosen"] == GOOD.turn for row in rows(votes, "caregiving"))
    labels = [(row["completion"], row["label"]) for row in rows(votes, "caregiving.unpaired")]
    assert labels == [(GOOD.turn, True), (other.turn, False)]
    assert {row["expert"] for row in rows(votes, "general.unpaired")} == {"general"}


def test_an_answer_rated_both_ways_makes_no_pair(tmp_path):
    votes, other = Votes(tmp_path), Candidate("caregiving/structured", "No.")
    votes.rate(ASKED, GOOD, True)
    assert votes.rate(ASKED, GOOD, False) == 0
    assert votes.rate(ASKED, other, False) == 0
    assert votes.rate(ASKED, BAD, True) == 1
    assert [row["rejected"] for row in rows(votes, "caregiving")] == [other.turn]


@pytest.mark.parametrize(("chosen", "rejected"), [("Same.", "Same."), ("Yes.", " "), ("", "No.")])
def test_what_cannot_be_learnt_from_is_refused(tmp_path, chosen, rejected):
    votes = Votes(tmp_path)
    with pytest.raises(UserError, match="different answers with text"):
        votes.prefer(ASKED, Candidate("mortgage/x", chosen), Candidate("general", rejected))
    with pytest.raises(UserError, match="no answer to rate"):
        votes.rate(ASKED, Candidate("general", "\n"), True)
    assert not list(tmp_path.glob("*.jsonl"))


HOSTILE = 'Line\nbreak\r\u2028\u0000 "quoted" \ud800 é ' + "x" * 20_000


def test_any_text_stays_one_valid_line(tmp_path):
    votes = Votes(tmp_path)
    prompt = (Message("user", HOSTILE),)
    votes.prefer(prompt, Candidate("mortgage/x", HOSTILE), BAD)
    votes.prefer(ASKED, GOOD, BAD)
    votes.rate(prompt, Candidate("mortgage/x", HOSTILE), True)
    assert (tmp_path / "mortgage.jsonl").read_bytes().count(b"\n") == 1
    for name in ("mortgage", "caregiving", "mortgage.unpaired"):
        result = validate(str(tmp_path / f"{name}.jsonl"))
        assert result.ok, result.problems
        assert result.counts == {f"{name}.jsonl": 1}


def test_a_line_cut_off_does_not_spoil_the_next_and_is_reported(tmp_path):
    votes = Votes(tmp_path)
    (tmp_path / "caregiving.jsonl").write_bytes(b'{"id": "vote-1", "prompt": "\xff')
    (tmp_path / "caregiving.unpaired.jsonl").write_text('{"id": 3}\n{"label": true}\n[]\n{"label"')
    assert votes.prefer(ASKED, GOOD, BAD)
    assert votes.rate(ASKED, GOOD, True) == 0
    lines = (tmp_path / "caregiving.jsonl").read_bytes().split(b"\n")
    assert len(lines) == 3
    assert json.loads(lines[1])["chosen"] == GOOD.turn
    assert not validate(str(tmp_path / "caregiving.unpaired.jsonl")).ok


def vote_often(folder: str, writer: int) -> None:
    """The body of a writer: 10 votes of its own, and 10 that all writers give."""
    votes = Votes(Path(folder))
    for number in range(10):
        votes.prefer(ASKED, Candidate("mortgage/x", f"{writer} {number} {'long ' * 2000}"), BAD)
        votes.prefer(ASKED, Candidate("mortgage/x", f"shared {number}"), BAD)


def test_writers_in_threads_and_processes_lose_and_double_nothing(tmp_path):
    """Four writers with 10 votes of their own and 10 in common: 4 * 10 + 10 = 50 rows, every line whole."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=vote_often, args=(str(tmp_path), writer)) for writer in (0, 1)]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(vote_often, [str(tmp_path)] * 2, (2, 3)))
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    found = rows(Votes(tmp_path), "mortgage")
    assert len(found) == len({row["id"] for row in found}) == 50
