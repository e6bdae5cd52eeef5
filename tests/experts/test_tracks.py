"""What a build says before it begins: caps that cut rows, and the audit of the pairs that it trains on."""

from types import SimpleNamespace

from domains.domain import Domain
from experts.journal import RECORD
from experts.recipe import load_recipe
from experts.tracks import budgeted, notes, trainable


def build_of(tmp_path, *overrides):
    domain = Domain.load("caregiving")
    recipe = budgeted(load_recipe(None, overrides), domain)
    return SimpleNamespace(domain=domain, recipe=recipe, folder=tmp_path, trainable=trainable(domain))


def test_a_cap_that_cuts_is_told_and_so_is_the_audit(tmp_path):
    cut, audited = notes(build_of(tmp_path))
    num_rows = len(Domain.load("caregiving").preferences("train"))
    assert cut == (
        f"caregiving: align trains on the first 32 of {num_rows} rows; --set align.max_examples=0 takes all."
    )
    assert audited.startswith("caregiving: the audit of its ")
    assert "'expertsmith audit caregiving' says more" in audited


def test_what_is_built_is_not_audited_again_and_no_cap_is_no_line(tmp_path):
    (tmp_path / "conversation").mkdir()
    (tmp_path / "conversation" / RECORD).write_text("{}")
    assert list(notes(build_of(tmp_path, "align.max_examples=0"))) == []
    (line,) = notes(build_of(tmp_path, "align.max_examples=0", "pretrain.max_examples=3"))
    assert line.startswith("caregiving: pretrain trains on the first 3 of ")
