"""The rows of the leaderboard with a model in them: single-turn rows are one answer, multi-turn rows a conversation in
which calls are run. All rows of an arm go on side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

from domains.example import Message
from domains.tool_calls import Function, ToolCall, parse, response_text
from judges.bfcl.checking import Outcome, World, check, check_turns
from judges.bfcl.official import official
from judges.bfcl.rows import MULTI_TURN, Task

Prompt = tuple[tuple[Message, ...], tuple[Function, ...]]
Dialogue = Generator[Prompt, str | None, Outcome]
Ask = Callable[[Sequence[Prompt]], Sequence[str | None]]
TOO_LONG = Outcome(False, "prompt_too_long")


def solve(tasks: Sequence[Task], ask: Ask) -> dict[str, Outcome]:
    """The outcome of each row by its id; `ask` answers prompts (None: too long)."""
    found: dict[str, Outcome] = {}
    dialogues = {task.id: dialogue(task) for task in tasks}
    waiting = {name: next(each) for name, each in dialogues.items()}
    while waiting:
        answers = ask(list(waiting.values()))
        waiting = dict(advanced(dialogues, dict(zip(waiting, answers, strict=True)), found))
    return found


def advanced(
    dialogues: Mapping[str, Dialogue], answers: Mapping[str, str | None], found: dict[str, Outcome]
) -> Generator[tuple[str, Prompt]]:
    """The next prompts after these answers; what has ended is in `found`."""
    for name, answer in answers.items():
        try:
            yield name, dialogues[name].send(answer)
        except StopIteration as end:
            found[name] = end.value


def dialogue(task: Task) -> Dialogue:
    """One row: yields prompts, gets answers, returns the outcome."""
    if task.category in MULTI_TURN:
        return (yield from conversation(task))
    answer = yield task.turns[0].messages, task.turns[0].functions
    return TOO_LONG if answer is None else check(task, parse(answer))


def conversation(task: Task) -> Dialogue:
    """A multi-turn row. It is wrong as soon as one turn is, so it ends there."""
    outcome = Outcome(False, "no_turns")
    messages: list[Message] = []
    steps: list[list[tuple[ToolCall, ...]]] = []
    with World(task) as world:
        for turn in task.turns:
            messages += turn.messages
            steps.append([])
            while True:
                answer = yield tuple(messages), turn.functions
                if answer is None:
                    return TOO_LONG
                calls = parse(answer)
                messages.append(Message("assistant", answer))
                if not calls:
                    break
                if len(steps[-1]) >= official().prompts.MAXIMUM_STEP_LIMIT:
                    return Outcome(False, "multi_turn:force_terminated")
                steps[-1].append(calls)
                messages.append(Message("user", "\n".join(response_text(result) for result in world.run(calls))))
            outcome = check_turns(task, steps)
            if not outcome.right:
                return outcome
    return outcome
