"""The default back-end: transformers in this process, one copy of the base, all experts in one running batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from domains.example import Message
from router.assistant import Answer, Sampling
from router.call_grammar import ToolUse, declared
from router.engine import Engine
from router.grammar import Grammars, SchemaGrammar
from router.scheduler import Limits, Row, Scheduler
from router.slots import SlotBatch
from router.writing import Writer


@dataclass
class InProcess:
    """Answers with an engine's experts; its thread starts with the first request."""

    engine: Engine
    limits: Limits = Limits()
    scheduler: Scheduler = field(init=False)
    grammars: Grammars = field(init=False)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(SlotBatch(self.engine), self.limits)
        self.grammars = Grammars(self.engine.tokenizer, self.engine.model.get_output_embeddings().weight.shape[0])

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts."""
        return tuple(self.engine.experts)

    def check_room(self, client: str, num_answers: int) -> None:
        """Refuse what could not wait."""
        self.scheduler.check_room(client, num_answers)

    def start(self, messages: Sequence[Message], expert: str, sampling: Sampling, client: str) -> Answer:
        """Begin an answer."""
        ids = self.engine.encode(messages, sampling.tools, expert)
        answer = Answer(sampling.num_answers)
        rows = [Row(ids, expert, self.writer(sampling, i, len(ids)), answer) for i in range(sampling.num_answers)]
        self.scheduler.submit(rows, client)
        return answer

    def writer(self, sampling: Sampling, choice: int, prompt_tokens: int) -> Writer:
        """Who writes one of the answers."""
        made = Writer(self.engine.tokenizer, sampling, choice, grammar_for(self.grammars, sampling))
        made.prompt_tokens = prompt_tokens
        return made

    def rewards(self, messages: Sequence[Message], expert: str, answers: Sequence[str]) -> list[float]:
        """The rewards by the expert's own head."""
        return self.engine.rewards(messages, expert, answers)

    def digest(self, expert: str) -> str:
        """The weights that the engine loaded."""
        return self.engine.digest(expert)

    def gauges(self) -> dict[str, float]:
        """The scheduler's counts, and what runs and waits."""
        counts = {name: float(value) for name, value in asdict(self.scheduler.counts).items()}
        return counts | {"running": len(self.scheduler.running), "waiting": len(self.scheduler.waiting)}

    def is_ready(self) -> bool:
        """Until it is closed."""
        return not self.scheduler.closing

    def close(self, seconds: float) -> int:
        """Finish, then tell."""
        return self.scheduler.close(seconds)


def grammar_for(grammars: Grammars, sampling: Sampling) -> SchemaGrammar | None:
    """What an answer must look like, None for free text."""
    if sampling.tools:
        use = ToolUse(declared(sampling.tools), sampling.call_required, sampling.call_only, sampling.parallel_calls)
        return grammars.of_calls(use, sampling.json_schema)
    return grammars.of(sampling.json_schema) if sampling.json_schema else None
