"""One training example as the model sees it: decoded, with the loss mask, and whether its end of turn is trained.

The mask is the one that training uses (`conversation_segment`); the end of turn is what the tokenizer's own template
writes after an answer. A model that is never trained on that token does not stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from jinja2 import TemplateError

from domains.errors import UserError
from domains.example import Example, Message, Preference
from experts.batch import IGNORED, conversation_segment
from experts.encoding import completion_ids, prompt_ids, render_prompt


@dataclass(frozen=True)
class Piece:
    """A run of tokens that are all trained on, or all only read."""

    text: str
    trained: bool


@dataclass(frozen=True)
class TemplateCheck:
    """The example `row_id` in pieces; `end_of_turn` is the template's token after an answer ("" when it has none);
    `problems` is empty when what is trained is what the template writes."""

    row_id: str
    pieces: tuple[Piece, ...]
    num_tokens: int
    num_trained: int
    end_of_turn: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """The end-of-turn token is trained, exactly where the template has it."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """The form for programs."""
        return asdict(self) | {"ok": self.ok}

    def lines(self) -> Iterator[str]:
        """The form for people."""
        yield f"Example {self.row_id}: {self.num_tokens} tokens, {self.num_trained} trained."
        for piece in self.pieces:
            mark = "trained" if piece.trained else "read   "
            yield from (f"  {mark} | {line}" for line in piece.text.split("\n"))
        yield from (f"template: {problem}" for problem in self.problems)
        if self.ok:
            yield f"The end-of-turn token {self.end_of_turn} is trained."


def check_template(tokenizer: Any, record: Example | Preference) -> TemplateCheck:
    """The check of one row; a preference is shown with its chosen answer."""
    answer = record.chosen if isinstance(record, Preference) else record.completion
    try:
        prompt, completion = prompt_ids(tokenizer, record.prompt), completion_ids(tokenizer, answer)
        end = template_end(tokenizer, record.prompt, answer)
    except TemplateError as error:
        raise UserError(
            f"The chat template cannot write row {record.id}: {error}. Change its turns, or give another --model."
        ) from None
    tokens = [*prompt, *completion]
    trained = [False, *(label != IGNORED for label in conversation_segment(prompt, completion).labels)]
    return TemplateCheck(
        record.id,
        tuple(pieces(tokenizer, tokens, trained)),
        len(tokens),
        sum(trained),
        tokenizer.decode(end[:1]) if end else "",
        tuple(problems(tokens, trained, end)),
    )


def template_end(tokenizer: Any, prompt: Sequence[Message], answer: str) -> list[int] | None:
    """The tokens that the template writes after an answer; None when it writes prompt or answer otherwise than here."""
    turns = [turn.as_dict() for turn in (*prompt, Message("assistant", answer.strip()))]
    whole = str(tokenizer.apply_chat_template(turns, tokenize=False))
    start = render_prompt(tokenizer, prompt) + answer.strip()
    if not whole.startswith(start):
        return None
    return list(tokenizer.encode(whole.removeprefix(start), add_special_tokens=False))


def pieces(tokenizer: Any, tokens: Sequence[int], trained: Sequence[bool]) -> Iterator[Piece]:
    """Runs of tokens with the same mask, decoded with their special tokens."""
    for is_trained, run in groupby(zip(tokens, trained, strict=True), key=lambda pair: pair[1]):
        yield Piece(str(tokenizer.decode([token for token, _ in run])), is_trained)


def problems(tokens: Sequence[int], trained: Sequence[bool], end: Sequence[int] | None) -> Iterator[str]:
    """Why a model trained on this example would not stop where its template expects it."""
    if end is None:
        yield "a conversation with the answer does not begin as the prompt that is generated from."
    elif not end:
        yield "it writes nothing after an answer, so that the model cannot learn to stop."
    elif tokens[-1] != end[0]:
        yield "it ends an answer with another token than the tokenizer's end-of-text token, which is what is trained."
    if not trained[-1]:
        yield "the last token of the answer is not trained."
