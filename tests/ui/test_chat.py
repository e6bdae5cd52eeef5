"""How the chat page is put together, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from domains.errors import UserError
from domains.votes import Votes
from router.assistant import AUTO
from tests.fakes_assistant import EXPERTS, ScriptedAssistant
from ui.chat import expert_choice, launch, rival_choice, small_print
from ui.chat_sources import Sources


def test_choices_are_choose_for_me_and_all_experts() -> None:
    choices = expert_choice(EXPERTS).choices
    assert [value for _, value in choices] == [AUTO, *EXPERTS]
    assert choices[0][0] == "Choose for me"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.org"])
def test_the_page_is_not_opened_to_other_machines(host: str) -> None:
    with pytest.raises(UserError, match="no login"):
        launch(ScriptedAssistant(), host)


def test_nobody_is_compared_by_default() -> None:
    rival = rival_choice(EXPERTS)
    assert [value for _, value in rival.choices] == ["", *EXPERTS]
    assert rival.value == ""


def test_consent_is_on_the_page_where_votes_are_stored() -> None:
    folder = Path("<b>home</b>") / "votes"
    assert "&lt;b&gt;home&lt;/b&gt;/votes" in small_print(Sources(votes=Votes(folder)))
    without = small_print(Sources())
    assert "If you vote" not in without
    assert "kept in your browser" in without
