"""A convolution and its activation in one pass are the same function."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from counterbench.networks import fused
from counterbench.networks.fused import convolved

PLAIN = {"gelu": functional.gelu, "relu": functional.relu, "swish": functional.silu}


@pytest.mark.parametrize("activation", PLAIN)
@pytest.mark.parametrize(("kernel", "stride", "groups", "bias"), [(3, 1, 1, True), (1, 1, 1, False), (3, 2, 2, True)])
def test_one_pass_is_two(activation, kernel, stride, groups, bias):
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, kernel, stride, kernel // 2, groups=groups, bias=bias)
    maps = torch.randn(3, 4, 8, 8)
    with torch.no_grad():
        for given in (maps, maps.contiguous(memory_format=torch.channels_last), maps[:0]):
            wanted = PLAIN[activation](convolution(given))
            assert torch.allclose(convolved(given, convolution, activation), wanted, atol=1e-5)


def test_gradients_go_through_two_passes():
    convolution, maps = nn.Conv2d(2, 3, 3), torch.randn(1, 2, 4, 4, requires_grad=True)
    convolved(maps, convolution, "gelu").sum().backward()
    own = maps.grad.clone()
    maps.grad = None
    functional.gelu(convolution(maps)).sum().backward()
    assert torch.equal(own, maps.grad)


@pytest.mark.skipif(fused._FUSED is None, reason="this build of torch has no oneDNN")
def test_it_is_one_pass_where_nothing_forbids_it(monkeypatch):
    convolution, maps, calls = nn.Conv2d(2, 3, 3), torch.randn(1, 2, 4, 4), []
    monkeypatch.setattr(fused, "_FUSED", lambda *given: calls.append(given) or given[0])
    with torch.no_grad():
        convolved(maps, convolution, "gelu")
        convolved(maps.double(), convolution.double(), "gelu")
        with torch.autocast("cpu", torch.bfloat16):
            convolved(maps, convolution.float(), "gelu")
        convolved(maps, nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), "gelu")
        convolved(maps, nn.Conv2d(2, 3, 3, padding="same"), "gelu")
    assert len(calls) == 1
