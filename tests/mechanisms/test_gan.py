"""The bidirectional GAN beside what the contract test asks of every mechanism."""

import pytest
import torch

from counterbench.causal.variables import Continuous, Image
from counterbench.errors import ConfigError
from counterbench.plugins import registry

PARENT = Continuous("p", 0, 1)


def small(shape=(1, 16, 16), **options):
    torch.manual_seed(0)
    given = {"latent": 3, "encoder_channels": [4, 8], "decoder_channels": [8, 4], "hidden": 16, **options}
    return registry.mechanisms.get("gan")(Image("x", *shape), [PARENT], **given).double()


def test_every_pixel_moves_the_latent():
    """Defect 20 of the anchor: the last convolution of its encoder skipped three of four positions."""
    gan = small()
    image = torch.zeros(1, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    gan.encode(image, torch.zeros(1, 1).double()).abs().sum().backward()
    assert (image.grad != 0).all()


def test_parents_move_image_latent_and_verdict():
    gan = small()
    image = torch.rand(1, 1, 16, 16).double() * 2 - 1
    latent, here, there = torch.randn(1, 3).double(), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    opponent = gan.make_discriminator().double()
    for see in (
        lambda context: gan.decode(latent, context),
        lambda context: gan.encode(image, context),
        lambda context: opponent(image, latent, context),
    ):
        assert not torch.allclose(see(here), see(there), atol=1e-6)


def test_images_are_images_of_any_colour_and_size():
    gan = small((3, 32, 32))
    made = gan.generate(gan.sample_noise(4, torch.Generator().manual_seed(0)), {"p": torch.rand(4, 1).double()})
    assert made.shape == (4, 3, 32, 32)
    assert made.abs().max() <= 1


def test_the_opponent_is_no_part_of_the_model_and_can_be_wider():
    gan = small()
    assert not any("discriminator" in name for name, _ in gan.named_parameters())
    narrow, wide = (sum(p.numel() for p in gan.make_discriminator(w).parameters()) for w in (1.0, 2.0))
    assert wide > 2 * narrow


def test_impossible_options_are_refused():
    with pytest.raises(ConfigError, match="at least one number"):
        small(latent=0)
    with pytest.raises(ConfigError, match="not divisible by 4"):
        small((1, 18, 18))


def test_cycles_by_hand():
    """Through the image and back, and through the latent and back; the loss is their sum."""
    gan, generator = small(), torch.Generator().manual_seed
    value, parents = torch.rand(4, 1, 16, 16).double() * 2 - 1, {"p": torch.rand(4, 1).double()}
    drawn = torch.randn(4, 3, dtype=torch.float64, generator=generator(0))
    again = gan.generate(gan.abduct(value, parents), parents)
    found = gan.abduct(gan.generate({"latent": drawn}, parents), parents)["latent"]
    images, latents = gan.cycles(value, parents, generator(0))
    assert torch.allclose(images, (again - value).abs().mean((1, 2, 3)))
    assert torch.allclose(latents, (found - drawn).square().mean(1))
    assert torch.allclose(gan.loss(value, parents, generator(0)), images + latents)
