"""Votes as training rows: those that are valid and ask nothing that a held-out row asks. None becomes dev or test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from domains.calculations import Calculation
from domains.domain import PARSERS, Domain
from domains.example import Example, Preference, Utterance
from domains.near_duplicates import has_near_duplicate
from domains.readers import parse_preference, read_jsonl
from domains.votes import Votes

ASKING = Utterance | Preference | Example | Calculation


@dataclass(frozen=True)
class VoteRows:
    """The rows to train on, and how many were left out: not valid, or too near to a held-out prompt."""

    rows: tuple[Preference, ...] = ()
    num_invalid: int = 0
    num_near_held_out: int = 0

    def counts(self) -> dict[str, int]:
        """The numbers, by name."""
        return {
            "vote_rows": len(self.rows),
            "vote_rows_invalid": self.num_invalid,
            "vote_rows_near_held_out": self.num_near_held_out,
        }


def vote_rows(domain: Domain, votes: Votes, others: Sequence[Domain] = ()) -> VoteRows:
    """The domain's preference votes that may be trained on, in the order in which they were given. What is held out is
    that of the domain and of `others` on which its experts are measured too."""
    path = votes.folder / f"{domain.name}.jsonl"
    if not path.is_file():
        return VoteRows()
    reading = read_jsonl(path, parse_preference)
    asked = [(row.id, text) for row in reading.records for text in user_turns(row)]
    held_out = [text for each in (domain, *others) for text in held_out_prompts(each)]
    near = has_near_duplicate([text for _, text in asked], held_out)
    refused = {row_id for (row_id, _), is_near in zip(asked, near, strict=True) if is_near}
    kept = tuple(row for row in reading.records if row.id not in refused)
    return VoteRows(kept, len(reading.problems), len(refused))


def user_turns(row: Preference | Example | Calculation) -> list[str]:
    """Everything that the person says in a prompt."""
    return [turn.content for turn in row.prompt if turn.role == "user"]


def held_out_prompts(domain: Domain) -> Iterator[str]:
    """What is asked in the domain's dev and test rows."""
    for name in PARSERS:
        task = name.removesuffix(".jsonl")
        for row in domain.records(name):
            if (
                isinstance(row, Utterance | Preference | Example | Calculation)
                and domain.split(row.id, task) != "train"
            ):
                yield from [row.text] if isinstance(row, Utterance) else user_turns(row)
