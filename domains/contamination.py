"""Which test rows were seen in training: shared word n-grams and near-duplicates, with the rows that share them.

As in the GPT-3 report (arXiv:2005.14165, appendix C) a run of 13 equal words is a match and n-grams that many training
rows share are template text, not leakage; short rows match by half of their 8-grams, by near-duplication, or whole.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from domains.domain import Domain
from domains.example import Example, Preference, Split, Task
from domains.near_duplicates import THRESHOLD, shingles

NGRAM_WORDS = 8
RUN_WORDS = 13
OVERLAP = 0.5
TEMPLATE_ROWS = 10
MIN_WORDS = 4


@dataclass(frozen=True)
class Passage:
    """A text with the file and row that it comes from."""

    file: str
    id: str
    text: str


@dataclass(frozen=True)
class Match:
    """A test row and the training row it shares most with.

    `kind`: "same text", "shared run" (13 words or more), "shared n-grams" or "near-duplicate". `overlap`: the share of
    the test row's 8-grams (4-word shingles for a near-duplicate) that the training row has. `shared`: the longest run.
    """

    test_file: str
    test_id: str
    train_file: str
    train_id: str
    kind: str
    overlap: float
    shared: str


@dataclass(frozen=True)
class Contamination:
    """All matches, with the number of test rows by file, so that a file without a match is seen to be checked."""

    num_test: Mapping[str, int]
    num_train: Mapping[str, int]
    matches: tuple[Match, ...]

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        flagged = Counter(match.test_file for match in self.matches)
        files = [{"file": file, "rows": n, "flagged": flagged[file]} for file, n in self.num_test.items()]
        rows = [asdict(match) for match in self.matches]
        rule = (
            f"a run of {RUN_WORDS} equal words, {OVERLAP:.0%} of a row's {NGRAM_WORDS}-grams, a near-duplicate or the "
            f"same text; n-grams of more than {TEMPLATE_ROWS} training rows are template text"
        )
        return {"rule": rule, "files": files, "num_train": dict(self.num_train), "rows": rows}


@dataclass
class Index:
    """The training rows by their n-grams and shingles."""

    passages: Sequence[Passage]
    ngrams: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    holders: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    whole: dict[str, int] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fill the tables."""
        for place, passage in enumerate(self.passages):
            words = words_of(passage.text)
            self.whole.setdefault(" ".join(words), place)
            for gram in ngrams_of(words):
                self.ngrams[gram].add(place)
            found = shingles(passage.text)
            self.sizes.append(len(found))
            for shingle in found:
                self.holders[shingle].add(place)

    def match(self, test: Passage) -> Match | None:
        """The strongest match of a test row, if there is one."""
        words = words_of(test.text)
        if len(words) < MIN_WORDS:
            return None
        text = " ".join(words)
        if text in self.whole:
            return self._found(test, self.whole[text], "same text", 1.0, text)
        return self._by_ngrams(test, words) or self._by_shingles(test)

    def _by_ngrams(self, test: Passage, words: Sequence[str]) -> Match | None:
        grams = ngrams_of(words)
        shared: dict[int, list[int]] = defaultdict(list)
        for start, gram in enumerate(grams):
            holders = self.ngrams.get(gram, set())
            if len(holders) <= TEMPLATE_ROWS:
                for place in holders:
                    shared[place].append(start)
        if not shared:
            return None
        runs = {place: longest_run(starts) for place, starts in shared.items()}
        best = max(shared, key=lambda place: (runs[place][1], len(shared[place])))
        first, length = runs[best]
        num_words, overlap = length + NGRAM_WORDS - 1, len(shared[best]) / len(grams)
        if num_words < RUN_WORDS and overlap < OVERLAP:
            return None
        kind = "shared run" if num_words >= RUN_WORDS else "shared n-grams"
        return self._found(test, best, kind, overlap, " ".join(words[first : first + num_words]))

    def _by_shingles(self, test: Passage) -> Match | None:
        own = shingles(test.text)
        common = Counter(place for shingle in own for place in self.holders.get(shingle, ()))
        scores = {place: n / (len(own) + self.sizes[place] - n) for place, n in common.items()}
        best = max(scores, key=lambda place: scores[place], default=None)
        if best is None or scores[best] < THRESHOLD:
            return None
        return self._found(test, best, "near-duplicate", scores[best], "")

    def _found(self, test: Passage, place: int, kind: str, overlap: float, shared: str) -> Match:
        train = self.passages[place]
        return Match(test.file, test.id, train.file, train.id, kind, round(overlap, 4), shared)


def contamination(train: Sequence[Passage], test: Sequence[Passage]) -> Contamination:
    """Every test row that matches a training row, the strongest match of each."""
    index = Index(train)
    matches = tuple(match for match in map(index.match, test) if match is not None)
    return Contamination(Counter(p.file for p in test), Counter(p.file for p in train), matches)


def check_domains(domains: Sequence[Domain]) -> Contamination:
    """The test rows of all files of some domains against all their training rows."""
    train = [passage for domain in domains for passage in passages(domain, "train")]
    test = [passage for domain in domains for passage in passages(domain, "test")]
    return contamination(train, test)


def passages(domain: Domain, split: Split) -> list[Passage]:
    """Every text of a split that is trained on or measured, one passage a row."""
    found = [Passage(f"{domain.name}/documents", d.id, d.text) for d in domain.sections(split)]
    for task in get_args(Task):
        found += [_passage(domain, task, row.id, example_texts(row)) for row in domain.examples(task, split)]
    for name, rows in (
        ("preferences", domain.preferences(split)),
        ("recommendations", domain.recommendations(split)),
    ):
        found += [_passage(domain, name, row.id, preference_texts(row)) for row in rows]
    return found + [_passage(domain, "routing", row.id, [row.text]) for row in domain.utterances(split)]


def example_texts(row: Example) -> list[str]:
    """The turns of a row, without the system prompt, which rows share by design."""
    return [*(m.content for m in row.prompt if m.role != "system"), row.completion]


def preference_texts(row: Preference) -> list[str]:
    """The turns of a row and all its answers."""
    return [*(m.content for m in row.prompt if m.role != "system"), *row.candidates]


def words_of(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return re.findall(r"[a-z0-9']+", text.lower())


def ngrams_of(words: Sequence[str]) -> list[str]:
    """All runs of NGRAM_WORDS words, in order."""
    return [" ".join(words[start : start + NGRAM_WORDS]) for start in range(len(words) - NGRAM_WORDS + 1)]


def longest_run(starts: Iterable[int]) -> tuple[int, int]:
    """(first, length) of the longest run of consecutive numbers among ascending ones."""
    best, first, last = (0, 0), -2, -2
    for start in starts:
        first = first if start == last + 1 else start
        last = start
        best = max(best, (first, last - first + 1), key=lambda run: run[1])
    return best


def _passage(domain: Domain, file: str, row_id: str, texts: Sequence[str]) -> Passage:
    return Passage(f"{domain.name}/{file}", row_id, "\n".join(texts))
