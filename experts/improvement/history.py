"""The versions of an expert that improves, and which of them is in use: HOME/versions/DOMAIN/TRACK.

A version is a whole expert folder. The one in use is a copy in HOME/DOMAIN/TRACK, put there by renaming a finished
folder; what a kill cut short is finished when the history is opened again. Version 0 is the expert as it was built.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from domains.atomic import write_text_atomically
from domains.errors import UserError
from domains.votes import now
from experts.digests import weights_digest
from experts.expert import CARD
from experts.journal import RECORD, replace_folder

FOLDER = "versions"
HISTORY = "history.json"


@dataclass(frozen=True)
class Version:
    """A version: its number, the digest of its weights, the version it came from, whether it passed the guards, what
    was measured, and the name of the run that made it."""

    number: int
    digest: str
    made: str
    parent: int | None = None
    promoted: bool = True
    note: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""


@dataclass(frozen=True)
class History:
    """The history of one expert, and the folder in which the version in use is."""

    folder: Path
    live: Path

    @classmethod
    def of(cls, home: Path, expert: str) -> History:
        """The history of an expert in a home folder."""
        return cls(home / FOLDER / expert, home / expert)

    @property
    def path(self) -> Path:
        """The list of versions."""
        return self.folder / HISTORY

    def lock(self) -> FileLock:
        """One change at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock")

    def read(self) -> dict[str, Any]:
        """The file's content."""
        empty: dict[str, Any] = {"current": None, "versions": []}
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else empty

    @property
    def versions(self) -> tuple[Version, ...]:
        """All versions, oldest first."""
        return tuple(Version(**row) for row in self.read()["versions"])

    @property
    def current(self) -> int | None:
        """The number of the version in use; None before the first improvement."""
        found = self.read()["current"]
        return None if found is None else int(found)

    def version_folder(self, number: int) -> Path:
        """Where a version is."""
        return self.folder / str(number)

    def write(self, current: int | None, versions: tuple[Version, ...]) -> None:
        """Replace the file."""
        content = {"current": current, "versions": [asdict(version) for version in versions]}
        write_text_atomically(self.path, json.dumps(content, indent=2, default=str))

    def open(self) -> Version:
        """The version in use. An expert that is new, or was built anew, becomes a version; a change that a kill cut
        short is finished."""
        with self.lock():
            current = self.current
            if current is not None and not (self.live / CARD).exists():
                self.place(current)
            digest = weights_digest(self.live)
            by_number = {version.number: version for version in self.versions}
            known = [version.number for version in self.versions if version.digest == digest]
            if not known:
                return self.append(self.live_copy, Version(len(by_number), digest, now(), note="as built"))
            assert current is not None, "a history with versions has one in use"
            if current not in known:  # a kill came between the list and the folder: the list is right
                self.place(current)
            return by_number[current]

    def live_copy(self, target: Path) -> None:
        """Copy the version in use."""
        shutil.copytree(self.live, target, dirs_exist_ok=True)

    def append(self, write: Callable[[Path], None], version: Version) -> Version:
        """Add a version and, if it was promoted, use it; the lock is held."""
        target = self.version_folder(version.number)
        scratch = target.with_name(f".{target.name}.part")
        for stale in (scratch, target):
            shutil.rmtree(stale, ignore_errors=True)
        scratch.mkdir(parents=True)
        write(scratch)
        made = replace(version, digest=weights_digest(scratch))
        scratch.rename(target)
        current = made.number if made.promoted else self.current
        self.write(current, (*self.versions, made))
        if made.promoted and weights_digest(self.live) != made.digest:
            self.place(made.number)
        return made

    def add(self, write: Callable[[Path], None], version: Version) -> Version:
        """Add what a run has made and put it into use if it was promoted; returns it as the run leaves it. Its weights
        are a version once, and a run adds its version once: called again after a kill, this changes nothing."""
        with self.lock():
            same = next((each for each in self.versions if each.digest == version.digest), None)
            if same is None:
                return self.append(write, self.admitted(replace(version, number=len(self.versions), made=now())))
            if same.run == version.run:
                return same
            found = self.admitted(replace(version, number=same.number, made=same.made, parent=same.parent))
            if found.promoted:
                others = self.versions
                self.write(found.number, (*others[: found.number], found, *others[found.number + 1 :]))
                self.place(found.number)
            return found

    def admitted(self, version: Version) -> Version:
        """The version; not promoted when the expert that it was compared with is no longer the one in use."""
        moved = self.moved_from(version)
        if not version.promoted or not moved:
            return version
        return replace(version, promoted=False, note=f"Not put into use: {moved} meanwhile. {version.note}")

    def moved_from(self, version: Version) -> str:
        """What happened to the expert since a version was begun; empty when nothing did."""
        current = self.current
        if current not in (version.parent, version.number):
            return f"version {current} was put into use"
        if weights_digest(self.live) not in {each.digest for each in self.versions}:
            return "the expert was built anew"
        return ""

    def use(self, number: int) -> Version:
        """Put a version into use."""
        with self.lock():
            found = {version.number: version for version in self.versions}
            if number not in found:
                allowed = ", ".join(map(str, found)) or "none: the expert has not been improved yet"
                raise UserError(f"There is no version {number} of {self.live.parent.name}/{self.live.name}: {allowed}.")
            self.write(number, self.versions)
            self.place(number)
            return found[number]

    def before(self) -> int:
        """The version that the one in use came from."""
        current = next((version for version in self.versions if version.number == self.current), None)
        if current is None or current.parent is None:
            raise UserError(
                f"{self.live.parent.name}/{self.live.name} has no version before the one in use. "
                "'expertsmith list' shows its versions; name one with --rollback VERSION."
            )
        return current.parent

    def place(self, number: int) -> None:
        """Copy a version to where it is used from. The build's record of the stage stays, so that a build leaves it; a
        kill between two renames leaves it in the folder that was set aside."""
        scratch = self.live.with_name(f".{self.live.name}-version")
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(self.version_folder(number), scratch)
        for folder in (self.live, self.live.with_name(f".{self.live.name}-old")):
            if (folder / RECORD).exists() and not (scratch / RECORD).exists():
                shutil.copy(folder / RECORD, scratch / RECORD)
        replace_folder(scratch, self.live)


def histories(home: Path) -> dict[str, History]:
    """All histories of a home folder, by the expert's name."""
    found = sorted((home / FOLDER).glob(f"*/*/{HISTORY}"))
    names = [f"{path.parent.parent.name}/{path.parent.name}" for path in found]
    return {name: History.of(home, name) for name in names}
