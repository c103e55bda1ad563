"""Feature spaces: what is always there, and pretrained networks with random weights in the place of the real ones."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file

from counterbench import features, judges
from counterbench.catalog.cards import FeatureEntry
from counterbench.errors import CheckpointError, ConfigError, UnavailableError, UnknownNameError
from counterbench.features.base import as_rgb, cosine_distance
from counterbench.networks.autoencoder import Autoencoder, Recogniser
from counterbench.plugins import registry
from counterbench.storage.weights import save_weights


def pictures(count=5, channels=1, side=32, seed=0):
    return 255 * torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def empty_folders(tmp_path, monkeypatch):
    """No file of this machine's user is looked at."""
    monkeypatch.setenv("COUNTERBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "weights").mkdir()


def make_spaces(morphomnist):
    panels = judges.load(morphomnist.card, "digits")
    return {name: features.load(name, morphomnist.card, panels) for name in ("pixel", "judge", "posterior")}


def test_each_vector_depends_on_its_image_alone(morphomnist):
    images = morphomnist.split("test").take(slice(0, 9))["image"]
    for name, space in make_spaces(morphomnist).items():
        whole = space.extract(images)
        assert whole.dtype == torch.float32
        assert not whole.requires_grad
        for i in range(9):
            assert torch.allclose(space.extract(images[i : i + 1])[0], whole[i], atol=1e-4), name
        assert torch.equal(space.extract(images), whole)
        assert len(space.fingerprint) > 5
        assert (space.distance(images, images) == 0).all()
        assert (space.distance(images, images.roll(1, 0)) > 0).all()


def test_a_judges_features_lead_to_its_own_answer(morphomnist):
    space = make_spaces(morphomnist)["judge"]
    images = morphomnist.split("test").take(slice(0, 9))["image"]
    with torch.inference_mode():
        answer = space.head(space.extract(images)).softmax(1)
    assert torch.allclose(answer, space.judge.measure(images), atol=1e-5)
    assert space.extract(images).shape[1] == 96


def test_the_pinned_posterior_tells_different_digits_further_apart_than_drawings_of_one(morphomnist):
    space = make_spaces(morphomnist)["posterior"]
    split = morphomnist.split("test")
    order = split.group.argsort(stable=True)
    same = split.take(order[:400:2])["image"], split.take(order[1:400:2])["image"]
    strangers = same[0], split.take(order[1200:1600:2])["image"]
    assert space.distance(*same).median() < space.distance(*strangers).median()


def test_posterior_is_pinned_by_its_hash(tmp_path):
    path = tmp_path / "p.safetensors"
    sha256 = save_weights(Recogniser((1, 32, 32)), path)
    family = registry.features.get("posterior")
    assert family(shape=(1, 32, 32), weights=path, sha256=sha256).extract(pictures()).shape == (5, 32)
    with pytest.raises(CheckpointError, match="altered or cut short"):
        family(shape=(1, 32, 32), weights=path, sha256="0" * 64)
    with pytest.raises(UnavailableError, match="pins no unconditional autoencoder"):
        family(shape=(1, 32, 32), card="mine")


def test_what_a_card_lacks_is_said(toy):
    panels = judges.load(toy.CARD, "formula")
    with pytest.raises(UnavailableError, match="'toy' has no trained judge"):
        features.load("judge", toy.CARD, panels)
    with pytest.raises(UnavailableError, match="'toy' pins no"):
        features.load("posterior", toy.CARD, panels)
    with pytest.raises(UnknownNameError, match="Did you mean 'inception'"):
        features.load("inceptoin", toy.CARD, panels)
    odd = toy.CARD.model_copy(update={"features": {"pixel": (FeatureEntry(options={"depth": 3}),)}})
    with pytest.raises(ConfigError, match="no option 'depth'"):
        features.load("pixel", odd, panels)


@pytest.mark.parametrize("name", ["lpips", "inception", "clip", "dinov2"])
def test_a_missing_file_is_named_with_its_place_and_its_source(name, toy, tmp_path):
    family = registry.features.get(name)
    pytest.importorskip(family.needs[0].package)
    with pytest.raises(UnavailableError) as error:
        features.load(name, toy.CARD, {})
    assert family.needs[0].name in str(error.value)
    assert str(tmp_path / "weights") in str(error.value)
    assert "https://" in str(error.value)
    assert "counterbench doctor" in str(error.value)


def test_a_missing_package_is_named(monkeypatch, toy):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install 'counterbench\[features\]'"):
        features.load("inception", toy.CARD, {})


def test_another_file_of_the_same_name_is_refused(tmp_path, toy):
    pytest.importorskip("lpips")
    (tmp_path / "weights" / "vgg16-397923af.pth").write_bytes(b"not it")
    with pytest.raises(CheckpointError, match="does not begin with 397923af"):
        features.load("lpips", toy.CARD, {})


def test_learned_distance_is_that_of_its_authors_package(tmp_path):
    """Random backbone, real linear weights: through our loading, and through torchvision's model put into theirs."""
    lpips = pytest.importorskip("lpips")
    import torchvision

    torch.manual_seed(0)
    backbone = torchvision.models.vgg16(weights=None)
    path = tmp_path / "vgg.pth"
    torch.save({key: value for key, value in backbone.state_dict().items() if key.startswith("features.")}, path)
    space = registry.features.get("lpips")(weights=path)
    theirs = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()
    positions = []
    for slices in (theirs.net.slice1, theirs.net.slice2, theirs.net.slice3, theirs.net.slice4, theirs.net.slice5):
        for position, layer in slices.named_children():
            layer.load_state_dict(backbone.features[int(position)].state_dict())
            positions.append(int(position))
    assert positions == list(range(30))  # all but the last pooling
    first, second = pictures(seed=1), pictures(seed=2)
    with torch.no_grad():
        expected = theirs(*(as_rgb(images) / 127.5 - 1 for images in (first, second))).flatten()
    assert torch.allclose(space.distance(first, second), expected.double(), atol=1e-6)
    assert (space.distance(first, first) == 0).all()
    assert not space.vectors


@pytest.mark.slow
def test_inception_is_that_of_its_package(tmp_path, monkeypatch):
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    family = fidelity.FeatureExtractorInceptionV3
    torch.manual_seed(0)
    with monkeypatch.context() as patch:  # the package would download its weights
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(family, "load_state_dict", lambda *_: None)
        theirs = family("inception-v3-compat", ["2048"])
    path = tmp_path / "w.pth"
    torch.save(theirs.state_dict(), path)
    images = pictures(2)
    found = registry.features.get("inception")(weights=path).extract(images)
    assert found.shape == (2, 2048)
    assert torch.allclose(found, theirs(as_rgb(images).round().to(torch.uint8))[0], atol=1e-5)


def test_pickles_are_read_as_tensors_only(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    path = tmp_path / "w.pth"
    torch.save({"x": Evil()}, path)
    for name in ("lpips", "inception"):
        if name == "inception":
            pytest.importorskip("torch_fidelity")
        with pytest.raises(Exception, match=r"[Ww]eights.only|Unsupported|unpickl"):
            registry.features.get(name)(weights=path)


@pytest.mark.parametrize(("name", "model"), [("clip", "CLIPVisionModelWithProjection"), ("dinov2", "Dinov2Model")])
def test_transformers_folders_are_read(name, model, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 16, "image_size": 32}
    if name == "clip":
        config = transformers.CLIPVisionConfig(**sizes, intermediate_size=32, projection_dim=8)
    else:
        config = transformers.Dinov2Config(**sizes, mlp_ratio=2)
    made = getattr(transformers, model)(config).eval()
    made.save_pretrained(tmp_path / "folder", safe_serialization=True)
    space = registry.features.get(name)(weights=tmp_path / "folder")
    images = pictures(3)
    found = space.extract(images)
    assert found.shape == (3, 8 if name == "clip" else 16)
    side = space.side
    resized = torch.nn.functional.interpolate(as_rgb(images) / 255, (side, side), mode="bicubic", antialias=True).clamp(
        0, 1
    )
    mean, spread = (torch.tensor(values)[:, None, None] for values in (space.mean, space.spread))
    with torch.no_grad():
        output = made(pixel_values=(resized - mean) / spread)
    expected = output.image_embeds if name == "clip" else output.pooler_output
    assert torch.allclose(found, expected, atol=1e-5)
    (tmp_path / "folder" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        registry.features.get(name)(weights=tmp_path / "folder")


def test_colours_are_repeated_never_rescaled_by_the_batch():
    """Defect 18 of the anchor."""
    dark, bright = torch.full((1, 1, 4, 4), 10.0), torch.full((1, 1, 4, 4), 200.0)
    assert torch.equal(as_rgb(torch.cat([dark, bright]))[:1], as_rgb(dark))
    assert as_rgb(dark).shape == (1, 3, 4, 4)


def test_cosine_distance_by_hand():
    a = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [2.0, 2.0]])
    b = torch.tensor([[0.0, 1.0], [-1.0, -1.0], [0.0, 0.0], [1.0, 0.0], [3.0, 3.0]])
    assert cosine_distance(a, b).tolist() == pytest.approx([1, 2, 0, 1, 0], abs=1e-12)


def test_the_autoencoders_bound_is_below_the_likelihood_and_its_divergence_that_of_torch():
    torch.manual_seed(0)
    network = Autoencoder((1, 16, 16), 4, channels=(4, 8), hidden=16)
    images = (2 * torch.randint(0, 256, (3, 1, 16, 16)) / 255 - 1).float()
    loss = network.loss(images, torch.randn(3, 4))
    assert loss.shape == (3,)
    assert loss.isfinite().all()
    mean, log_scale = network.recogniser(images)
    from torch.distributions import Normal, kl_divergence

    exact = kl_divergence(Normal(mean, log_scale.exp()), Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(0.5 * (mean.square() + (2 * log_scale).exp() - 1).sum(1) - log_scale.sum(1), exact, atol=1e-5)


def pretend(name, monkeypatch, folder):
    """Tiny networks in the place of pretrained ones, which need packages and files."""
    from counterbench.features import inception, lpips, transformer_folder

    for file in ("model.safetensors", "config.json"):
        (folder / file).write_text("{}")
    for module in (transformer_folder, inception, lpips):
        monkeypatch.setattr(module, "require_package", lambda *_: None)
        monkeypatch.setattr(module, "find", lambda *_: folder if name in ("clip", "dinov2") else folder / "config.json")
    tiny = torch.nn.Linear(1, 1)
    tiny.config = None
    monkeypatch.setattr(transformer_folder.FolderEncoder, "_read", lambda *_: tiny)
    for module in (inception, lpips):
        monkeypatch.setattr(module, "build", lambda *_: tiny)
    monkeypatch.setattr(lpips.torch, "load", lambda *_, **__: {})


@pytest.mark.parametrize("name", sorted(set(registry.features.builtins()) - {"pixel"}))
def test_the_device_arrives_in_every_space_with_a_network(name, morphomnist, monkeypatch, tmp_path):
    panels = judges.load(morphomnist.card, "digits", device="meta")
    pretend(name, monkeypatch, tmp_path)
    space = features.load(name, morphomnist.card, panels, device="meta")
    assert {weight.device.type for weight in space.network.parameters()} == {"meta"}
    assert torch.device(space.judge.device if name == "judge" else space.device).type == "meta"


def test_spaces_compute_in_single_precision_whatever_torchs_default(morphomnist):
    images = morphomnist.split("test").take(slice(0, 3))["image"]
    expected = {name: space.extract(images) for name, space in make_spaces(morphomnist).items()}
    torch.set_default_dtype(torch.float64)
    try:
        for name, space in make_spaces(morphomnist).items():
            assert torch.equal(space.extract(images), expected[name])
    finally:
        torch.set_default_dtype(torch.float32)


def test_weights_that_a_space_does_not_take_are_no_silent_pin(toy, tmp_path):
    pinned = FeatureEntry(weights="w.safetensors", sha256="0" * 64)
    odd = toy.CARD.model_copy(update={"features": {"pixel": (pinned,)}, "path": tmp_path / "card.yaml"})
    with pytest.raises(ConfigError, match="'pixel' takes no 'weights'"):
        features.load("pixel", odd, {})


def test_options_of_a_space_are_checked(toy):
    odd = toy.CARD.model_copy(update={"features": {"judge": (FeatureEntry(options={"member": "first"}),)}})
    with pytest.raises(ConfigError, match="the option member is 'first'; input should be a valid integer"):
        features.load("judge", odd, {})


@pytest.mark.slow
def test_training_the_autoencoder_of_a_card(tmp_path, morphomnist, monkeypatch):
    from counterbench import datasets
    from counterbench.training import features
    from counterbench.training.hardware import Hardware

    report = features.train_posterior([datasets.load("morphomnist")], tmp_path, hardware=Hardware("cpu"), epochs=1)
    stored = tmp_path / report["weights"]
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == report["sha256"]
    assert json.loads((tmp_path / "posterior.json").read_text())["features"]["posterior"] == report
    space = registry.features.get("posterior")(shape=(1, 32, 32), weights=stored, sha256=report["sha256"])
    assert space.extract(pictures()).shape == (5, 32)
    save_file({"x": torch.zeros(1)}, stored)
    with pytest.raises(CheckpointError):
        registry.features.get("posterior")(shape=(1, 32, 32), weights=stored, sha256=report["sha256"])
