"""Makes small MONAI bundles, as a user's folder would be."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

UNET = {
    "_target_": "monai.networks.nets.DiffusionModelUNet",
    "channels": [8, 8],
    "attention_levels": [False, True],
    "num_res_blocks": 1,
    "norm_num_groups": 4,
    "num_head_channels": 4,
}
KL = {
    "_target_": "AutoencoderKL",
    "channels": [8, 8],
    "attention_levels": [False, False],
    "num_res_blocks": 1,
    "norm_num_groups": 4,
    "latent_channels": 2,
}
VQ = {
    "_target_": "VQVAE",
    "channels": [8, 8],
    "num_res_channels": [8, 8],
    "num_res_layers": 1,
    "downsample_parameters": [[2, 4, 1, 1]] * 2,
    "upsample_parameters": [[2, 4, 1, 1, 0]] * 2,
    "num_embeddings": 8,
    "embedding_dim": 4,
}
SCHEDULER = {"_target_": "monai.networks.schedulers.DDIMScheduler", "num_train_timesteps": 100}


def bundled(folder, image, parents=(), *, asks="denoiser", weights="model.pt", autoencoder=KL, **config) -> Path:
    """A bundle for an image and its parents in `folder`, with weights of seed 0; `config` replaces entries of the configuration."""
    from monai.networks import nets

    context = sum(parent.size for parent in parents)
    network = dict(UNET if asks == "denoiser" else autoencoder)
    network |= {"spatial_dims": "@dimensions", "in_channels": image.channels, "out_channels": image.channels}
    if asks == "denoiser" and context:
        network |= {"with_conditioning": True, "cross_attention_dim": context}
    content = {
        "imports": ["$import glob"],
        "device": "$torch.device('cpu')",
        "dimensions": len(image.spatial),
        "network_def": network,
        "scheduler": SCHEDULER,
        **config,
    }
    options = {key: value for key, value in network.items() if key != "_target_"} | {"spatial_dims": len(image.spatial)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = vars(nets)[network["_target_"].rpartition(".")[2]](**options)
        for weight in made.parameters():
            if not weight.any():  # MONAI's last layers start at zero
                torch.nn.init.normal_(weight, std=0.05)
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(content))
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "0.1.0"}))
    path = folder / "models" / weights
    if path.suffix == ".pt":
        torch.save(made.state_dict(), path)
    elif path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in made.state_dict().items()}, path)
    return folder
