"""What every mechanism family must do; a new file in mechanisms/ is tested by adding nothing but a case to build."""

import inspect
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from counterbench import registry
from counterbench.options import options_of
from counterbench.randomness import SampleNoise
from counterbench.variables import Binary, Categorical, Continuous, Image, Ordinal

PARENTS = (Continuous("p", 0, 2, "px"), Categorical("q", ("r", "s", "t")))
VARIABLES = {
    "continuous": Continuous("v", -3, 5, "u"),
    "binary": Binary("v"),
    "categorical": Categorical("v", ("a", "b", "c", "d")),
    "ordinal": Ordinal("v", ("a", "b", "c")),
    "image": Image("v", 1, 16, 16),
}
LEVELS = {"levels": [[1, 1, 8], [4, 2, 8], [16, 1, 4]], "latent": 2}
SMALL = {
    "vae": {"latent": 3, "encoder_channels": [4, 8], "decoder_channels": [8, 4], "hidden": 16},
    "hvae": LEVELS,
    "gan": {"latent": 3, "encoder_channels": [4, 8], "decoder_channels": [8, 4], "hidden": 16},
}
EXTRA = {
    "hvae": [
        {**LEVELS, "conditional_prior": True, "kept": 0.5},
        {"levels": [[2, 1, 8], [4, 1, 8]], "latent": 2},  # patches of 4 x 4 pixels
    ],
    "flow": [{"bounded": True}, {"bins": 0}, {"spline_context": False}],
}
COUNT = 6


def cases():
    for name in registry.mechanisms._builtins:
        family = registry.mechanisms.get(name)
        for kind in family.kinds:
            for options in [SMALL.get(name, {}), *EXTRA.get(name, [])]:
                for parents in ((), PARENTS):
                    if name == "empirical" and parents:
                        continue
                    yield pytest.param(
                        (name, kind, options, parents),
                        id=f"{name}-{kind}-{len(parents)}-{options if name in EXTRA else ''}",
                    )


@pytest.fixture(params=list(cases()))
def case(request):
    name, kind, options, parents = request.param
    torch.manual_seed(0)
    mechanism = registry.mechanisms.get(name)(VARIABLES[kind], parents, **options)
    values = natural(VARIABLES[kind])
    encoded = VARIABLES[kind].encode(values)
    parent_values = {p.name: p.encode(natural(p)) for p in parents}
    mechanism.prepare(encoded, parent_values)
    return mechanism, encoded, parent_values


def natural(variable, count=COUNT):
    generator = torch.Generator().manual_seed(3)
    if variable.kind == "continuous":
        return variable.low + (variable.high - variable.low) * (0.2 + 0.6 * torch.rand(count, generator=generator))
    if variable.kind == "image":
        return 255 * torch.rand(count, *variable.shape, generator=generator)
    return torch.randint(variable.cardinality, (count,), generator=generator)


def noise_of(count=COUNT, start=0):
    return SampleNoise(0, range(start, start + count))


def test_round_trip(case):
    mechanism, value, parents = case
    again = mechanism.generate(mechanism.abduct(value, parents, noise_of()), parents)
    if mechanism.invertible:
        assert torch.allclose(again, value, atol=2e-4)
    else:
        assert again.shape == value.shape


def test_null_intervention_keeps_every_observed_class(case):
    mechanism, value, parents = case
    if mechanism.variable.kind in ("continuous", "image"):
        pytest.skip("a quantity")
    for seed in range(50):
        noise = mechanism.abduct(value, parents, SampleNoise(seed, range(COUNT)))
        assert torch.equal(mechanism.generate(noise, parents), value)


def test_samples_are_values_of_the_variable(case):
    mechanism, value, parents = case
    sampled = mechanism.generate(mechanism.sample_noise(COUNT, noise_of()), parents)
    assert sampled.shape == value.shape
    mechanism.variable.check(mechanism.variable.decode(sampled).detach())


def test_no_sample_depends_on_its_batch(case):
    mechanism, value, parents = case
    mechanism.eval()
    whole = mechanism.generate(mechanism.abduct(value, parents, noise_of()), parents)
    for i in range(COUNT):
        row = slice(i, i + 1)
        alone = {name: p[row] for name, p in parents.items()}
        part = mechanism.generate(mechanism.abduct(value[row], alone, noise_of(1, i)), alone)
        assert torch.allclose(part, whole[row], atol=1e-5)


def test_chance_comes_from_the_generator_alone(case):
    mechanism, value, parents = case
    results = []
    for outer in (1, 2):
        torch.manual_seed(outer)
        results.append(mechanism.abduct(value, parents, torch.Generator().manual_seed(5)))
    for name, first in results[0].items():
        assert torch.equal(first, results[1][name])
    if mechanism.stochastic_abduction:
        other = mechanism.abduct(value, parents, torch.Generator().manual_seed(6))
        assert any(not torch.equal(other[name], first) for name, first in results[0].items())


def test_loss_is_one_finite_number_per_sample_and_reaches_every_parameter(case):
    mechanism, value, parents = case
    loss = mechanism.loss(value, parents, torch.Generator().manual_seed(0))
    assert loss.shape == (COUNT,)
    assert loss.isfinite().all()
    if list(mechanism.parameters()):
        loss.sum().backward()
        untouched = [name for name, p in mechanism.named_parameters() if p.grad is None]
        assert not untouched


def test_double_precision_is_kept(case):
    mechanism, value, parents = case
    mechanism.double()
    parents = {name: p.double() for name, p in parents.items()}
    noise = mechanism.abduct(value.double(), parents, noise_of())
    assert mechanism.generate(noise, parents).dtype == torch.float64
    assert all(tensor.dtype == torch.float64 for tensor in mechanism.sample_noise(2).values())


def test_save_and_load(case, tmp_path):
    mechanism, value, parents = case
    save_file({k: v.contiguous() for k, v in mechanism.state_dict().items()}, tmp_path / "m.safetensors")
    before = mechanism.generate(mechanism.abduct(value, parents, noise_of()), parents)
    for parameter in mechanism.parameters():
        parameter.data.add_(1.0)
    mechanism.load_state_dict(load_file(tmp_path / "m.safetensors"))
    assert torch.equal(mechanism.generate(mechanism.abduct(value, parents, noise_of()), parents), before)


def test_pyro_program_gives_natural_values(case):
    import pyro

    mechanism, _, parents = case
    with pyro.plate("samples", COUNT):
        drawn = mechanism.pyro_sample("v", parents, COUNT)
    mechanism.variable.check(drawn.detach())


@pytest.mark.parametrize("name", registry.mechanisms._builtins)
def test_every_option_has_a_default_and_is_documented(name):
    family = registry.mechanisms.get(name)
    for option, default in options_of(family, 2).items():
        assert default is not inspect.Parameter.empty, option
        assert re.search(rf"^\s+(\w+, )*{option}(, \w+)*:", family.__doc__, re.MULTILINE), option


@pytest.mark.parametrize("name", registry.mechanisms._builtins)
def test_a_variable_of_another_kind_is_refused(name):
    from counterbench.errors import ConfigError

    family = registry.mechanisms.get(name)
    wrong = next(kind for kind in VARIABLES if kind not in family.kinds)
    with pytest.raises(ConfigError, match=f"which is {wrong}; it models"):
        family(VARIABLES[wrong], ())
