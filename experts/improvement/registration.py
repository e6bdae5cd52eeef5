"""How a run ends: what it came to is on disk before its version is made, so that a kill in between loses neither.

RUN/pending.json is written first, then the version, then RUN/result.json; an ending that a kill cut short is finished
when the expert is next improved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically
from experts.checkpoint import CONFIG, WEIGHTS
from experts.digests import weights_digest
from experts.expert import read_expert, write_expert
from experts.export import base_of
from experts.improvement.history import History, Version
from experts.improvement.promotion import Check, Decision
from experts.journal import discard

PENDING, RESULT, WORK = "pending.json", "result.json", "work"


@dataclass(frozen=True)
class Candidate:
    """The adapter of a run that may become the next version, with the version that it came from and the decision."""

    history: History
    run: str
    parent: int
    adapter: Path
    decision: Decision

    def register(self) -> Version:
        """The weights as a version of the expert; in use if they were promoted and the parent still is."""
        found = self.decision
        metrics = {check.measure: {"before": check.before, "after": check.after} for check in found.checks}
        digest = weights_digest(self.adapter)
        made = Version(0, digest, "", self.parent, found.promoted, found.reason, metrics, self.run)
        return self.history.add(self.write, made)

    def write(self, folder: Path) -> None:
        """The files of the version: the weights, and the card of the version before with its new parent."""
        for name in (CONFIG, WEIGHTS):
            (folder / name).write_bytes((self.adapter / name).read_bytes())
        before = self.history.version_folder(self.parent)
        old = read_expert(before)
        card = asdict(old) | {"parents": {**old.parents, "improved_from": weights_digest(before)}}
        card["metrics"] = {**old.metrics, "improvement": self.decision.reason}
        write_expert(folder, base_of(old), {key: value for key, value in card.items() if key != "folder"})


def announce(folder: Path, result: Mapping[str, Any], adapter: Path | None) -> None:
    """Note what a run came to, before its version is made; `adapter` is None where nothing was learnt."""
    place = None if adapter is None else os.path.relpath(adapter, folder)
    write_text_atomically(folder / PENDING, json.dumps({"result": dict(result), "adapter": place}, ensure_ascii=False))


def finish(folder: Path, history: History) -> dict[str, Any]:
    """Make the version that a run has announced and write its result, also after a kill: a version that was made then
    stays as it is, in use or not."""
    content = json.loads((folder / PENDING).read_text(encoding="utf-8"))
    result = {**content["result"], "version": None}
    if content["adapter"] is not None:
        decision = Decision(result["promoted"], result["reason"], tuple(Check(**check) for check in result["checks"]))
        candidate = Candidate(history, folder.name, result["from_version"], folder / content["adapter"], decision)
        made = candidate.register()
        result |= {"version": made.number, "promoted": made.promoted, "reason": made.note}
    write_text_atomically(folder / RESULT, json.dumps(result, indent=2, ensure_ascii=False))
    (folder / PENDING).unlink()
    discard(folder / WORK)
    return result


def unfinished(runs: Path) -> list[Path]:
    """The folders of an expert's runs whose ending was cut short."""
    return sorted(path.parent for path in runs.glob(f"run-*/{PENDING}"))
