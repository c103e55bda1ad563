"""Flow matching and diffusion: known fields, densities, guidance, attention, blocks, and what training learns."""

import math

import pytest
import torch
from awake import awake

from counterbench.catalog.recipes import Fit
from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Binary, Categorical, Continuous, Image, Vector
from counterbench.errors import ConfigError
from counterbench.mechanisms import capabilities
from counterbench.mechanisms.diffusion import Diffusion
from counterbench.mechanisms.flow_matching import FlowMatching
from counterbench.models.scm import StructuralCausalModel
from counterbench.networks.paths import Cosine, Linear
from counterbench.plugins import registry
from counterbench.training.objectives.base import Moment
from counterbench.training.objectives.matching import Matching

FAMILIES = [FlowMatching, Diffusion]
X, P, C = Continuous("x", -5, 5), Continuous("p", -1, 1), Categorical("c", ("r", "s", "t"))
PICTURE = Image("image", 1, 8, 8)
SMALL = {"width": 8, "channels": [8, 8], "attention": [1], "heads": 2}
SHIFT, SCALE = 1.5, 0.5
"""Of the law of x given p: N(SHIFT p, SCALE^2)."""


class Known(torch.nn.Module):
    """The field of x ~ N(SHIFT p, SCALE^2) in closed form: u and x are jointly normal, and so is their velocity given the state."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def forward(self, state, time, tokens):
        weights = self.path.weights(time[:, None])
        mean = SHIFT * tokens[:, 0, :1]
        variance = (weights.signal * SCALE) ** 2 + weights.noise**2
        covariance = weights.signal * weights.signal_rate * SCALE**2 + weights.noise * weights.noise_rate
        return weights.signal_rate * mean + covariance / variance * (state - weights.signal * mean)


class Told(torch.nn.Module):
    """The parent itself as its token."""

    def forward(self, conditions, told):
        return conditions[0][:, None]


def exact(family, **options):
    """A mechanism whose field is the true one."""
    mechanism = family(X, [P], **options).double()
    mechanism.network, mechanism.tokens = Known(mechanism.path), Told()
    return mechanism


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)  # of the initial weights


@pytest.fixture
def line():
    generator = torch.Generator().manual_seed(0)
    parents = {"p": torch.rand(200, 1, generator=generator, dtype=torch.float64) * 2 - 1}
    return SHIFT * parents["p"] + SCALE * torch.randn(200, 1, generator=generator, dtype=torch.float64), parents


@pytest.mark.parametrize("family", FAMILIES)
def test_counterfactuals_of_a_normal_are_the_closed_form(family, line):
    """The flow of a normal is its standardisation, so that x* = x + SHIFT (p* - p)."""
    value, parents = line
    mechanism = exact(family, steps=40)
    noise = mechanism.abduct(value, parents)
    assert torch.allclose(noise["u"], (value - SHIFT * parents["p"]) / SCALE, atol=5e-3)
    other = {"p": parents["p"].flip(0)}
    assert torch.allclose(mechanism.generate(noise, other), value + SHIFT * (other["p"] - parents["p"]), atol=5e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihood_is_the_change_of_variables(family, line):
    value, parents = line
    expected = torch.distributions.Normal(SHIFT * parents["p"], SCALE).log_prob(value)[:, 0]
    found = exact(family, steps=60).log_likelihood(value, parents)
    assert torch.allclose(found, expected, atol=5e-3)
    probed = exact(family, steps=60).log_likelihood(
        value, parents, generator=torch.Generator().manual_seed(0), probes=2
    )
    assert torch.allclose(probed, expected, atol=5e-3)  # of one number every direction is the same but for its length
    standard = torch.distributions.Normal(0.0, 1.0)
    noise = {"u": value, "correction": value}
    assert torch.allclose(exact(family).noise_log_prob(noise), standard.log_prob(value)[:, 0])


@pytest.mark.parametrize("path", [Linear(), Cosine()])
def test_a_path_leads_from_noise_to_data_and_knows_its_velocity(path):
    value, noise = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    ends = [path.at(value, noise, torch.full((5,), time, dtype=torch.float64)) for time in (0.0, 1.0)]
    assert torch.allclose(ends[0], noise, atol=1e-12)
    assert torch.allclose(ends[1], value, atol=1e-12)
    time, step = torch.rand(5, dtype=torch.float64), 1e-6
    slope = (path.at(value, noise, time + step) - path.at(value, noise, time - step)) / (2 * step)
    velocity, state = path.velocity(value, noise, time), path.at(value, noise, time)
    assert torch.allclose(velocity, slope, atol=1e-6)
    assert torch.allclose(path.noise_from_velocity(state, velocity, time), noise, atol=1e-8)
    assert torch.allclose(
        path.velocity_from_noise(state, noise, 0.1 + 0.9 * time), velocity, atol=50
    )  # finite wherever there is signal
    assert torch.allclose(path.velocity_from_noise(state, noise, time), velocity, atol=1e-6)


def test_the_cosine_path_is_the_cosine_schedule():
    weights = Cosine().weights(torch.tensor([0.3], dtype=torch.float64))
    assert float(weights.signal**2 + weights.noise**2) == pytest.approx(1)
    assert float(weights.signal) == pytest.approx(math.cos(math.pi / 2 * 0.7))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("solver", ["midpoint", "leapfrog", "reversible-heun"])
def test_a_null_intervention_returns_its_image_and_another_does_not(family, solver):
    mechanism = awake(family(PICTURE, [P, C], solver=solver, steps=2, **SMALL))
    value = torch.rand(3, 1, 8, 8) * 2 - 1
    parents = {"p": torch.tensor([[0.1], [-0.5], [0.9]]), "c": torch.eye(3)}
    noise = mechanism.abduct(value, parents)
    assert torch.allclose(mechanism.generate(noise, parents), value, atol=1e-5)
    assert float((mechanism.generate(noise, {**parents, "c": parents["c"].flip(0)})[0] - value[0]).abs().max()) > 1e-3


def asked_times(mechanism, noise, parents, reached=frozenset()):
    """How often the network is asked for an answer, and the answer."""
    calls = []
    hook = mechanism.network.register_forward_pre_hook(lambda network, inputs: calls.append(1))
    answer = mechanism.generate(noise, parents, reached)
    hook.remove()
    return len(calls), answer


@torch.no_grad()
def test_a_null_intervention_costs_nothing_after_an_exact_abduction_and_says_what_integrating_says():
    mechanism = awake(FlowMatching(PICTURE, [P, C], steps=2, **SMALL))
    value = torch.rand(3, 1, 8, 8) * 2 - 1
    parents = {"p": torch.tensor([[0.1], [-0.5], [0.9]]), "c": torch.eye(3)}
    noise = mechanism.abduct(value, parents)
    count, answer = asked_times(mechanism, noise, parents)
    again, integrated = asked_times(mechanism, dict(noise), parents)
    assert (count, again) == (0, 4)
    assert torch.allclose(answer, integrated, atol=1e-5)
    assert asked_times(mechanism, noise, {**parents, "p": -parents["p"]})[0] == 4
    assert asked_times(mechanism, {**noise, "u": noise["u"] + 0.1}, parents)[0] == 4
    noise["u"] = noise["u"] + 0.1
    assert asked_times(mechanism, noise, parents)[0] == 4
    mechanism.guidance = 2.0
    fresh = mechanism.abduct(value, parents)
    assert asked_times(mechanism, fresh, parents)[0] == 0
    assert asked_times(mechanism, fresh, parents, frozenset({"c"}))[0] == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_quantities_are_standardised(family):
    mechanism = awake(family(X, [P], width=8))
    value, parents = 100 + 30 * torch.randn(500, 1), {"p": torch.zeros(500, 1)}
    mechanism.prepare(value, parents)
    assert float(mechanism.standardised(value).std()) == pytest.approx(1, abs=1e-4)
    assert torch.allclose(mechanism.generate(mechanism.abduct(value, parents), parents), value, atol=1e-2)


def test_a_logarithm_turns_factors_into_shifts_and_keeps_the_density():
    positive = Continuous("x", 0, 100)
    mechanism = awake(FlowMatching(positive, [], width=8, logarithm=True, steps=30)).double()
    value = positive.encode(torch.logspace(-1, 2, 400, dtype=torch.float64), torch.float64)
    mechanism.prepare(value, {})
    assert torch.allclose(mechanism.generate(mechanism.abduct(value, {}), {}), value, atol=1e-8)
    drawn = mechanism.generate(mechanism.sample_noise(50, torch.Generator().manual_seed(0)), {})
    assert bool((positive.decode(drawn) > 0).all())
    fine = positive.encode(torch.linspace(1e-4, 400, 8000, dtype=torch.float64), torch.float64)
    density = mechanism.log_likelihood(fine, {}).exp()
    assert float(torch.trapezoid(density, fine[:, 0])) == pytest.approx(1, abs=0.03)
    with pytest.raises(ConfigError, match="logarithm needs quantities whose ranges begin at 0 or above"):
        FlowMatching(X, [], logarithm=True)


def test_a_vector_moves_as_a_whole_and_keeps_its_density():
    """A law of two numbers: the density integrates to 1 over the plane, and an exact abduction leads back."""
    point = Vector("point", (Continuous("x", 0, 4), Continuous("y", 0, 8)))
    mechanism = awake(FlowMatching(point, [P], width=8, blocks=2, steps=12, logarithm=True)).double()
    natural = torch.rand(50, 2, dtype=torch.float64) * torch.tensor([3.0, 7.0]) + 0.5
    value, parents = point.encode(natural, torch.float64), {"p": torch.zeros(50, 1, dtype=torch.float64)}
    mechanism.prepare(value, parents)
    assert torch.allclose(mechanism.mean, natural.log().mean(0))
    noise = mechanism.abduct(value, parents)
    assert noise["u"].shape == (50, 2)
    assert torch.allclose(mechanism.generate(noise, parents), value, atol=1e-9)
    ends = torch.linspace(-6, 6, 160, dtype=torch.float64)
    moved = torch.cartesian_prod(ends, ends) * mechanism.spread * 1.5 + mechanism.mean
    grid = point.encode(moved.exp(), torch.float64)
    logs = mechanism.log_likelihood(grid, {"p": torch.zeros(len(grid), 1, dtype=torch.float64)})
    # Of the encoded value, whose volume is that of the logarithm times x y, in units of half the ranges.
    volume = (moved.exp() / torch.tensor([2.0, 4.0])).prod(1) * (12 / 159 * 1.5) ** 2 * mechanism.spread.prod()
    assert float((logs.exp() * volume).sum()) == pytest.approx(1, abs=0.02)


def test_the_ends_of_an_angle_meet():
    angle = Continuous("angle", 0, 360, periodic=True)
    mechanism = awake(FlowMatching(X, [angle], width=8))
    noise = mechanism.sample_noise(2, torch.Generator().manual_seed(0))
    noise = {name: value[:1].expand(2, -1) for name, value in noise.items()}
    values = mechanism.generate(noise, {"angle": angle.encode(torch.tensor([0.0, 360.0]))})
    assert torch.allclose(values[0], values[1], atol=1e-5)


# --- guidance -------------------------------------------------------------------------------------------------------


def asked(mechanism, reached):
    """How often the network is asked per step, in units of samples, and the answer."""
    rows = []
    hook = mechanism.network.register_forward_pre_hook(lambda network, inputs: rows.append(len(inputs[0])))
    parents = {"p": torch.full((2, 1), 0.5), "c": torch.eye(3)[:2]}
    noise = mechanism.sample_noise(2, torch.Generator().manual_seed(0))
    answer = mechanism.generate(noise, parents, frozenset(reached))
    hook.remove()
    return rows[0] // 2, answer


def guided(**options):
    torch.manual_seed(1)
    return awake(FlowMatching(PICTURE, [P, C], steps=2, **SMALL, **options))


def test_guidance_costs_nothing_where_it_is_off_or_nothing_is_reached():
    plain = guided()
    assert asked(plain, {"c"})[0] == 1
    strong = guided(guidance=2.5)
    count, answer = asked(strong, set())
    assert count == 1
    assert torch.equal(answer, asked(plain, {"c"})[1])
    assert asked(strong, {"c"})[0] == 2
    assert asked(guided(guidance=2.5, guidance_rest=1.5), {"c"})[0] == 3
    assert asked(guided(guidance=2.5, guidance_rest=1.5), {"c", "p"})[0] == 2  # there is no rest
    assert asked(strong, {"somewhere else"})[0] == 1


def test_guidance_weighs_what_is_reached_and_the_rest():
    """v = v(nothing) + rest (v(untouched) - v(nothing)) + guidance (v(all) - v(untouched)), by hand."""
    mechanism = guided(guidance=2.5, guidance_rest=1.5)
    state, parents = torch.randn(2, 1, 8, 8), {"p": torch.full((2, 1), 0.5), "c": torch.eye(3)[:2]}
    time = torch.full((2,), 0.25)
    told = {
        name: torch.tensor([row, row])
        for name, row in {"all": [True, True], "p": [True, False], "no": [False, False]}.items()
    }
    velocity = {name: mechanism.velocity(state, time, parents, told=rows) for name, rows in told.items()}
    by_hand = velocity["no"] + 1.5 * (velocity["p"] - velocity["no"]) + 2.5 * (velocity["all"] - velocity["p"])
    field = mechanism._field(mechanism.conditions(parents, state), state, frozenset({"c", "image"}))
    assert torch.allclose(field(state, 0.25), by_hand, atol=1e-5)


def test_the_model_guides_the_descendants_of_what_is_set():
    """p -> c' -> image: setting p reaches both parents of the image, setting the other parent one of them."""
    q = Continuous("q", -1, 1)
    image = guided(guidance=3.0)
    graph = CausalGraph({"p": [], "q": ["p"], "c": [], "image": ["p", "c"]})
    seen = []
    generate = image.generate
    image.generate = lambda noise, parents, reached=frozenset(): (
        seen.append(reached) or generate(noise, parents, reached)
    )
    parts = [FlowMatching(P, [], width=8), FlowMatching(q, [P], width=8), image]
    scm = StructuralCausalModel(graph, [*parts, registry.mechanisms.get("categorical")(C, [])])
    factual = {"p": torch.zeros(2), "q": torch.zeros(2), "c": torch.zeros(2), "image": torch.full((2, 1, 8, 8), 90.0)}
    scm.counterfactual(factual, {"p": torch.ones(2)}, torch.Generator().manual_seed(0))
    assert seen == [{"p", "q", "image"}]


# --- capabilities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_fields_offer_what_later_parts_of_the_workbench_need(family):
    mechanism = awake(family(PICTURE, [P, C], semantic=3, **SMALL))
    for capability in ("Matches", "HasVelocity", "HasNoiseDensity", "Attends", "HasBlocks"):
        assert isinstance(mechanism, getattr(capabilities, capability))
    blocks = mechanism.blocks()
    ids = [id(parameter) for block in blocks.values() for parameter in block.parameters()]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in mechanism.parameters()}
    assert {"stem", "down.0", "middle", "up.0", "tokens", "encoder"} <= set(blocks)
    parents = {"p": torch.zeros(2, 1), "c": torch.eye(3)[:2]}
    maps = mechanism.attention(torch.randn(2, 1, 8, 8), torch.rand(2), parents)
    assert mechanism.token_names == ["p", "c", "semantic"]
    assert {tuple(weights.shape) for weights in maps.values()} == {(2, 2, 3, 2, 2)}
    assert all(torch.allclose(weights.sum(2), torch.ones(()), atol=1e-5) for weights in maps.values())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("predicts", ["velocity", "noise"])
def test_predicted_noise_and_velocity_are_one_statement(family, predicts):
    """A network that predicts the true noise has the true velocity, whatever it is trained to say."""
    mechanism = family(X, [P], width=8, predicts=predicts).double()
    value, noise, time = (torch.randn(50, 1, dtype=torch.float64) for _ in range(3))
    time = 0.1 + 0.8 * time.abs().clamp(max=1)[:, 0]
    target = mechanism.target(value, noise, time)

    class Oracle(torch.nn.Module):
        def forward(self, state, time, tokens):
            return target

    mechanism.network = Oracle()
    state, parents = mechanism.path.at(value, noise, time), {"p": torch.zeros(50, 1, dtype=torch.float64)}
    assert torch.allclose(mechanism.predicted_noise(state, time, parents), noise, atol=1e-8)
    assert torch.allclose(
        mechanism.velocity(state, time, parents), mechanism.path.velocity(value, noise, time), atol=1e-8
    )
    assert float(mechanism.matching_loss(value, parents, noise=noise, time=time).max()) < 1e-16


def test_semantic_abduction_draws_one_more_condition_and_pays_for_it():
    mechanism = awake(Diffusion(PICTURE, [P], semantic=3, semantic_weight=1.0, **SMALL))
    value, parents = torch.rand(4, 1, 8, 8), {"p": torch.zeros(4, 1)}
    one, other = (mechanism.abduct(value, parents, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not torch.equal(one["semantic"], other["semantic"])
    assert torch.allclose(mechanism.generate(one, parents), value, atol=1e-5)
    moved = {**one, "semantic": one["semantic"] + 2}
    assert float((mechanism.generate(moved, parents) - value).abs().max()) > 1e-3
    noise, time = torch.randn_like(value), torch.rand(4)
    losses = []
    for weight in (0.0, 1.0):
        mechanism.semantic_weight = weight
        losses.append(mechanism.matching_loss(value, parents, torch.Generator().manual_seed(0), noise=noise, time=time))
    mean, log_scale = mechanism.posterior(value, parents)
    divergence = 0.5 * (mean**2 + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(1)
    assert torch.allclose(losses[1] - losses[0], divergence / 64, atol=1e-5)
    with pytest.raises(ConfigError, match="the density of a value is not known"):
        mechanism.log_likelihood(value, parents)
    with pytest.raises(ConfigError, match="semantic abduction encodes images; x is continuous"):
        FlowMatching(X, [], semantic=2)


# --- training -------------------------------------------------------------------------------------------------------


def trained(family, steps=400, **options):
    """A small field on x = SHIFT p + SCALE e, by the objective."""
    torch.manual_seed(0)
    scm = StructuralCausalModel(CausalGraph({"p": [], "x": ["p"]}), [family(P, [], width=8), family(X, [P], width=32)])
    objective = Matching(scm, "x", Fit(), **options)
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(4000, generator=generator) * 2 - 1
    batch = {"p": p, "x": SHIFT * p + SCALE * torch.randn(4000, generator=generator)}
    value, parents = objective.encoded(batch)
    scm.mechanisms["x"].prepare(value, parents)
    optimizer = torch.optim.Adam(scm.mechanisms["x"].parameters(), 3e-3)
    for step in range(steps):
        rows = torch.randint(4000, (256,), generator=generator)
        loss = objective.losses({name: one[rows] for name, one in batch.items()}, Moment(generator, step=step)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return scm.eval(), {name: one[:500] for name, one in batch.items()}


@pytest.mark.parametrize(
    ("family", "options"),
    [
        (FlowMatching, {}),
        (FlowMatching, {"coupling": "transport"}),
        (FlowMatching, {"times": "logit-normal"}),
        (Diffusion, {}),
    ],
)
def test_training_finds_the_closed_form(family, options):
    scm, factual = trained(family, **options)
    held = factual["p"].flip(0)
    with torch.no_grad():
        answer = scm.counterfactual(factual, {"p": held})["x"]
    truth = factual["x"] + SHIFT * (held - factual["p"])
    doing_nothing = (factual["x"] - truth).abs().mean()
    assert float((answer - truth).abs().mean()) < 0.2 * float(doing_nothing)


def test_conditions_are_kept_back_alone_and_together():
    mechanism = FlowMatching(PICTURE, [P, C], dropout=0.2, **SMALL)
    told = mechanism._dropped(torch.zeros(20000, 1, 8, 8), torch.Generator().manual_seed(0))
    assert told.double().mean(0).tolist() == pytest.approx([0.64, 0.64], abs=0.02)
    assert float((~told).all(1).double().mean()) == pytest.approx(0.2 + 0.8 * 0.04, abs=0.01)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FlowMatching(X, [], dropout=1.0), "dropout is 1.0; it must lie in"),
        (lambda: Diffusion(X, [], predicts="image"), "predicts is 'image'; give velocity or noise"),
        (lambda: FlowMatching(X, [], solver="rk4"), "There is no solver 'rk4'"),
        (lambda: FlowMatching(Binary("b"), []), "cannot model 'b'"),
    ],
)
def test_mistakes_are_named(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"times": "late"}, "times is 'late'"), ({"coupling": "batch"}, "never paired with data across parents")],
)
def test_the_objective_refuses_what_destroys_counterfactuals(options, words):
    scm = StructuralCausalModel(CausalGraph({"x": []}), [FlowMatching(X, [], width=8)])
    with pytest.raises(ConfigError, match=words):
        Matching(scm, "x", Fit(), **options)


class ToldOrNot(torch.nn.Module):
    """The parent itself as its token, or 0 where it is kept back."""

    def forward(self, conditions, told):
        return (conditions[0] * told)[:, None]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_noise_norm_of_a_normal_law_is_that_of_its_formula(family):
    """E[noise | state] moves by noise * signal * SHIFT p / variance, whatever the state."""
    mechanism = exact(family)
    mechanism.tokens = ToldOrNot()
    parent = torch.tensor([[0.0], [0.5], [-1.0]], dtype=torch.double)
    time = (torch.arange(8).double() + 0.5) / 8
    weights = mechanism.path.weights(time)
    moved = weights.noise * weights.signal * SHIFT / ((weights.signal * SCALE) ** 2 + weights.noise**2)
    expected = moved.square().mean().sqrt() * parent[:, 0].abs()
    found = mechanism.noise_norm(torch.randn(3, 1).double(), {"p": parent}, torch.Generator().manual_seed(0))
    assert torch.allclose(found, expected)
    assert isinstance(mechanism, capabilities.PredictsNoise)


def matching(family=Diffusion, **options):
    """An objective for x given p, and 400 samples."""
    graph = CausalGraph({"p": [], "x": ["p"]})
    scm = StructuralCausalModel(graph, [registry.mechanisms.get("spline_flow")(P, []), exact(family).float()])
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(400, generator=generator) * 2 - 1
    return Matching(scm, "x", Fit(), **options), {
        "p": p,
        "x": SHIFT * p + SCALE * torch.randn(400, generator=generator),
    }


def test_random_parents_are_those_of_other_samples_in_training_alone():
    objective, batch = matching(random_parents=0.3)
    _, parents = objective.encoded(batch)
    mixed = objective._mixed(parents, Moment(torch.Generator().manual_seed(1)))["p"]
    assert float((mixed != parents["p"]).double().mean()) == pytest.approx(0.3, abs=0.07)
    assert torch.isin(mixed, parents["p"]).all()
    plain, _ = matching()
    judged = [one.losses(batch, Moment(torch.Generator().manual_seed(1), training=False)) for one in (objective, plain)]
    assert torch.equal(*judged)
    strangers, _ = matching(random_parents=0.99)
    trained = [one.losses(batch, Moment(torch.Generator().manual_seed(1))).mean() for one in (strangers, plain)]
    assert trained[0] > 1.1 * trained[1]


def test_the_loudest_samples_are_left_out_of_the_loss():
    objective, batch = matching(drop_loudest=0.1)
    objective.mechanism.tokens = ToldOrNot()
    value, parents = objective.encoded(batch)
    weights = objective._quiet(value, parents, Moment(torch.Generator().manual_seed(1)))
    assert int((weights == 0).sum()) == 40
    assert float(weights.mean()) == pytest.approx(1)
    # The norm is that of the parent, whatever the noise: see its formula above.
    assert parents["p"].abs()[weights == 0].min() >= parents["p"].abs()[weights > 0].max()


@pytest.mark.parametrize("options", [{"random_parents": 1.0}, {"drop_loudest": -0.1}])
def test_shares_that_cannot_be_are_refused(options):
    with pytest.raises(ConfigError, match="must lie in"):
        matching(**options)
