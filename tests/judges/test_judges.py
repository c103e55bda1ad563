import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from counterbench import judges
from counterbench.catalog.cards import Card, JudgeEntry, read_card
from counterbench.causal.variables import Binary, Categorical, Continuous
from counterbench.errors import CheckpointError, ConfigError, UnknownNameError
from counterbench.judges.network import build, reduction
from counterbench.networks.classifiers import ARCHITECTURES
from counterbench.plugins import registry
from counterbench.plugins.factory import options_of
from counterbench.training import judges as judge_training
from counterbench.training.hardware import Hardware

DIGIT = Categorical("digit", tuple("0123456789"))


@pytest.fixture(params=ARCHITECTURES)
def classifier(request, tmp_path):
    torch.manual_seed(0)
    network = build(request.param, 1, 10)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    path = tmp_path / "w.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return registry.judges.get("classifier")(DIGIT, request.param, weights=path)


def pictures(count=9):
    return 255 * torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def test_a_judge_is_in_evaluation_mode_and_judges_each_image_alone(classifier):
    """Defect 8 of the anchor: batch statistics and dropout while evaluating."""
    images = pictures()
    state = {k: v.clone() for k, v in classifier.network.state_dict().items()}
    whole = classifier.measure(images)
    for i in range(len(images)):
        assert torch.allclose(classifier.measure(images[i : i + 1])[0], whole[i], atol=1e-6)
    assert torch.equal(classifier.measure(images), whole)
    assert all(torch.equal(v, state[k]) for k, v in classifier.network.state_dict().items())
    assert not whole.requires_grad
    assert torch.allclose(whole.sum(1), torch.ones(9), atol=1e-5)


def test_wrong_hash_is_refused(tmp_path, classifier):
    with pytest.raises(CheckpointError, match="altered or cut short"):
        registry.judges.get("classifier")(DIGIT, "plain", weights=next(tmp_path.iterdir()), sha256="0" * 64)


def test_a_panel_averages_its_members(morphomnist):
    panel = judges.load(morphomnist.card, "digits")["digit"]
    assert len(panel.members) == 2
    assert len(set(panel.fingerprints)) == 2
    images = morphomnist.split("test").take(slice(0, 20))["image"]
    mean = (panel.members[0].measure(images) + panel.members[1].measure(images)) / 2
    reading = panel.measure(images)
    assert torch.allclose(reading.value, mean)
    assert torch.equal(reading[:7].members, reading.members[:, :7])


def test_spread_and_agreement_of_judges_by_hand():
    measured = judges.Reading(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert measured.value.tolist() == [2, 5]
    assert measured.spread().tolist() == [1, 0]
    with pytest.raises(ValueError, match="agreement is for classes"):
        measured.agreement()
    named = judges.Reading(torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.7, 0.3], [0.2, 0.8]]]))
    assert named.agreement().tolist() == [1, 0]
    assert named.spread().tolist() == pytest.approx([0.1, 0.2])


def test_the_card_tells_the_truth_about_the_judges(morphomnist):
    """Errors on real test images, as the card claims them."""
    panels = judges.load(morphomnist.card, "digits")
    test = morphomnist.split("test").take()
    for name in ("thickness", "intensity"):
        (entry,) = morphomnist.card.judges[name]
        error = float((panels[name].measure(test["image"]).value - test[name]).abs().mean())
        assert error == pytest.approx(entry.quality["digits"]["mean_absolute_error"], rel=0.02)
    for entry, member in zip(morphomnist.card.judges["digit"], panels["digit"].members, strict=True):
        accuracy = float((member.measure(test["image"]).argmax(1) == test["digit"]).float().mean())
        assert accuracy == pytest.approx(entry.quality["digits"]["accuracy"], abs=0.002)


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        ({"judge": "thicknes"}, UnknownNameError, "Did you mean 'thickness'?"),
        ({"judge": "thickness", "options": {"slop": 1}}, ConfigError, "Did you mean 'slope'?"),
        ({"judge": "classifier", "options": {"architecture": "plain"}}, ConfigError, "cannot measure 'thickness'"),
    ],
)
def test_a_card_with_an_impossible_judge(morphomnist, entry, error, words):
    card = morphomnist.card.model_copy(update={"judges": {"thickness": (JudgeEntry.model_validate(entry),)}})
    with pytest.raises(error) as caught:
        judges.load(card, "digits")
    assert words in str(caught.value)


def test_the_device_arrives_in_every_judge_with_a_network(morphomnist):
    networks = [
        judge
        for panel in judges.load(morphomnist.card, "digits", device="meta").values()
        for judge in panel.members
        if hasattr(judge, "network")
    ]
    assert networks
    for judge in networks:
        assert judge.device == "meta"
        assert {weight.device.type for weight in judge.network.parameters()} == {"meta"}


@pytest.mark.parametrize("name", registry.judges.builtins())
def test_a_judge_with_a_network_names_the_device(name):
    """A new judge either says that it has no network, here, or gets its device."""
    closed_form = {"brain", "intensity", "thickness"}
    assert (name in closed_form) != ("device" in options_of(registry.judges.get(name), 1))


def test_options_of_a_judge_are_checked_and_may_be_written_with_an_exponent(morphomnist, tmp_path):
    def card(slope):
        (tmp_path / "mine.yaml").write_text(
            f"extends: morphomnist\nname: mine\njudges:\n  digit: null\n  thickness: [{{judge: thickness, options: {{slope: {slope}}}}}]\n"
        )
        return read_card(tmp_path / "mine.yaml")

    assert judges.load(card("8e-2"), "digits")["thickness"].members[0].slope == 0.08
    with pytest.raises(
        ConfigError, match="of 'thickness': the option slope is 'steep'; input should be a valid number"
    ):
        judges.load(card("steep"), "digits")


def test_judges_compute_in_single_precision_whatever_torchs_default(morphomnist):
    images = morphomnist.split("test").take(slice(0, 3))["image"]
    expected = judges.load(morphomnist.card, "digits")["digit"].measure(images).members
    torch.set_default_dtype(torch.float64)
    try:
        found = judges.load(morphomnist.card, "digits")["digit"].measure(images).members
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)


def test_a_classifier_needs_weights():
    with pytest.raises(ConfigError, match="needs the key 'weights'"):
        registry.judges.get("classifier")(DIGIT, "plain")
    with pytest.raises(UnknownNameError, match="Did you mean 'plain'"):
        build("plane", 1, 10)


def test_closed_form_judges_ignore_the_batch():
    thickness = registry.judges.get("thickness")(Continuous("t", 0, 9))
    images = torch.zeros(3, 1, 32, 32)
    for i, width in enumerate((2, 4, 6)):
        images[i, 0, 8:24, 10 : 10 + width] = 200.0
    whole = thickness.measure(images)
    assert (whole.diff() > 0.5).all()
    assert torch.equal(thickness.measure(images[1:2]), whole[1:2])
    intensity = registry.judges.get("intensity")(Continuous("i", 0, 255), offset=0.5)
    assert intensity.measure(images).tolist() == [200.5] * 3


def test_augmentation_keeps_shape_and_range():
    moved = judge_training.augmented(pictures(), torch.Generator().manual_seed(0))
    assert moved.shape == (9, 1, 32, 32)
    assert moved.min() >= 0
    assert moved.max() <= 255


def test_training_judges(toy, tmp_path):
    report = judge_training.train_judges([toy.Toy()], ["c"], output=tmp_path / "j", hardware=Hardware("cpu"), epochs=1)
    assert set(report) == set(ARCHITECTURES)
    stored = json.loads((tmp_path / "j" / "judges.json").read_text())["judges"]
    for (name, entry), pinned in zip(report.items(), stored["c"], strict=True):
        # As the card wants it: a list per variable, each judge with its own figures.
        assert pinned == {
            "judge": "classifier",
            **entry,
            "sources": ["formula"],
            "quality": {source: figures["c"] for source, figures in entry["quality"].items()},
        }
        path = tmp_path / "j" / entry["weights"]
        judge = registry.judges.get("classifier")(
            toy.CARD.build_variables()["c"], name, weights=path, sha256=entry["sha256"]
        )
        assert judge.measure(toy.Toy().split("test").take(slice(0, 4))["image"]).shape == (4, 3)
        assert 0 <= entry["quality"]["formula"]["c"]["accuracy"] <= 1


def two_labels(toy):
    """The toy with a second class, whether `a` is positive."""
    inner = toy.Toy()
    sign = Binary("sign")

    def split(name):
        whole = inner.split(name)
        return SimpleNamespace(values={**whole.values, "sign": (whole.values["a"] > 0).long()})

    variables = {**inner.variables, "sign": sign}
    return SimpleNamespace(card=inner.card, source="formula", variables=variables, split=split)


def test_one_network_judges_several_variables_and_looks_once(toy, tmp_path):
    dataset = two_labels(toy)
    report = judge_training.train_judges(
        [dataset], ["c", "sign"], output=tmp_path / "j", hardware=Hardware("cpu"), epochs=1
    )
    entry = report["plain"]
    assert entry["options"]["heads"] == {"c": 3, "sign": 2}
    assert set(entry["quality"]["formula"]) == {"c", "sign"}
    family, weights = registry.judges.get("classifier"), tmp_path / "j" / entry["weights"]
    made = {name: family(dataset.variables[name], **entry["options"], weights=weights) for name in ("c", "sign")}
    images = dataset.split("test").values["image"][:5].float()
    logits = made["c"].look(images)
    assert torch.allclose(made["c"].measure(images), logits[:, :3].softmax(1))
    assert torch.allclose(made["sign"].measure(images), logits[:, 3:].softmax(1))
    looks = []
    for judge in made.values():
        judge.network.register_forward_hook(lambda *_: looks.append(1))
    panels = {name: judges.Panel(dataset.variables[name], (judge,)) for name, judge in made.items()}
    together = judges.measure_all(panels, images)
    assert len(looks) == 1
    for name, panel in panels.items():
        assert torch.equal(together[name].members, panel.measure(images).members)


def test_heads_must_have_the_variable(tmp_path):
    with pytest.raises(ConfigError, match="needs a head with 10 classes"):
        registry.judges.get("classifier")(DIGIT, "plain", heads={"other": 2}, weights=tmp_path / "w")


def test_a_judge_of_one_source_judges_no_other(morphomnist):
    """What was trained on rendered pictures says nothing about photographs."""
    (entry,) = morphomnist.card.judges["intensity"]
    only = entry.model_copy(update={"sources": ("mnist",)})
    card = morphomnist.card.model_copy(update={"judges": {**morphomnist.card.judges, "intensity": (only,)}})
    assert set(judges.load(card, "digits")) == {"thickness", "digit"}
    assert set(judges.load(card, "mnist")) == {"thickness", "intensity", "digit"}
    with pytest.raises(ValueError, match=r"judge of intensity: no source 'x' here"):
        Card.model_validate(
            {
                **card.model_dump(exclude={"path"}),
                "judges": {"intensity": [{"judge": "intensity", "sources": ["x"]}]},
                "features": {},
            }
        )


@pytest.mark.parametrize("side", [28, 32, 64, 96, 192, 224])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_judge_sees_every_pixel(architecture, side):
    torch.manual_seed(0)
    network = build(architecture, 1, 3, **reduction(side)).eval()
    image = torch.rand(1, 1, side, side, requires_grad=True)
    (found,) = torch.autograd.grad(network(image).square().sum(), image)
    assert (found != 0).float().mean() > 0.95  # pooling may cut a strip at the border
