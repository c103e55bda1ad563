"""What every mechanism family must do; a new file in mechanisms/ is tested by adding nothing but a case to build."""

import pytest
import torch
from bundled import VQ, bundled

from counterbench.causal.variables import Binary, Categorical, Continuous, Image, Ordinal, Vector
from counterbench.contracts.base import NotAskedError
from counterbench.contracts.mechanisms import CHECKS, FAMILY_CHECKS, MechanismCase
from counterbench.plugins import registry

PARENTS = (Continuous("p", 0, 2, "px"), Categorical("q", ("r", "s", "t")))
VARIABLES = {
    "continuous": Continuous("v", -3, 5, "u"),
    "binary": Binary("v"),
    "categorical": Categorical("v", ("a", "b", "c", "d")),
    "ordinal": Ordinal("v", ("a", "b", "c")),
    "vector": Vector("v", (Continuous("x", -3, 5), Continuous("y", 0, 2))),
    "image": Image("v", 1, 16, 16),
    "volume": Image("v", 1, 16, 16, 16),
}
LEVELS = {"levels": [[1, 1, 8], [4, 2, 8], [16, 1, 4]], "latent": 2}
FIELD = {"width": 8, "channels": [8, 8], "attention": [1], "heads": 2, "steps": 3}
MONAI_UNET = {"channels": [8, 8], "attention_levels": [False, True], "norm_num_groups": 4, "num_head_channels": 4}
MONAI_AUTOENCODER = {
    "channels": [8, 8],
    "attention_levels": [False, False],
    "norm_num_groups": 4,
    "latent_channels": 2,
}
SMALL = {
    "vae": {"latent": 3, "encoder_channels": [4, 8], "decoder_channels": [8, 4], "hidden": 16},
    "hvae": LEVELS,
    "latent_anm": {"latent": 3, "components": 4, "encoder_channels": [4, 8], "decoder_channels": [8, 4], "hidden": 16},
    "gan": {"latent": 3, "encoder_channels": [4, 8], "decoder_channels": [8, 4], "hidden": 16},
    "flow_matching": FIELD,
    "diffusion": FIELD,
    "monai_bundle": {"asks": "denoiser", "steps": 2},
    "monai_diffusion": {**MONAI_UNET, "width": 8},
    "monai_latent_diffusion": {"autoencoder": MONAI_AUTOENCODER, "unet": MONAI_UNET, "width": 8},
    "monai_vqvae": {"channels": [8, 8], "num_res_channels": 8, "num_embeddings": 16, "embedding_dim": 4},
}
EXTRA = {
    "flow_matching": [
        {**FIELD, "solver": "reversible-heun", "smoothing": 0.01},
        {**FIELD, "solver": "leapfrog", "guidance": 2.0},
    ],
    "diffusion": [{**FIELD, "predicts": "noise", "exact": False}],
    "hvae": [
        {**LEVELS, "conditional_prior": True, "kept": 0.5},
        {"levels": [[2, 1, 8], [4, 1, 8]], "latent": 2},  # patches of 4 x 4 pixels
    ],
    "monai_bundle": [{"asks": "autoencoder"}],
    "latent_anm": [
        {"latent": 3, "conditional": False, "encoder_channels": [4, 8], "decoder_channels": [8, 4], "hidden": 16}
    ],
    "spline_flow": [{"bounded": True}, {"bins": 0}, {"spline_context": False}],
}
COUNT = 6


def cases():
    for name in registry.mechanisms.builtins():
        family = registry.mechanisms.get(name)
        for kind in [*family.kinds, *["volume"] * ("image" in family.kinds)]:
            for options in [SMALL.get(name, {}), *EXTRA.get(name, [])]:
                for parents in ((), PARENTS):
                    if name == "empirical" and parents:
                        continue
                    yield pytest.param(
                        (name, kind, options, parents),
                        id=f"{name}-{kind}-{len(parents)}-{options if name in EXTRA else ''}",
                        marks=pytest.mark.skipif(
                            bool(registry.mechanisms.lacks(name)), reason=registry.mechanisms.lacks(name)
                        ),
                    )


@pytest.fixture(params=list(cases()))
def case(request):
    name, kind, options, parents = request.param
    if name == "monai_bundle":
        folder = request.getfixturevalue("tmp_path")
        options = {
            **options,
            "path": str(bundled(folder, VARIABLES[kind], parents, asks=options["asks"], autoencoder=VQ)),
        }
    torch.manual_seed(0)
    mechanism = registry.mechanisms.get(name)(VARIABLES[kind], parents, **options)
    value = VARIABLES[kind].encode(natural(VARIABLES[kind]))
    parent_values = {p.name: p.encode(natural(p)) for p in parents}
    mechanism.prepare(value, parent_values)
    return MechanismCase(mechanism, value, parent_values)


def natural(variable, count=COUNT):
    generator = torch.Generator().manual_seed(3)
    if variable.kind == "continuous":
        return variable.low + (variable.high - variable.low) * (0.2 + 0.6 * torch.rand(count, generator=generator))
    if variable.kind == "vector":
        return torch.stack([natural(part, count) for part in variable.components], 1)
    if variable.kind == "image":
        return 255 * torch.rand(count, *variable.shape, generator=generator)
    return torch.randint(variable.cardinality, (count,), generator=generator)


@pytest.mark.parametrize("promise", CHECKS, ids=lambda promise: promise.__name__)
def test_a_mechanism_keeps_its_promises(case, promise):
    try:
        promise(case)
    except NotAskedError as why:
        pytest.skip(str(why))


@pytest.mark.parametrize("name", registry.mechanisms.builtins())
@pytest.mark.parametrize("promise", FAMILY_CHECKS, ids=lambda promise: promise.__name__)
def test_a_family_keeps_its_promises(name, promise):
    promise(registry.mechanisms.get(name))
