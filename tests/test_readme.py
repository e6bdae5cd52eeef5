"""What the README names exists: every path, every verb, every make target."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ui.cli import parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINKS = sorted(set(re.findall(r"\]\(([^)#]+)\)", README)))
VERBS = sorted(set(re.findall(r"^expertsmith ([a-z]+)", README, re.MULTILINE)))
TARGETS = sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)))


@pytest.mark.parametrize("link", LINKS)
def test_every_linked_file_exists(link):
    assert (ROOT / link).is_file()


def test_every_verb_is_one_of_the_command(capsys):
    """`VERB --help` ends with exit code 0 and shows an example; a verb that is not there ends with 2."""
    assert {"build", "evaluate", "route", "serve", "chat"} <= set(VERBS)
    for verb in VERBS:
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([verb, "--help"])
        assert ended.value.code == 0
        assert "Example: expertsmith" in capsys.readouterr().out


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_is_in_the_makefile(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:domains|experts|judges|router|ui)/[\w/.]+)`", README))))
def test_every_named_path_exists(name):
    assert (ROOT / name).exists()


def test_no_placeholder_is_left():
    assert "PLACEHOLDER" not in README
