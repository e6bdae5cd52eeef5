"""Programmatic checks of instructions, in the manner of IFEval (arXiv 2311.07911).

A check is {"type": ..., ...}; `CHECKS` has every type with the keys that it takes. Case and the shape of apostrophes do
not count. An empty answer passes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from domains.domain import Domain
from domains.errors import UserError, unknown_name
from judges.sentences import sentences, words
from judges.verdict import Answered, Verdict

Check = dict[str, Any]
BULLET = re.compile(r"^\s*[-*•‣–]\s+\S", re.MULTILINE)


@dataclass(frozen=True)
class Judge:
    """1.0 when every check of the row passes and the answer was not cut off, else 0.0; None without checks."""

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The same for every domain: the checks come with the rows."""
        return cls()

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row."""
        return [judge(row) for row in rows]


def judge(row: Answered) -> Verdict:
    """The verdict on one row."""
    if not row.checks:
        return Verdict(None, "Unscored: the row has no checks.")
    results = [result(check, row.answer) for check in row.checks]
    failed = [item["type"] for item in results if not item["passed"]]
    share = 1 - len(failed) / len(results)
    parts = {"checks": results, "share_passed": round(share, 4), "finished": row.finished}
    cut = row.finished is False
    reasons = ([f"failed {', '.join(failed)}"] if failed else []) + (["cut off at the token limit"] if cut else [])
    said = (
        f"The answer {' and was '.join(reasons) if failed else 'was ' + reasons[0]}." if reasons else "All checks pass."
    )
    return Verdict(float(not reasons), said, parts)


def result(check: Check, answer: str) -> dict[str, Any]:
    """The type of a check and whether the answer passes; for a choice with a known answer, also whether it is right."""
    passed = run_check(check, answer)
    right = {"correct": folded(answer) == folded(str(check["answer"]))} if "answer" in check else {}
    return {"type": check["type"], "passed": passed, **right}


def run_check(check: Check, answer: str) -> bool:
    """Whether an answer passes one check; a check that cannot be read is a UserError."""
    kind = str(check.get("type", ""))
    if kind not in CHECKS:
        raise unknown_name("check type", kind, CHECKS)
    test, keys = CHECKS[kind]
    missing = [key for key in keys if key not in check]
    if missing:
        raise UserError(f"The check {json.dumps(check)} lacks {', '.join(missing)}. '{kind}' takes {', '.join(keys)}.")
    return bool(answer.strip()) and test(check, answer.strip())


def starts_with(check: Check, answer: str) -> bool:
    """The answer begins with `value`."""
    return straight(answer).startswith(straight(check["value"]))


def last_line_starts_with(check: Check, answer: str) -> bool:
    """The last line that is not blank begins with `value`."""
    return straight(answer.splitlines()[-1].strip()).startswith(straight(check["value"]))


def num_bullets(check: Check, answer: str) -> bool:
    """Between `min` and `max` lines are bullet points."""
    return int(check["min"]) <= len(BULLET.findall(answer)) <= int(check["max"])


def one_of(check: Check, answer: str) -> bool:
    """The whole answer, but for a final period, is one of `values`."""
    return folded(answer) in {folded(value) for value in check["values"]}


def names_any(check: Check, answer: str) -> bool:
    """One of `values` occurs as whole words, a plural ending allowed."""
    return any(
        re.search(rf"(?<!\w){re.escape(straight(v))}(?:s|es|'s)?(?!\w)", straight(answer)) for v in check["values"]
    )


def json_keys(check: Check, answer: str) -> bool:
    """The whole answer is one JSON object with exactly `keys`, each once."""
    try:
        pairs = json.loads(answer, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return False
    return isinstance(pairs, Pairs) and sorted(key for key, _ in pairs) == sorted(check["keys"])


class Pairs(list[tuple[str, Any]]):
    """The members of a JSON object, repeated keys kept."""


def straight(text: str) -> str:
    """Case-folded, with straight apostrophes."""
    return text.replace("’", "'").casefold()


def folded(text: str) -> str:
    """A whole answer for comparison: stripped, one final period removed."""
    return straight(text.strip()).removesuffix(".").rstrip()


CHECKS: dict[str, tuple[Callable[[Check, str], bool], tuple[str, ...]]] = {
    "starts_with": (starts_with, ("value",)),
    "last_line_starts_with": (last_line_starts_with, ("value",)),
    "num_bullets": (num_bullets, ("min", "max")),
    "max_words": (lambda check, answer: len(words(answer)) <= int(check["value"]), ("value",)),
    "min_words": (lambda check, answer: len(words(answer)) >= int(check["value"]), ("value",)),
    "max_sentences": (lambda check, answer: len(sentences(answer)) <= int(check["value"]), ("value",)),
    "one_of": (one_of, ("values",)),
    "contains_any": (names_any, ("values",)),
    "contains_none": (lambda check, answer: not names_any(check, answer), ("values",)),
    "json_keys": (json_keys, ("keys",)),
}
