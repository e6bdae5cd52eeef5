"""What the chat page shows besides answers: notices, red-flag rules, passages of documents, and where votes go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from domains.domain import GENERAL, Domain, shipped_names
from domains.errors import UserError
from domains.example import Document, Message, SafetyRule
from domains.local_tools.run import local_functions, run_local
from domains.plugins import load_plugin, plugin_names
from domains.votes import Votes
from judges.scorers.safety import applies
from ui.chat_tools import ChatTools

RED_FLAG = "red_flag"
SENT_TO_HELP = SafetyRule(
    "answer-names-911",
    RED_FLAG,
    r"\b(call|dial|phone|contact)(ing)? (\w+ ){0,3}(911|988)\b",
    "The answer speaks of 911. If this is happening now, call 911 at once.",
)
SCORERS, GROUNDING = "judges.scorers", "grounding"
MAX_ALERTS = 3
log = logging.getLogger(__name__)


class Finding(Protocol):
    """A claim of an answer: "supported", "unsupported" or "contradicted" by a passage of a document."""

    @property
    def claim(self) -> str:
        """The sentence of the answer."""
        ...

    @property
    def verdict(self) -> str:
        """What the passage says of it."""
        ...

    @property
    def passage(self) -> str:
        """The passage; empty when none comes near."""
        ...

    @property
    def document_id(self) -> str:
        """Where the passage is from: `file#section`."""
        ...


Passages = Callable[[str, str, str], Sequence[Finding]]
"""(expert, question, answer) to findings."""


@dataclass(frozen=True)
class Sources:
    """Notices by domain name, rules of all domains; `passages`, `votes` and `tools` are None where there is no such
    thing."""

    notices: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[SafetyRule, ...] = ()
    passages: Passages | None = None
    votes: Votes | None = None
    tools: ChatTools | None = None

    @classmethod
    def of_home(cls, home: Path) -> Sources:
        """Those of the shipped domains and of the domains that were built in a home folder."""
        domains = known_domains(home)
        return cls(
            {name: domain.notice for name, domain in domains.items() if domain.notice},
            tuple(rule for domain in domains.values() for rule in domain.safety_rules()),
            grounded_passages(domains) if GROUNDING in plugin_names(SCORERS) else None,
            Votes.of_home(home),
            ChatTools(local_functions(), run_local) if local_functions() else None,
        )

    def red_flags(self, turns: Sequence[Message]) -> list[SafetyRule]:
        """Rules that anything the person said matches, the newest words first. A rule for every question is no flag. An
        answer that sends to an emergency number is one, where no rule saw it coming."""
        flags = [rule for rule in self.rules if rule.kind == RED_FLAG and rule.question_pattern]
        said = [turn.content for turn in reversed(turns) if turn.role == "user"]
        found = {rule.id: rule for text in said for rule in flags if applies(rule, text)}
        answer = next((turn.content for turn in reversed(turns) if turn.role == "assistant"), "")
        if not found and applies(SENT_TO_HELP, answer):
            return [SENT_TO_HELP]
        return list(found.values())[:MAX_ALERTS]


def known_domains(home: Path) -> dict[str, Domain]:
    """Domains by name. One whose data have been moved away is left out: its experts still answer."""
    from experts.build import SOURCE, built_domain

    names = {*shipped_names(), *(path.parent.name for path in home.glob(f"*/{SOURCE}"))}
    found = {}
    for name in sorted(names):
        try:
            found[name] = built_domain(home, name)
        except UserError as error:
            log.warning("the data of domain %s are not there: %s", name, error)
    return found


def grounded_passages(domains: Mapping[str, Domain]) -> Passages:
    """The grounding judge over the documents of the expert's domain; the general model's are those of all domains."""

    def passages(expert: str, question: str, answer: str) -> Sequence[Finding]:
        documents = documents_for(expert, domains)
        judge = load_plugin(SCORERS, GROUNDING, "judge")
        found: Sequence[Finding] = judge.ground(answer, documents, question) if documents else ()
        return found

    return passages


def documents_for(expert: str, domains: Mapping[str, Domain]) -> tuple[Document, ...]:
    """The documents that an expert's answers are checked against."""
    name = expert.partition("/")[0]
    chosen = domains.values() if name == GENERAL else [domains[name]] if name in domains else []
    return tuple(document for domain in chosen for document in domain.documents)
