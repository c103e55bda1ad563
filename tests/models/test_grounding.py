"""Grounding: phrases reach the field by attention alone, and where it hears them becomes a map."""

import pytest
import torch

from counterbench import models
from counterbench.catalog.recipes import Recipe
from counterbench.causal.graph import CausalGraph
from counterbench.causal.phrases import Grammar, Sentence, Wording
from counterbench.causal.variables import Categorical, Continuous, Image
from counterbench.errors import ConfigError
from counterbench.models.grounding import Rule, finished, forgetful, ground, otsu, reader_of

GRAPH = CausalGraph({"side": [], "size": [], "image": ["side", "size"]})
VARIABLES = {
    "side": Categorical("side", ("left", "right")),
    "size": Continuous("size", 0, 1),
    "image": Image("image", 1, 8, 8),
}
GRAMMAR = Grammar(
    VARIABLES,
    {"side": [Wording(("left",), "left"), Wording(("right", "starboard"), "right")]},
    sentences=[Sentence(("bar {side}", "{side}"), {})],
    vocabulary=["bar", "left", "right", "starboard"],
    subject="side",
)
OPTIONS = {"width": 16, "channels": [8, 8], "patch": 1, "attention": [0, 1], "heads": 2, "phrases": True}
CATEGORICAL, SPLINE = {"family": "categorical"}, {"family": "spline_flow"}


def recipe(**options):
    image = {"family": "flow_matching", "options": {**OPTIONS, **options}}
    content = {"name": "reader", "title": "Reader", "dataset": "bars"}
    return Recipe.model_validate({**content, "mechanisms": {"side": CATEGORICAL, "size": SPLINE, "image": image}})


def bars(count, seed=0):
    """A bright bar on one side; its size says nothing of where it is."""
    generator = torch.Generator().manual_seed(seed)
    side, size = torch.randint(2, (count,), generator=generator), torch.rand(count, generator=generator)
    image = torch.zeros(count, 1, 8, 8)
    image[side == 0, :, 2:6, 1:3] = 200.0
    image[side == 1, :, 2:6, 5:7] = 200.0
    return {"side": side, "size": size, "image": image}


@pytest.fixture(scope="module")
def reader():
    torch.manual_seed(0)
    scm = models.build(recipe(), GRAPH, VARIABLES, grammar=GRAMMAR)
    mechanism = scm.mechanisms["image"]
    optimizer = torch.optim.Adam(mechanism.parameters(), 4e-3)
    for step in range(250):
        values = bars(32, step)
        encoded = {name: VARIABLES[name].encode(value) for name, value in values.items()}
        loss = mechanism.loss(encoded["image"], encoded, torch.Generator().manual_seed(step)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return scm.eval().requires_grad_(False)


def test_parents_that_are_said_are_told_in_words_alone(reader):
    mechanism = reader.mechanisms["image"]
    assert mechanism.token_names == ["size", "phrase", "phrase", "phrase"]
    values = bars(3)
    encoded = {name: VARIABLES[name].encode(value) for name, value in values.items()}
    numbers, words = mechanism.conditions(encoded, encoded["image"])
    assert torch.equal(numbers, encoded["size"])
    assert words.tolist() == [[1, 2 + int(side), 0] for side in values["side"]]


def test_the_null_intervention_returns_and_the_words_move_the_bar(reader):
    values = bars(6)
    noise = reader.abduct(values)
    assert torch.allclose(reader.generate(noise, {})["image"], values["image"], atol=1e-2)
    swapped = reader.generate(noise, {"side": 1 - values["side"]})["image"]
    truth = bars(6)["image"].flip(3)
    nothing = (values["image"] - truth).abs().mean()
    assert (swapped - truth).abs().mean() < 0.6 * nothing


def test_what_is_silent_is_heard_by_nobody(reader):
    """Words reach the field by attention: without any, the prediction is that of no phrase."""
    mechanism, values = reader.mechanisms["image"], bars(4)
    encoded = {name: VARIABLES[name].encode(value) for name, value in values.items()}
    time, without = torch.full((4,), 0.5), torch.tensor([[True, False, False, False]] * 4)
    silent = mechanism.velocity(encoded["image"], time, encoded, phrase=torch.zeros(4, 3, dtype=torch.long))
    assert torch.equal(silent, mechanism.velocity(encoded["image"], time, encoded, told=without))
    assert not torch.allclose(silent, mechanism.velocity(encoded["image"], time, encoded))
    heard = mechanism.heard(encoded["image"], time, encoded, phrase=torch.zeros(4, 3, dtype=torch.long))
    assert all(float(maps.abs().max()) < 1e-5 for maps in heard.values())


def test_maps_lie_where_the_phrase_acts(reader):
    values = bars(24)
    rule = Rule(steps=10, reads="prediction", cut=False)
    maps = ground(reader, values, ["bar left"] * 24, image="image", rule=rule)
    assert maps.shape == (24, 8, 8)
    assert float(maps.min()) == 0
    assert torch.equal(maps.flatten(1).amax(1), torch.ones(24, dtype=torch.float64))
    bar = torch.zeros(8, 8, dtype=torch.bool)
    bar[1:7, :] = True  # bars appear and disappear on both sides
    assert float(maps[:, bar].mean()) > float(maps[:, ~bar].mean())


@pytest.mark.parametrize("reads", ["weights", "heard", "prediction"])
def test_a_rule_is_followed(reader, reads):
    values = bars(3)
    phrases = ["bar left", "right", "starboard"]
    whole = ground(reader, values, phrases, image="image", rule=Rule(steps=10, reads=reads))
    alone = ground(
        reader,
        {name: value[1:2] for name, value in values.items()},
        phrases[1:2],
        image="image",
        rule=Rule(steps=10, reads=reads),
    )
    assert torch.allclose(whole[1:2], alone, atol=1e-5)
    fresh = forgetful(reader, "image")
    assert torch.equal(
        *(
            ground(one, values, phrases, image="image", rule=Rule(steps=10, reads=reads))
            for one in (fresh, forgetful(reader, "image"))
        )
    )
    if reads == "weights":
        one = ground(reader, values, phrases, image="image", rule=Rule(steps=10, layers=("down.0.attention",)))
        assert not torch.equal(one, whole)
        with pytest.raises(ConfigError, match="Only weights of attention belong to single words"):
            Rule(words="subject", reads="heard")
        with pytest.raises(ConfigError, match="belongs to no layer"):
            Rule(layers=("down.0.attention",), reads="prediction")
        named = ground(reader, values, phrases, image="image", rule=Rule(steps=10, words="subject"))
        assert not torch.equal(named[0], whole[0])  # `bar` is not the subject
        assert torch.equal(named[1], whole[1])
        with pytest.raises(ConfigError, match=r"no attention layer 'down\.7"):
            ground(reader, values, phrases, image="image", rule=Rule(steps=10, layers=("down.7",)))


def test_untrained_means_other_weights_of_the_same_network(reader):
    fresh = forgetful(reader, "image")
    assert reader_of(fresh, "image") is not None
    pairs = zip(reader.mechanisms["image"].named_parameters(), fresh.mechanisms["image"].parameters(), strict=True)
    changed = [name for (name, own), other in pairs if not torch.equal(own, other)]
    # Offsets of normalisation begin at 0, and some of them have not moved; all else is drawn anew.
    same = {name for name, _ in reader.mechanisms["image"].named_parameters()} - set(changed)
    assert all("norm" in name for name in same), same


def test_mistakes_are_told(reader):
    values = bars(1)
    with pytest.raises(ConfigError, match="'bra', which this dataset has never seen"):
        ground(reader, values, ["bra left"], image="image")
    with pytest.raises(ConfigError, match="No step of 2 lies in the window"):
        ground(reader, values, ["left"], image="image", rule=Rule(steps=2, window=(0.6, 0.9)))
    with pytest.raises(ConfigError, match="at least one step"):
        Rule(window=(0.6, 0.4))
    deaf = models.build(recipe(phrases=False), GRAPH, VARIABLES, grammar=GRAMMAR)
    with pytest.raises(ConfigError, match="reads no phrases"):
        ground(deaf, values, ["left"], image="image")
    with pytest.raises(ConfigError, match="no grammar of captions"):
        models.build(recipe(), GRAPH, VARIABLES)


def test_cutting_by_hand():
    maps = torch.tensor([[[0.0, 0.1, 0.2, 1.0]], [[3.0, 3.0, 3.0, 3.0]]])
    assert finished(maps, Rule(smoothing=0)).tolist() == [[[0.0, 0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0, 0.0]]]
    assert finished(maps, Rule(smoothing=0, cut=False))[0].tolist() == [
        [0.0, pytest.approx(0.1), pytest.approx(0.2), 1.0]
    ]
    two = torch.cat([0.1 + 0.02 * torch.rand(1, 50), 0.8 + 0.02 * torch.rand(1, 20)], 1)
    assert 0.12 <= float(otsu(two)) < 0.81


def test_an_image_is_inverted_by_the_field_that_is_told_nothing(reader, monkeypatch):
    mechanism, calls = reader.mechanisms["image"], []
    velocity = type(mechanism).velocity

    def watched(self, value, time, parents, *, told=None, phrase=None):
        calls.append((told, phrase))
        return velocity(self, value, time, parents, told=told, phrase=phrase)

    monkeypatch.setattr(type(mechanism), "velocity", watched)
    ground(reader, bars(2), ["left", "right"], image="image", rule=Rule(steps=10))
    steps = [(one, phrase) for one, phrase in calls if phrase is None]
    read = [phrase for _, phrase in calls if phrase is not None]
    assert len(steps) == 7  # from 1 to 0.4
    assert all(not one.any() for one, _ in steps)
    assert len(read) == 3  # at 0.6, 0.5 and 0.4
    assert all(phrase.tolist() == [[2, 0, 0], [3, 0, 0]] for phrase in read)
