"""Adapters in one batch: each row takes its own, and nothing of the others."""

import pytest
import torch
from torch import nn

from experts.checkpoint import LowRank
from router.adapters import Choice, SharedLinear, share


@pytest.fixture
def parts():
    """A layer 4 -> 3 and two adapters of ranks 2 and 1, one with a scaling of 2."""
    generator = torch.Generator().manual_seed(0)
    base = nn.Linear(4, 3, bias=True)

    def made(*shape):
        return torch.randn(*shape, generator=generator)

    return base, {"a": LowRank(made(2, 4), made(3, 2), 2.0), "b": LowRank(made(1, 4), made(3, 1), 1.0)}


def test_each_row_gets_the_base_and_its_own_update(parts):
    """By hand: W x + bias + scaling U D x, per row."""
    base, updates = parts
    choice = Choice()
    layer = SharedLinear(base, choice)
    for name, update in updates.items():
        layer.add(name, update)
    inputs = torch.randn(4, 5, 4)
    choice.mix(["a", None, "b", "a"], torch.device("cpu"), torch.float32)
    with torch.no_grad():
        found = layer(inputs)
        for row, name in enumerate(["a", None, "b", "a"]):
            weight = base.weight + (updates[name].delta() if name else 0)
            assert torch.allclose(found[row], inputs[row] @ weight.T + base.bias, atol=1e-5)
        choice.one("b")
        assert torch.allclose(layer(inputs), inputs @ (base.weight + updates["b"].delta()).T + base.bias, atol=1e-5)
        choice.one(None)
        assert torch.equal(layer(inputs), base(inputs))


def test_what_another_row_takes_leaves_no_trace(parts):
    """Bit for bit: the first row beside "a" and beside "b"."""
    base, updates = parts
    choice = Choice()
    layer = SharedLinear(base, choice)
    for name, update in updates.items():
        layer.add(name, update)
    inputs = torch.randn(2, 1, 4)
    found = []
    for other in ("a", "b", None):
        choice.mix(["a", other], torch.device("cpu"), torch.float32)
        with torch.no_grad():
            found.append(layer(inputs)[0])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_adapters_share_one_base(parts):
    """Memory: besides the base there are the adapters' numbers and nothing else. Modules that an adapter does not
    change are passed through."""
    base, updates = parts
    model = nn.Sequential(base, nn.Linear(3, 3))
    before = [p.data_ptr() for p in model.parameters()]
    share(model, {"a": {"0": updates["a"]}, "b": {"0": updates["b"]}})
    assert [p.data_ptr() for p in model.parameters()] == before
    assert isinstance(model[0], SharedLinear)
    assert not isinstance(model[1], SharedLinear)
    kept = sum(t.numel() for update in model[0].updates.values() for t in update)
    assert kept == (2 * 4 + 3 * 2) + (4 + 3)
