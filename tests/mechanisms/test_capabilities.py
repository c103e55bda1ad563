"""What a mechanism offers beyond the contract is a protocol, and the code asks for nothing else."""

import re
from pathlib import Path

import pytest

import counterbench
from counterbench.causal.variables import Image
from counterbench.mechanisms import capabilities
from counterbench.mechanisms.capabilities import families_with, methods_of
from counterbench.plugins import registry

SMALL = {
    "vae": {"latent": 2, "encoder_channels": [4], "decoder_channels": [4], "hidden": 8},
    "latent_anm": {"latent": 2, "encoder_channels": [4], "decoder_channels": [4], "hidden": 8},
    "hvae": {"levels": [[1, 1, 4], [4, 1, 4]]},
    "gan": {"latent": 2, "encoder_channels": [4], "decoder_channels": [4], "hidden": 8},
}
ROOM = Path(counterbench.__file__).parent


@pytest.mark.parametrize(
    ("capability", "families"),
    [
        (capabilities.Reconstructs, ["gan"]),
        (capabilities.Adversarial, ["gan"]),
        (capabilities.Cycles, ["gan"]),
        (capabilities.Explains, ["hvae", "latent_anm", "vae"]),
        (capabilities.HasLevels, ["hvae"]),
        (capabilities.OrdersLatents, ["latent_anm"]),
        (capabilities.HasPixelTemperature, ["hvae", "latent_anm", "vae"]),
    ],
)
def test_image_families_have_these_capabilities(capability, families):
    image = Image("x", 1, 8, 8)
    made = {name: registry.mechanisms.get(name)(image, [], **options) for name, options in SMALL.items()}
    assert sorted(name for name, mechanism in made.items() if isinstance(mechanism, capability)) == families


def test_a_capability_names_its_methods_and_the_families_that_have_it():
    assert methods_of(capabilities.Explains) == ["explain"]
    assert methods_of(capabilities.Adversarial) == ["context", "decode", "encode", "make_discriminator"]
    assert families_with(capabilities.Explains) == ["hvae", "latent_anm", "vae"]
    assert families_with(capabilities.Adversarial) == ["gan"]


def test_capabilities_are_no_family():
    assert "capabilities" not in registry.mechanisms.names()


def test_encoder_parameters_are_those_of_the_encoder_alone():
    gan = registry.mechanisms.get("gan")(Image("x", 1, 8, 8), [], **SMALL["gan"])
    own = {id(weight) for weight in gan.encoder_parameters()}
    names = {name.partition(".")[0] for name, weight in gan.named_parameters() if id(weight) in own}
    assert names == {"encoder"}
    assert len(own) == len(list(gan.encoder.parameters()))


@pytest.mark.parametrize("room", ["mechanisms", "models", "training"])
def test_nothing_is_guessed_by_name(room):
    """`reachable` alone looks at attributes by name: it hashes whatever an object holds."""
    guesses = re.compile(r"\b(hasattr|getattr)\(|type: ignore\[[^]]*(operator|attr-defined)")
    for path in sorted((ROOM / room).rglob("*.py")):
        if path.name != "reachable.py":
            assert not guesses.search(path.read_text(encoding="utf-8")), path
