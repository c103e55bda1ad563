"""What every adapter promises, on every family that a network can have; a new file in adapters/ needs its count below."""

import copy

import pytest
import torch
from torch import nn

from counterbench.adapters import parts
from counterbench.adapters.base import difference, opened, take_difference
from counterbench.causal.variables import Categorical, Continuous, Image
from counterbench.errors import CheckpointError, ConfigError, UnavailableError
from counterbench.judges.network import build
from counterbench.plugins import registry

PARENTS = (Continuous("p", 0, 2, "px"), Categorical("q", ("r", "s", "t")))
FIELD = {"width": 8, "channels": [8, 8], "attention": [1], "heads": 2, "steps": 3}
CODED = {"latent": 3, "encoder_channels": [4, 8], "decoder_channels": [8, 4], "hidden": 16}
FAMILIES = {
    "vae": CODED,
    "gan": CODED,
    "hvae": {"levels": [[1, 1, 8], [4, 2, 8], [16, 1, 4]], "latent": 2},
    "flow_matching": FIELD,
    "diffusion": FIELD,
}
NETWORKS = [*FAMILIES, "classifier"]
OPTIONS = {"blocks": {"mask": None}, "lora": {"rank": 2}, "dora": {"rank": 2}, "loha": {"rank": 2}, "lokr": {"rank": 2}}
WITHOUT = {("attention", name) for name in ("vae", "gan", "hvae", "classifier")} | {
    ("norm", name) for name in ("vae", "gan", "hvae")
}


def network_of(name, seed=0):
    """A network whose weights are all random, so that nothing hides behind a zero."""
    torch.manual_seed(seed)
    if name == "classifier":
        network = build("plain", 1, 3)
    else:
        network = registry.mechanisms.get(name)(Image("v", 1, 16, 16), PARENTS, **FAMILIES[name])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def said(network):
    """What a network says of a fixed batch."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4, 1, 16, 16, generator=generator) * 2 - 1
    if isinstance(network, nn.Sequential):
        return network(images)
    context = {"p": torch.rand(4, 1, generator=generator), "q": torch.eye(3)[torch.tensor([0, 1, 2, 0])]}
    if hasattr(network, "velocity"):
        return network.velocity(images, torch.full((4,), 0.4), context)
    noise = network.abduct(images, context, torch.Generator().manual_seed(2))
    return network.generate(noise, context)


def adapter_of(kind, network):
    options = dict(OPTIONS.get(kind, {}))
    if kind == "blocks":
        options["mask"] = "".join("01"[number % 2] for number in range(len(parts.blocks(network))))
    return registry.adapters.get(kind)(**options)


def moved(network, seed=3):
    """Everything open takes a random step."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network


def cases():
    for kind in registry.adapters.builtins():
        missing = registry.adapters.lacks(kind)
        for name in NETWORKS:
            if (kind, name) not in WITHOUT:
                yield pytest.param(kind, name, marks=pytest.mark.skipif(bool(missing), reason=missing))


@pytest.mark.parametrize(("kind", "name"), cases())
def test_an_adapter_starts_as_the_identity_moves_only_what_it_opens_merges_and_comes_back(kind, name, tmp_path):
    network = network_of(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    first = said(network).detach()
    adapter = adapter_of(kind, network)
    torch.manual_seed(5)
    names = adapter.open(network)
    assert torch.allclose(said(network), first, atol=1e-5)
    assert opened(network) == expected(kind, name)
    moved(network)
    after = said(network).detach()
    assert not torch.allclose(after, first, atol=1e-4)

    # Frozen tensors are the same to the last bit: the difference holds what is open, and nothing else.
    kept = difference(network, before, names)
    assert kept.keys() == {key for key, value in network.named_parameters() if value.requires_grad}
    assert sorted(names.values()) == sorted(before)

    # It comes back from the difference, with another chance at the start.
    again = network_of(name)
    torch.manual_seed(99)
    adapter_of(kind, again).open(again)
    take_difference(again, kept, where="here")
    assert torch.allclose(said(again), after, atol=1e-6)

    adapter.merge(network)
    if adapter.mergeable:
        assert network.state_dict().keys() == before.keys()
        assert [value.shape for value in network.state_dict().values()] == [value.shape for value in before.values()]
    assert torch.allclose(said(network), after, atol=1e-5 * float(after.abs().max().clamp(min=1)))


def expected(kind, name):
    """How many numbers each kind opens, counted from the untouched network in another way."""
    network = network_of(name)
    multiplying = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]
    normal = [m for m in network.modules() if isinstance(m, (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d))]
    everything = dict(network.named_parameters())
    outs = [m.out_features if isinstance(m, nn.Linear) else m.out_channels for m in multiplying]
    ins = [m.in_features if isinstance(m, nn.Linear) else m.in_channels for m in multiplying]
    taps = [m.weight[0, 0].numel() if m.weight.ndim > 2 else 1 for m in multiplying]
    biased = [m.bias is not None for m in multiplying]
    normalised = sum(p.numel() for m in normal for p in m.parameters())
    bias = sum(p.numel() for key, p in everything.items() if key.endswith("bias"))
    norm_bias = bias + sum(m.weight.numel() for m in normal)
    attending = [m for m in network.modules() if "Attention" in type(m).__name__]
    within = {id(p): p.numel() for m in attending for p in m.parameters()}
    untransposed = [not isinstance(m, nn.ConvTranspose2d) for m in multiplying]
    rows = list(zip(outs, ins, taps, biased, untransposed, strict=True))
    last = {}
    for key, module in network.named_modules():
        if module in multiplying:
            last[key.rpartition(".")[0]] = outs[multiplying.index(module)]
    both = {id(p): p.numel() for key, p in everything.items() if key.endswith("bias")}
    both |= {id(p): p.numel() for m in normal for p in m.parameters()} | within
    counts = {
        "full": sum(p.numel() for p in everything.values()),
        "bias": bias,
        "norm": normalised,
        "norm_bias": norm_bias,
        "attention": sum(within.values()),
        "norm_bias_attention": sum(both.values()),
        "sv_diff": sum(min(o, i * t) for o, i, t, *_ in rows),
        "ssf": sum(o * (1 + b) for o, _, _, b, _ in rows) + sum(2 * m.weight.numel() for m in normal),
        "diff_fit": sum(last.values()) + norm_bias,
        "tsa": sum(o * i for (o, i, _, _, u), m in zip(rows, multiplying, strict=True) if u and m.weight.ndim > 2),
        "bottleneck": sum(2 * 8 * o + 8 + o for o in last.values()),
        "lora": sum(2 * (o + i * t) if m.weight.ndim > 2 else 2 * (o + i) for (o, i, t, _, u), m in zip(rows, multiplying, strict=True) if u),
        "ia3": sum(o for o, _, _, _, u in rows if u),
    }  # fmt: skip
    counts["dora"] = counts["lora"] + counts["ia3"]
    counts["vera"] = sum(o + 64 for (o, *_), m in zip(rows, multiplying, strict=True) if isinstance(m, nn.Linear))
    if kind in counts:
        return counts[kind]
    if kind == "linear":
        return sum(p.numel() for p in parts.head(network).parameters())
    if kind == "blocks":
        return sum(
            p.numel() for number, group in enumerate(parts.blocks(network).values()) if number % 2 for p in group
        )
    assert kind in ("loha", "lokr", "oft")
    return sum(count_of_products(kind, o, i, t) for o, i, t, _, u in rows if u or kind == "oft")


def count_of_products(kind, outs, ins, taps):
    """Of one layer, with rank 2 and blocks of 8."""
    if kind == "loha":
        return 2 * 2 * (outs + ins * taps)
    if kind == "oft":
        divisors = [d for d in range(1, ins * taps + 1) if ins * taps % d == 0]
        block = max(d for d in divisors if d <= 8)
        return ins * taps * (block - 1) // 2
    (few_out, many_out), (few_in, many_in) = balanced(outs), balanced(ins)
    whole = max(many_out, many_in) / 2 <= 2
    return few_out * few_in + (many_out * many_in * taps if whole else 2 * (many_out + many_in * taps))


def balanced(number):
    small = max(d for d in range(1, int(number**0.5) + 1) if number % d == 0)
    return small, number // small


@pytest.mark.parametrize(("kind", "name"), sorted(WITHOUT))
def test_an_adapter_that_finds_nothing_says_what_it_looks_for(kind, name):
    network = network_of(name)
    with pytest.raises(ConfigError, match="finds nothing to open here: the network has no"):
        registry.adapters.get(kind)().open(network)


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_hold_every_parameter_once(name):
    network = network_of(name)
    together = [id(weight) for group in parts.blocks(network).values() for weight in group]
    assert sorted(together) == sorted(id(weight) for weight in network.parameters())


def test_a_head_is_what_makes_the_output():
    assert parts.head(build("residual", 1, 3)).out_features == 3  # whose layers are called `head` and `blocks`
    assert parts.head(network_of("classifier")).out_features == 3
    assert parts.head(network_of("flow_matching")).weight.shape[0] in (1, 4, 16)  # pixels of a patch


def test_statistics_of_frozen_normalisation_stay(monkeypatch):
    network = network_of("classifier").train()
    before = copy.deepcopy(network.state_dict())
    registry.adapters.get("linear")().open(network)
    said(network)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    registry.adapters.get("norm")().open(network.train())
    said(network)
    assert any(not torch.equal(before[key], value) for key, value in network.state_dict().items() if "running" in key)


def test_wrong_options_are_one_sentence():
    with pytest.raises(ConfigError, match="give either open"):
        registry.adapters.get("blocks")()
    with pytest.raises(ConfigError, match="has 2 digits, but there are"):
        registry.adapters.get("blocks")(mask="01").open(network_of("flow_matching"))
    with pytest.raises(ConfigError, match="there is no block 'middel'"):
        registry.adapters.get("blocks")(open=["middel"]).open(network_of("flow_matching"))
    with pytest.raises(ConfigError, match="width is 0"):
        registry.adapters.get("bottleneck")(width=0)


def test_a_difference_of_another_model_is_refused():
    network = network_of("classifier")
    registry.adapters.get("linear")().open(network)
    with pytest.raises(CheckpointError, match="unknown 'nothing'"):
        take_difference(network, {"nothing": torch.zeros(1)}, where="here")
    with pytest.raises(CheckpointError, match="expected"):
        take_difference(network, {"14.bias": torch.zeros(9)}, where="here")


def test_without_peft_one_sentence_names_the_pip_line(monkeypatch):
    monkeypatch.setattr("counterbench.plugins.extras.find_spec", lambda package: None)
    with pytest.raises(
        UnavailableError, match=r"The adapter 'lora' needs the Python package peft: pip install 'counterbench\[peft\]'"
    ):
        registry.adapters.get("lora")().open(network_of("classifier"))
    assert registry.adapters.lacks("dora") == "pip install 'counterbench[peft]'"
    assert not registry.adapters.lacks("sv_diff")


@pytest.mark.parametrize("kind", ["norm_bias", "sv_diff", "diff_fit", "bottleneck", "lora"])
def test_within_some_blocks_only_these_move_and_the_rest_stays_the_identity(kind):
    if registry.adapters.lacks(kind):
        pytest.skip(registry.adapters.lacks(kind))
    everywhere, network, same = (network_of("flow_matching") for _ in range(3))
    names = list(parts.blocks(network))
    mask = "".join("1" if name.startswith("up") else "0" for name in names)
    first = said(network).detach()
    adapter_of(kind, everywhere).open(everywhere)
    adapter = adapter_of(kind, network)
    adapter.within = mask
    before = {key: value.clone() for key, value in network.state_dict().items()}
    adapter.open(network)
    inside = {id(w) for name, weights in parts.blocks(network).items() if name.startswith("up") for w in weights}
    assert 0 < opened(network) < opened(everywhere)
    assert all(id(weight) in inside for weight in network.parameters() if weight.requires_grad)
    assert torch.allclose(said(network), first, atol=1e-5)
    moved(network)
    assert not torch.allclose(said(network), first, atol=1e-4)
    adapter.merge(network)
    state = network.state_dict()
    outside = [name for name in before if name in state and not name.startswith("network.up")]
    assert outside
    if kind != "bottleneck":
        assert all(torch.allclose(state[name], before[name], atol=1e-6) for name in outside)
    by_name = adapter_of(kind, same)
    by_name.within = [name for name in names if name.startswith("up")]
    by_name.open(same)
    assert opened(same) == sum(weight.numel() for weight in parameters_of(kind, mask) if weight.requires_grad)


def parameters_of(kind, mask):
    network = network_of("flow_matching")
    adapter = adapter_of(kind, network)
    adapter.within = mask
    adapter.open(network)
    return network.parameters()


@pytest.mark.parametrize(
    ("within", "why"),
    [("01", "2 digits"), ("x", "0 and 1 alone"), (["cellar"], "no block 'cellar'"), ("0" * 30, "30 digits")],
)
def test_blocks_that_are_not_there_are_refused(within, why):
    network = network_of("flow_matching")
    adapter = adapter_of("norm_bias", network)
    adapter.within = within
    with pytest.raises(ConfigError, match=why):
        adapter.open(network)


def test_a_mask_that_opens_nothing_is_refused():
    network = network_of("flow_matching")
    adapter = adapter_of("norm_bias", network)
    adapter.within = "0" * len(parts.blocks(network))
    with pytest.raises(ConfigError, match="in these blocks"):
        adapter.open(network)
