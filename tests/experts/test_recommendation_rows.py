"""`align.rows = "recommendations"`: a recipe trains on titles to choose from."""

import json
import math

import pytest

from domains.domain import Domain
from domains.errors import UserError
from experts.build import run_build
from experts.recipe import Align, load_recipe
from experts.stages.align import rows_of
from experts.train import LOG
from tests.fakes import TOPICS, reply, tiny_build, turns, write_base, write_domain, write_jsonl


def recommendations():
    """One right title and three others for each topic."""
    return [
        {
            "id": f"n{i}",
            "prompt": turns(f"I have a {t}. Which: red, green, blue or grey {t}?"),
            "chosen": reply(f"red {t}"),
            "rejected": [reply(f"{colour} {t}") for colour in ("green", "blue", "grey")],
        }
        for i, t in enumerate(TOPICS)
    ]


@pytest.mark.slow
def test_a_recipe_trains_on_recommendations(tmp_path):
    """S-DPO at policy = reference is ln(1 + k): ln 4, where the preferences of this domain have one or two others."""
    write_base(tmp_path / "base")
    write_jsonl(write_domain(tmp_path / "toy") / "recommendations.jsonl", recommendations())
    build = tiny_build(tmp_path, "align.rows=recommendations", "align.objective=s_dpo")
    run_build(build, lambda line: None)
    first = json.loads((build.home / "toy/conversation" / LOG).read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(4), abs=0.02)


def test_a_domain_without_recommendations_is_refused(tmp_path):
    domain = Domain.load(write_domain(tmp_path / "toy"))
    with pytest.raises(UserError, match="has none to train on. Add recommendations.jsonl"):
        rows_of(domain, Align(rows="recommendations"), "train")
    assert rows_of(domain, Align(), "train") == domain.preferences("train")


def test_another_kind_of_rows_is_refused():
    with pytest.raises(UserError, match=r"align.rows = 'titles'"):
        load_recipe("tiny", ["align.rows=titles"])
