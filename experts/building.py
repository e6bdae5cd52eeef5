"""Training rows from documents, other rows or corrections, by the builders in `experts/builders/`.

Everything that was tried is one line of OUT/made/KIND.jsonl, append-only: {"key", "status": ok | skipped | failed,
"reason", "row", "source"}. A run goes on where the last one stopped: what is ok or skipped is not asked for again, what
failed is. Good rows are added to the domain's own file with their source passage; OUT/made/added.txt has the ids of
those that were added, so that one which a person has deleted does not come back. Another writer's row takes the place
of the one before it, unless a person has changed that.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically
from domains.domain import PARSERS
from domains.engine import Engine
from domains.errors import UserError
from domains.plugins import load_plugin, plugin_names
from domains.readers import Problem, RowError, read_jsonl
from domains.readers import rows as numbered_rows
from domains.splits import first_in_split_of
from experts.builders._parts import Failed, Item, Material, Skipped, Writers
from judges.samples import FAILED, OK, SampleFile, key_of, repaired

PACKAGE = "experts.builders"
SKIPPED = "skipped"
MADE = "made"
ADDED = "added.txt"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What is made: the kind, from what, for which folder, by whom (`identity`), at most `limit` items, where the
    work is done, and which environment variables (`variables`) it needs there."""

    kind: str
    material: Material
    folder: Path
    identity: str = ""
    limit: int | None = None
    concurrency: int = 1
    on_ray: bool = False
    variables: tuple[str, ...] = ()

    @property
    def engine(self) -> Engine:
        """Ray, or some threads."""
        if self.on_ray:
            return Engine("ray", 0, variables=self.variables)
        return Engine("threads", max(1, self.concurrency))


@dataclass(frozen=True)
class Attempt:
    """The work on an item; it goes to other machines together with its writers."""

    kind: str
    writers: Writers

    def __call__(self, item: Item) -> dict[str, Any]:
        """One line of the file of outcomes."""
        return attempt(load_builder(self.kind), self.kind, item, self.writers)


@dataclass(frozen=True)
class Made:
    """How many items had which outcome, why some gave no row, and how many rows of the domain's file are new or in the
    place of another writer's."""

    kind: str
    statuses: dict[str, int]
    reasons: dict[str, int]
    num_added: int
    file: str
    num_replaced: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The form for programs."""
        return {
            "kind": self.kind,
            "statuses": self.statuses,
            "reasons": self.reasons,
            "added": self.num_added,
            "replaced": self.num_replaced,
            "file": self.file,
        }


def builder_names() -> tuple[str, ...]:
    """All kinds of rows that can be made."""
    return plugin_names(PACKAGE)


def load_builder(kind: str) -> Any:
    """One builder by name."""
    return load_plugin(PACKAGE, kind, "kind of training row")


def make_rows(job: Job, writers: Writers, tell: Tell) -> Made:
    """Make what is missing, then add the good rows to the domain's file."""
    builder = load_builder(job.kind)
    items = builder.items(job.material)[: job.limit]
    path = job.folder / MADE / f"{job.kind}.jsonl"
    file = SampleFile(path)
    done = {row["key"]: row for row in repaired(path) if row.get("status") in {OK, SKIPPED}}
    keys = [item_key(job, builder, item) for item in items]
    todo = {key: item for key, item in zip(keys, items, strict=True) if key not in done}
    tell(f"{job.kind}: {len(items)} items, {len(items) - len(todo)} done before.")

    def record(key: str, row: dict[str, Any]) -> None:
        file.append([row | {"key": key}])
        done[key] = row
        tell(f"{job.kind}: {todo[key].id}: {row['status']}. {row['reason']}".rstrip())

    work = Attempt(job.kind, writers)
    if job.engine.elsewhere:
        for key, row in zip(todo, job.engine.map(work, todo.values()), strict=True):
            record(key, row)
    else:  # written by the thread that made it, so that a slow item holds back no other
        deque(job.engine.map(lambda key: record(key, work(todo[key])), todo), maxlen=0)
    return summed(job, builder.TARGET, [done[key] for key in dict.fromkeys(keys)])


def item_key(job: Job, builder: Any, item: Item) -> str:
    """The key of an item: what it is made from, by whom, and the builder's text (its instructions are in it)."""
    return key_of(job.kind, item.content(), job.identity if builder.USES_MODEL else "", inspect.getsource(builder))


def attempt(builder: Any, kind: str, item: Item, writers: Writers) -> dict[str, Any]:
    """One line of the file of outcomes; a good row is valid in its domain's file."""
    source = {"item": item.id, "passage": item.passage}
    try:
        row = {"id": row_id(kind, item)} | builder.build(item, writers) | {"source": source}
        PARSERS[builder.TARGET](row)
    except Failed as error:
        return {"status": FAILED, "reason": str(error), "row": None, "source": source}
    except (Skipped, RowError) as error:
        return {"status": SKIPPED, "reason": str(error), "row": None, "source": source}
    return {"status": OK, "reason": "", "row": row, "source": source}


def row_id(kind: str, item: Item) -> str:
    """The id of an item's row. One that is made from another row gets an id of the same split, so nothing leaks."""
    wanted = item.data.get("split_of")
    stem = f"{kind}-{key_of(item.content())[:12]}"
    if wanted is None:
        return stem
    return first_in_split_of(wanted, (f"{stem}-{n}" for n in count()))


def summed(job: Job, target: str, rows: Sequence[dict[str, Any]]) -> Made:
    """The outcome of a run, its good rows added."""
    good = [row["row"] for row in rows if row["status"] == OK]
    made = [row["row"] for row in repaired(job.folder / MADE / f"{job.kind}.jsonl") if row.get("status") == OK]
    passages = parent_passages(job) if any(not row["source"]["passage"] for row in made) else {}
    good, as_added = ([with_passage(row, passages) for row in some] for some in (good, made))
    merged = merge_rows(job.folder / target, good, [*made, *as_added], job.folder / MADE / ADDED)
    reasons = Counter(row["reason"] for row in rows if row["reason"])
    statuses = Counter(row["status"] for row in rows)
    return Made(job.kind, dict(statuses), dict(reasons.most_common(10)), merged.num_added, target, merged.num_replaced)


def parent_passages(job: Job) -> dict[str, str]:
    """The source passage of every row of the domain that has one."""
    found: dict[str, str] = {}
    for path in {*job.material.domain.folder.glob("*.jsonl"), *job.folder.glob("*.jsonl")}:
        for _, line in numbered_rows(path):
            row = loads(line)
            if isinstance(row.get("source"), dict) and row["source"].get("passage"):
                found[str(row.get("id"))] = str(row["source"]["passage"])
    return found


def loads(line: str) -> dict[str, Any]:
    """The object of a line; a line that is none has nothing to say here, and is reported where it is used."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return row if isinstance(row, dict) else {}


def with_passage(row: dict[str, Any], passages: Mapping[str, str]) -> dict[str, Any]:
    """A row that is made from another one, with the passage that the other was made from."""
    source = row["source"]
    if source["passage"] or source["item"] not in passages:
        return row
    return row | {"source": source | {"passage": passages[source["item"]]}}


@dataclass(frozen=True)
class Merged:
    """How many rows of a file are new, and how many have taken another's place."""

    num_added: int
    num_replaced: int


def merge_rows(
    path: Path, rows: Sequence[dict[str, Any]], made: Sequence[dict[str, Any]], added: Path | None = None
) -> Merged:
    """Put rows into a file that is whole at every moment. A row whose id is there takes the place of what was `made`
    before, not of what a person changed; one whose id is in `added` and no longer in the file was deleted."""
    before = path.read_text(encoding="utf-8-sig") if path.exists() else ""
    known = known_ids(path) if before.strip() else set()
    deleted = (set(added.read_text(encoding="utf-8").split()) if added and added.exists() else set()) - known
    new = [row for row in rows if row["id"] not in known | deleted]
    given, ours = {row["id"]: row for row in rows}, {(row["id"], key_of(row)) for row in made}
    lines = before.removesuffix("\n").split("\n") if before else []
    num_replaced = 0
    for place, line in enumerate(lines):
        old = loads(line)
        row = given.get(old.get("id"))
        if row is not None and row != old and (row["id"], key_of(old)) in ours:
            lines[place] = json.dumps(row, ensure_ascii=False)
            num_replaced += 1
    if new or num_replaced:
        lines += [json.dumps(row, ensure_ascii=False) for row in new]
        write_text_atomically(path, "".join(f"{line}\n" for line in lines))
    if added and new:
        with added.open("a", encoding="utf-8") as record:
            record.writelines(f"{row['id']}\n" for row in new)
    return Merged(len(new), num_replaced)


def known_ids(path: Path) -> set[str]:
    """The ids in a file; one with bad rows is refused, so that nothing is added to what is broken."""
    reading = read_jsonl(path, PARSERS[path.name])
    problems: tuple[Problem, ...] = reading.problems
    if problems:
        raise UserError(f"{path} has {len(problems)} bad rows, the first: {problems[0]} Correct them, then run again.")
    return {record.id for record in reading.records}
