"""Answers that fit a JSON schema, or that call functions as they are declared: tokens that cannot go on to one are
masked out. The automaton is llguidance's.

https://github.com/guidance-ai/llguidance
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from torch import Tensor

from domains.errors import UserError
from router.call_grammar import ToolUse, lark


@dataclass
class SchemaGrammar:
    """The state of one answer. It refuses a token that does not fit, so an answer that ends by itself is valid."""

    matcher: LLMatcher

    def allowed(self, logits_V: Tensor) -> Tensor:
        """The logits, minus infinity where a token does not fit."""
        bits = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[: len(logits_V)].astype(bool)
        return logits_V.masked_fill(~torch.from_numpy(mask).to(logits_V.device), float("-inf"))

    def accept(self, token: int) -> None:
        """Go on after a token."""
        if not self.matcher.consume_token(token):
            raise RuntimeError(f"The grammar refused a token that it had allowed: {self.matcher.get_error()}")


@dataclass
class Grammars:
    """Makes grammars for one tokenizer; its tables are computed at the first one (about a second)."""

    tokenizer: Any
    vocabulary_size: int
    tables: list[LLTokenizer] = field(default_factory=list)

    def of(self, json_schema: str) -> SchemaGrammar:
        """The grammar of a JSON schema; one that cannot be followed is a UserError."""
        try:
            return self.started(LLMatcher.grammar_from_json_schema(json_schema))
        except ValueError as error:
            raise schema_error("The JSON schema", error, "leave response_format out", "response_format") from None

    def of_calls(self, use: ToolUse, content_schema: str | None = None) -> SchemaGrammar | None:
        """The grammar of an answer that may call functions. Where a schema cannot be followed: a UserError if a call is
        required, else None, so that the answer is free."""
        try:
            return self.started(LLMatcher.grammar_from_lark(lark(use, content_schema)))
        except ValueError as error:
            if use.required or use.only or content_schema:
                raise schema_error("The schema of a function", error, 'set tool_choice = "auto"', "tools") from None
            return None

    def started(self, grammar: str) -> SchemaGrammar:
        """A grammar at its beginning; a ValueError where there can be none."""
        if not self.tables:
            self.tables.append(from_tokenizer(self.tokenizer, n_vocab=self.vocabulary_size))
        matcher = LLMatcher(self.tables[0], grammar, log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return SchemaGrammar(matcher)


def schema_error(subject: str, reason: object, instead: str, where: str) -> UserError:
    """The refusal of a schema in the field `where` of a request."""
    text = " ".join(str(reason).split())[:300]
    return UserError(f"{subject} cannot be followed: {text}. Simplify it, or {instead}.", where)
