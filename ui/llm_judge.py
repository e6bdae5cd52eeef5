"""The LLM judge of a command: a given endpoint, or our own service over the model that is loaded then."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from domains.domain import GENERAL


@contextmanager
def judge_for(
    load: Callable[[], Any], judges: Sequence[str], home: Path, settings: Mapping[str, Any] | None = None
) -> Iterator[tuple[Any, str]]:
    """The LLM judge and its name: the endpoint of OPENAI_BASE_URL, or our own service over the assistant that is loaded
    then, with the general model, whose weights are part of the cache's keys."""
    from judges.scorers.llm_judge import CACHE_FOLDER, Judge
    from judges.scoring import with_settings

    if "llm_judge" not in judges:
        yield None, ""
        return
    judge = with_settings("llm_judge", Judge.for_domain(None), settings or {})
    if judge.cache == CACHE_FOLDER:
        judge = replace(judge, cache=str(home / "judge_cache"))
    if os.environ.get("OPENAI_BASE_URL"):
        yield judge, judge.name
    else:
        from ui.background import local_service

        assistant = load()
        identity = f"{GENERAL} {assistant.digest(GENERAL)}"
        own = replace(judge, model=GENERAL, concurrency=1, use_logprobs=True, identity=identity)
        with local_service(assistant) as url:
            yield replace(own, base_url=url), "general (our own service)"
