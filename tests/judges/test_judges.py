import json
import math
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from counterbench import judges
from counterbench.catalog.cards import Card, JudgeEntry, read_card
from counterbench.causal.variables import Binary, Categorical, Continuous
from counterbench.datasets.split import Split
from counterbench.errors import CheckpointError, ConfigError, UnknownNameError
from counterbench.judges.base import Judge
from counterbench.judges.network import build, reduction
from counterbench.judges.sensitivity import LEVELS, PERTURBATIONS, attacked, blurred, sensitivity
from counterbench.networks.classifiers import ARCHITECTURES
from counterbench.plugins import registry
from counterbench.plugins.factory import options_of
from counterbench.training import judges as judge_training
from counterbench.training.augmentation import augmented
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


def test_normalisation_is_folded_into_the_convolutions(tmp_path, classifier):
    """The network computes what it was trained to compute, with no batch normalisation left."""
    images = pictures()
    network = build(classifier.architecture, 1, 10).eval()
    network.load_state_dict(load_file(tmp_path / "w.safetensors"))
    with torch.no_grad():
        wanted = network(images / 127.5 - 1).softmax(1)
    assert torch.allclose(classifier.measure(images), wanted, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in classifier.network.modules())


def test_wrong_hash_is_refused(tmp_path, classifier):
    with pytest.raises(CheckpointError, match="altered or cut short"):
        registry.judges.get("classifier")(DIGIT, "plain", weights=next(tmp_path.iterdir()), sha256="0" * 64)


def test_a_panel_reads_the_median_of_its_members(morphomnist):
    panel = judges.load(morphomnist.card, "digits")["digit"]
    assert len(panel.members) == 3
    assert len(set(panel.fingerprints)) == 3
    images = morphomnist.split("test").take(slice(0, 20))["image"]
    median = torch.stack([member.measure(images) for member in panel.members]).median(0).values
    reading = panel.measure(images)
    assert torch.allclose(reading.value, median / median.sum(1, keepdim=True))
    assert torch.equal(reading[:7].members, reading.members[:, :7])


def test_one_blind_judge_of_three_does_not_move_the_panel():
    assert judges.Reading(torch.tensor([[2.0], [2.2], [90.0]])).value.tolist() == pytest.approx([2.2])
    right, blind = [0.9, 0.1], [0.0, 1.0]
    named = judges.Reading(torch.tensor([[right], [[0.6, 0.4]], [blind]])).value
    assert named.sum(1).tolist() == pytest.approx([1])
    assert int(named.argmax(1)) == 0


def test_every_variable_that_the_image_determines_has_judges_of_different_making():
    from counterbench import datasets

    for name in ("morphomnist", "adni", "celeba-simple", "celeba-complex"):
        card = datasets.card(name)
        for variable, entries in card.judges.items():
            usable = [entry for entry in entries if not entry.sources or card.default_source in entry.sources]
            assert len(usable) == 3, variable
            assert sum(entry.weights is not None for entry in usable) >= 2, variable
            assert len({(entry.judge, str(entry.options.get("architecture"))) for entry in usable}) == 3, variable


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
        for entry, member in zip(morphomnist.card.judges[name], panels[name].members, strict=True):
            error = float((member.measure(test["image"]) - test[name]).abs().mean())
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
            f"extends: morphomnist\nname: mine\njudges:\n  digit: null\n  intensity: null\n  thickness: [{{judge: thickness, options: {{slope: {slope}}}}}]\n"
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


@pytest.mark.parametrize("keeps_size", [True, False])
def test_augmentation_keeps_shape_and_range_and_tells_what_became_of_grey_levels(keeps_size):
    flat = torch.full((200, 1, 16, 16), 100.0)
    changed = augmented(flat, torch.Generator().manual_seed(0), keeps_size=keeps_size)
    assert changed.images.shape == flat.shape
    assert changed.images.min() >= 0
    assert changed.images.max() <= 255
    assert torch.equal(changed.images, changed.images.round())
    # Noise averages out: what is left is what was done to the grey level.
    assert torch.allclose(changed.images.mean((1, 2, 3)), changed.level(torch.full((200,), 100.0)), atol=4.0)
    assert changed.level(torch.full((200,), 100.0)).std() > 10


def test_a_blur_by_hand():
    point = torch.zeros(2, 1, 9, 9)
    point[:, :, 4, 4] = 1.0
    seen = blurred(point, torch.tensor([0.0, 0.5]))
    assert torch.equal(seen[0], point[0])
    assert float(seen[1].sum()) == pytest.approx(1)
    assert float(seen[1, 0, 4, 5] / seen[1, 0, 4, 4]) == pytest.approx(math.exp(-2), rel=1e-5)


def test_intensity_reads_the_stroke_and_not_its_sharpness(morphomnist):
    """The median of the bright pixels falls by 15 grey levels where an image is blurred by half a pixel."""
    from counterbench.processes.strokes import median_intensity

    test = morphomnist.split("test").take(slice(0, 200))
    judge = judges.load(morphomnist.card, "digits")["intensity"].members[0]
    soft = blurred(test["image"], torch.full((200,), 0.5)).round()
    moved = float((judge.measure(soft) - judge.measure(test["image"])).abs().mean())
    published = float((median_intensity(soft[:, 0]) - median_intensity(test["image"][:, 0])).abs().mean())
    assert moved < published / 1.5
    speck = test["image"].clone()
    speck[:, :, 3, 3] = 255
    assert float((judge.measure(speck) - judge.measure(test["image"])).abs().max()) < 5
    with pytest.raises(ConfigError, match="3 coefficients given; the polynomial has 15 terms"):
        registry.judges.get("intensity")(Continuous("i", 0, 255), coefficients=[1, 2, 3])


@pytest.mark.parametrize("change", ["offset 8", "noise 10", "blur 0.5 px"])
def test_panels_of_digits_survive_what_models_do(morphomnist, change):
    test = morphomnist.split("test").take(slice(0, 500))
    panels = judges.load(morphomnist.card, "digits")
    changed = PERTURBATIONS[change](test["image"]).round().clamp(0, 255)
    for member in panels["digit"].members:
        before, after = (
            float((member.measure(images).argmax(1) == test["digit"]).float().mean())
            for images in (test["image"], changed)
        )
        assert after > before - 0.02
    before, after = (
        float((panels["thickness"].measure(images).value - test["thickness"]).abs().mean())
        for images in (test["image"], changed)
    )
    assert after < before + 0.05


def test_the_sensitivity_card_of_a_judge(toy, tmp_path):
    """A judge of the mean brightness: noise does not move it, an offset does, an attack moves it by what it may."""

    class Brightness(Judge):
        kinds = ("continuous",)
        fingerprint = "mean"

        def _measure(self, images):
            return images.mean((1, 2, 3))

    images = torch.full((20, 1, 16, 16), 100.0)
    card = sensitivity(Brightness(Continuous("level", 0, 255)), images, torch.full((20,), 100.0))
    assert card["as they are"] == card["blur 1 px"] == 0
    assert card["offset 8"] == pytest.approx(8)
    assert card["noise 10"] < 2
    assert card["one bright pixel"] == pytest.approx(155 / 256, abs=1e-3)
    assert 0.2 < card["worst of 100 random patterns of 4"] < 4


def test_an_attack_moves_a_network_and_stays_within_its_grey_levels(classifier):
    images = pictures().round()
    truth = classifier.measure(images).argmax(1)
    changed = attacked(classifier, images, truth)
    assert float((changed - images).abs().max()) <= LEVELS
    right = torch.arange(len(truth))
    assert (classifier.measure(changed)[right, truth] <= classifier.measure(images)[right, truth]).all()


def test_a_hidden_panel_takes_the_place_of_the_public_one(toy, tmp_path, monkeypatch):
    judge_training.train_judges([toy.Toy()], ["a", "c"], output=tmp_path / "j", hardware=Hardware("cpu"), epochs=1)
    public = judges.load(toy.CARD, "formula")
    monkeypatch.setenv("COUNTERBENCH_HIDDEN_JUDGES", str(tmp_path / "j"))
    hidden = judges.load(toy.CARD, "formula")
    assert [type(member).__name__ for member in hidden["a"].members] == ["Regressor"] * 3
    assert [type(member).__name__ for member in hidden["c"].members] == ["Classifier"] * 3
    assert hidden["b"].fingerprints == public["b"].fingerprints
    other = toy.CARD.model_copy(update={"name": "other"})
    assert judges.load(other, "formula")["a"].fingerprints == public["a"].fingerprints
    monkeypatch.setenv("COUNTERBENCH_HIDDEN_JUDGES", str(tmp_path))
    with pytest.raises(ConfigError, match=r"judges\.json is not what train-judges writes"):
        judges.load(toy.CARD, "formula")


def test_a_regressor_learns_a_quantity_and_how_uncertain_it_is(toy, tmp_path):
    dataset = toy.Toy()
    report = judge_training.train_judges([dataset], ["a"], output=tmp_path / "j", hardware=Hardware("cpu"), epochs=30)
    test = dataset.split("test").take(slice(0, None))
    spread = float(test["a"].std())
    for entry in report.values():
        told = entry["judges"]["a"]
        judge = registry.judges.get("regressor")(
            dataset.variables["a"], **told["options"], weights=tmp_path / "j" / entry["weights"], sha256=entry["sha256"]
        )
        error = (judge.measure(test["image"]) - test["a"]).abs()
        assert float(error.mean()) == pytest.approx(told["quality"]["formula"]["mean_absolute_error"], rel=0.01)
        held = float((error <= 1.6449 * judge.uncertainty(test["image"])).double().mean())
        assert held == pytest.approx(told["quality"]["formula"]["coverage_90"], abs=0.01)
        assert set(told["sensitivity"]) == {"formula"}
    best = min(entry["judges"]["a"]["quality"]["formula"]["mean_absolute_error"] for entry in report.values())
    assert best < 0.7 * spread


def test_training_judges(toy, tmp_path):
    report = judge_training.train_judges([toy.Toy()], ["c"], output=tmp_path / "j", hardware=Hardware("cpu"), epochs=1)
    assert set(report) == set(ARCHITECTURES)
    stored = json.loads((tmp_path / "j" / "judges.json").read_text())["judges"]
    for (name, entry), pinned in zip(report.items(), stored["c"], strict=True):
        # As the card wants it: a list per variable, each judge with its own figures.
        told = entry["judges"]["c"]
        assert told["judge"] == "classifier"
        assert pinned == {**told, "weights": entry["weights"], "sha256": entry["sha256"], "sources": ["formula"]}
        JudgeEntry.model_validate(pinned)
        path = tmp_path / "j" / entry["weights"]
        judge = registry.judges.get("classifier")(
            toy.CARD.build_variables()["c"], name, weights=path, sha256=entry["sha256"]
        )
        assert judge.measure(toy.Toy().split("test").take(slice(0, 4))["image"]).shape == (4, 3)
        assert 0 <= told["quality"]["formula"]["accuracy"] <= 1


def two_labels(toy):
    """The toy with a second class, whether `a` is positive."""
    inner = toy.Toy()
    sign = Binary("sign")

    def split(name):
        whole = inner.split(name)
        return Split(name, {**whole.values, "sign": (whole.values["a"] > 0).long()}, whole.group)

    variables = {**inner.variables, "sign": sign}
    return SimpleNamespace(card=inner.card, source="formula", variables=variables, split=split)


def test_one_network_judges_several_variables_and_looks_once(toy, tmp_path):
    dataset = two_labels(toy)
    report = judge_training.train_judges(
        [dataset], ["c", "sign"], output=tmp_path / "j", hardware=Hardware("cpu"), epochs=1
    )
    entry = report["plain"]
    assert set(entry["judges"]) == {"c", "sign"}
    options = entry["judges"]["c"]["options"]
    assert options["heads"] == {"c": 3, "sign": 2}
    family, weights = registry.judges.get("classifier"), tmp_path / "j" / entry["weights"]
    made = {name: family(dataset.variables[name], **options, weights=weights) for name in ("c", "sign")}
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
    with pytest.raises(ConfigError, match="needs a head with 10 outputs"):
        registry.judges.get("classifier")(DIGIT, "plain", heads={"other": 2}, weights=tmp_path / "w")


def test_a_judge_of_one_source_judges_no_other(morphomnist):
    """What was trained on rendered pictures says nothing about photographs."""
    entry = morphomnist.card.judges["intensity"][0]
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
                "recognisers": {},
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
