"""A tiny random pipeline of diffusers has a row; nothing is downloaded."""

import json

import pytest
import torch

import counterbench
from counterbench.causal.chance import SampleNoise
from counterbench.causal.variables import Binary, Categorical, Continuous, Image
from counterbench.errors import ConfigError, ModelError, UnavailableError
from counterbench.exchange.pipelines import PipelineEdit

VARIABLES = {
    "width": Continuous("width", 0, 9, "px"),
    "kind": Categorical("kind", ("oak", "elm")),
    "old": Binary("old"),
    "image": Image("image", 1, 8, 8),
}
AFTER = {"width": torch.tensor([2.0, 4.5]), "kind": torch.tensor([0, 1]), "old": torch.tensor([1, 0])}


class Recorded:
    """Stands for a pipeline: remembers what it was asked, and adds noise from the generators."""

    def __init__(self):
        self.calls = []

    def __call__(self, *, prompt, image, generator, output_type, **options):
        self.calls.append((prompt, tuple(image.shape), options))
        noise = torch.stack([torch.rand(image.shape[1:], generator=one) for one in generator])
        return type("Output", (), {"images": 0.9 * image + 0.1 * noise})()


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr("counterbench.exchange.pipelines.require_extra", lambda *words: None)


def test_prompts_say_the_attributes_that_should_be_seen(installed):
    edit = PipelineEdit(Recorded(), "an {kind}, {width:.1f} wide, {old}", VARIABLES)
    assert edit.prompts(AFTER) == ["an oak, 2.0 wide, 1", "an elm, 4.5 wide, 0"]
    with pytest.raises(ConfigError, match="names 'colour'; the attributes are width, kind, old"):
        PipelineEdit(Recorded(), "a {colour} leaf", VARIABLES)


@pytest.mark.parametrize("prompt", ["a {}", "a {width", "{kind:.1f}", "{width:d}"])
def test_a_template_that_cannot_be_filled_in_is_told_at_once(installed, prompt):
    with pytest.raises(ConfigError, match="prompt"):
        PipelineEdit(Recorded(), prompt, VARIABLES)


def test_images_go_there_and_back_and_chance_is_of_each_sample(installed):
    pipeline = Recorded()
    edit = PipelineEdit(pipeline, "{kind}", VARIABLES, size=16, batch_size=1, strength=0.4)
    images = torch.full((2, 1, 8, 8), 100.0)
    made = edit(images, AFTER, AFTER, SampleNoise(0, ["a", "b"]))
    assert made.shape == images.shape
    assert [call[1] for call in pipeline.calls] == [(1, 3, 16, 16)] * 2
    assert pipeline.calls[0][2] == {"strength": 0.4}
    assert float((made - 100).abs().max()) < 26
    again = PipelineEdit(pipeline, "{kind}", VARIABLES, size=16, batch_size=2, strength=0.4)
    torch.testing.assert_close(again(images, AFTER, AFTER, SampleNoise(0, ["a", "b"])), made)
    other = again(images, AFTER, AFTER, SampleNoise(0, ["b", "a"]))
    torch.testing.assert_close(other.flip(0), made)
    assert not torch.equal(other, made)


def test_a_pipeline_that_gives_something_else_is_told(installed):
    def half(*, image, **rest):
        return type("Output", (), {"images": image[:1]})()

    with pytest.raises(ModelError, match="must give one image each"):
        PipelineEdit(half, "", VARIABLES)(torch.zeros(2, 1, 8, 8), AFTER, AFTER, None)


def test_without_diffusers_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("counterbench.plugins.extras.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install 'counterbench\[diffusers\]'"):
        PipelineEdit(Recorded(), "", VARIABLES)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Stable Diffusion with random weights, 16 channels wide."""
    pytest.importorskip("diffusers")
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    home = tmp_path_factory.mktemp("tokenizer")
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (home / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (home / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(home / "vocab.json"), str(home / "merges.txt"), model_max_length=32)
    config = CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=32, bos_token_id=len(words) - 2, eos_token_id=len(words) - 1, pad_token_id=len(words) - 1,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(16, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16, attention_head_dim=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8), in_channels=3, out_channels=3, latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    return StableDiffusionImg2ImgPipeline(
        vae=vae, text_encoder=CLIPTextModel(config), tokenizer=tokenizer, unet=unet, scheduler=DDIMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def test_a_pipeline_of_diffusers_has_a_row(tiny):
    digits = counterbench.load_dataset("morphomnist")
    edit = PipelineEdit(
        tiny, "a {digit}, {thickness:.1f} thick", digits.variables, size=32, strength=0.5, num_inference_steps=4
    )
    model = counterbench.ImageOnly(edit, digits)
    result = counterbench.evaluate(model, digits, suite="glance", limit=6, name="tiny", device="cpu")
    record = result.record
    assert record.inputs.model == "tiny"
    assert record.row_skill is not None
    assert record.row_skill.value < 0.2  # its weights are random
    told = record.by_key["truth", "attribute_error", "thickness", "intensity", 0, ""]
    assert told.value < 20  # attributes are predicted by trained mechanisms, whatever the image shows
    assert not [flag for flag in record.flags if "answers" in flag]  # the same alone and in a batch
    assert record.parameters > 1000
