"""The doctor: what it checks without experts, and that it finds experts that are not what they were."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from domains.errors import UserError
from experts.checkpoint import CONFIG, LowRank, read_adapter, write_adapter
from experts.expert import CARD
from router.engine import Engine
from tests.fakes_assistant import ScriptedAssistant
from tests.ui.test_service import running
from ui.cli import main
from ui.doctor import SECURITY_FLOOR, agreement_finding, diagnose, package_findings, served_findings
from ui.parity import Agreement, effects, endpoint_agreements


def test_without_experts_it_says_that_they_were_not_checked(tmp_path, capsys):
    code = main(["doctor", "--json", "--home", str(tmp_path / "nothing")])
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(SECURITY_FLOOR) <= set(found)
    assert {"device", "foundation", "encoder", "experts", "parity"} <= set(found)
    assert found["parity"]["detail"].startswith("not checked: No experts are built")
    assert code == (0 if all(each["ok"] for each in found.values()) else 1)


def test_packages_are_at_the_floor():
    assert all(finding.ok for finding in package_findings())


def test_a_finished_build_is_the_same_everywhere(built):
    """The service and the export answer exactly as they should; every adapter does something."""
    found = list(served_findings(built.home))
    assert [each.name for each in found if not each.ok] == []
    details = {each.name: each.detail for each in found}
    assert details["service answers as this process (toy/conversation)"].startswith("100%")
    assert details["export answers as evaluated (toy/conversation)"].startswith("100%")
    assert {"adapter toy/conversation", "adapter toy/structured", "adapter general"} <= set(details)


def test_an_adapter_without_effect_is_found(built, tmp_path):
    """Its up factors are zero, as after a training that saved nothing."""
    home = shutil.copytree(built.home, tmp_path / "home")
    folder = home / "toy" / "structured"
    updates = {name: LowRank(u.down, torch.zeros_like(u.up), 1.0) for name, u in read_adapter(folder).items()}
    config = (folder / CONFIG).read_text()
    write_adapter(updates, folder, folder)
    (folder / CONFIG).write_text(config)
    changes = effects(Engine(home))
    assert changes["toy/structured"] == 0
    assert changes["toy/conversation"] > 0.01
    bad = [each for each in served_findings(home) if not each.ok]
    assert [each.name for each in bad] == ["adapter toy/structured"]
    assert "changes nothing" in bad[0].detail


def test_another_template_is_a_finding_and_not_a_crash(built, tmp_path):
    home = shutil.copytree(built.home, tmp_path / "home")
    card = home / "house" / "instruct" / CARD
    card.write_text(json.dumps(json.loads(card.read_text()) | {"template": "other"}))
    (finding,) = served_findings(home)
    assert not finding.ok
    assert "chat template is not the one" in finding.detail


def test_another_endpoint_is_compared(built):
    """A scripted server says something else: no agreement. Models that it does not have are no agreement either."""
    with running(ScriptedAssistant()) as up:
        found = {each.name: each for each in endpoint_agreements(Engine(built.home), f"{up.url}/v1", None)}
    shares = {name.rpartition("(")[2].rstrip(")"): each.share for name, each in found.items()}
    assert shares == {**dict.fromkeys(Engine(built.home).experts), "general": 0.0}
    assert not any(each.ok for each in found.values())
    bad = agreement_finding(next(each for each in found.values() if each.share is None))
    assert (bad.ok, "has no model" in bad.detail) == (False, True)
    with pytest.raises(UserError, match="cannot be used"):
        list(endpoint_agreements(Engine(built.home), "http://127.0.0.1:9/v1", None))


def test_an_endpoint_that_is_down_keeps_the_other_findings(built):
    found = {each.name: each for each in served_findings(built.home, "http://127.0.0.1:9/v1")}
    assert not found.pop("endpoint http://127.0.0.1:9/v1").ok
    assert all(each.ok for each in found.values())
    for name in ("toy/conversation", "toy/structured", "general"):
        assert len(found[f"weights {name}"].detail) == 16
        assert found[f"service answers as this process ({name})"].detail.startswith("100%")


def test_an_endpoint_cannot_be_compared_without_experts(tmp_path):
    bad = [each for each in diagnose(tmp_path, "http://127.0.0.1:9/v1") if each.name == "parity"]
    assert not bad[0].ok


@pytest.mark.parametrize(
    ("share", "exact", "ok"), [(1.0, True, True), (0.99, True, False), (0.5, False, True), (0.49, False, False)]
)
def test_what_must_be_equal_must_be_equal(share, exact, ok):
    assert Agreement("x", share, exact).ok is ok
