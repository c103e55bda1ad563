"""Image-to-image pipelines of `diffusers` as editors of images: SDEdit with prompts made from attributes (extra `diffusers`)."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from counterbench.causal.chance import Generator, uniform
from counterbench.causal.variables import Categorical, Continuous, Variable, Vector
from counterbench.errors import ConfigError, ModelError, short
from counterbench.plugins.extras import require_extra


class PipelineEdit:
    """Noise is added to an image and taken away again by a pipeline that reads what the attributes should become (Meng et al., SDEdit, ICLR
    2022). Give it to :class:`counterbench.models.image_only.ImageOnly`.

    Args:
        pipeline: such as `StableDiffusionImg2ImgPipeline.from_pretrained(FOLDER)`; it is called with `prompt`, `image`, `generator` and
            `options`. One that inverts instead, and takes the same arguments, will do.
        prompt: a template of the attributes, e.g. "a handwritten {digit}, {thickness:.1f} pixels thick"; classes are put in by name.
        variables: of the dataset; others than attributes are passed over.
        size: side of the square images that the pipeline works on, in pixels; None for that of the dataset. Images are brought there and
            back bilinearly.
        batch_size: images at a time; changes the speed, and the answers in their last digits.
        options: of the pipeline's call, such as `strength=0.5, num_inference_steps=30, guidance_scale=5.0`.

    Raises:
        UnavailableError: without diffusers. ConfigError: for a template that names something else than attributes.
    """

    def __init__(
        self,
        pipeline: Any,
        prompt: str,
        variables: Mapping[str, Variable],
        *,
        size: int | None = None,
        batch_size: int = 8,
        **options: Any,
    ):
        require_extra("diffusers", "An image-to-image pipeline")
        try:
            named = {name for _, name, _, _ in string.Formatter().parse(prompt) if name is not None}
        except ValueError as error:
            raise ConfigError(f"The prompt {short(prompt)} is no template: {error}.") from error
        known = {name: one for name, one in variables.items() if one.kind != "image" and not isinstance(one, Vector)}
        if unknown := sorted(named - known.keys()):
            raise ConfigError(f"The prompt names {unknown[0]!r}; the attributes are {', '.join(known)}.")
        self.pipeline, self.prompt = pipeline, prompt
        self.variables = {name: known[name] for name in sorted(named)}
        try:
            self.prompts({name: torch.zeros(1) for name in self.variables})
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"The prompt {short(prompt)} cannot be filled in ({error}); classes are words, quantities are numbers such as {{age:.0f}}."
            ) from error
        self.size, self.batch_size, self.options = size, batch_size, options
        if hasattr(pipeline, "set_progress_bar_config"):
            pipeline.set_progress_bar_config(disable=True)

    def prompts(self, attributes: Mapping[str, Tensor]) -> list[str]:
        """What the pipeline reads, one line per sample."""
        words = {name: _words(variable, attributes[name]) for name, variable in self.variables.items()}
        count = len(next(iter(attributes.values()), ()))
        return [self.prompt.format(**{name: listed[row] for name, listed in words.items()}) for row in range(count)]

    def __call__(
        self, images: Tensor, before: Mapping[str, Tensor], after: Mapping[str, Tensor], generator: Generator
    ) -> Tensor:
        """Images, (N, C, H, W) in grey levels, as the pipeline makes them of the attributes that should be seen; each sample has chance of its own."""
        prompts = self.prompts(after)
        seeds = (uniform((len(images), 1), generator)[:, 0] * 2**53).long().tolist()
        parts = [
            self._edited(
                images[at : at + self.batch_size], prompts[at : at + self.batch_size], seeds[at : at + self.batch_size]
            )
            for at in range(0, len(images), self.batch_size)
        ]
        return torch.cat(parts)

    def _edited(self, images: Tensor, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        given = images.float() / 255
        side = self.size or given.shape[-1]
        if given.shape[-2:] != (side, side):
            given = functional.interpolate(given, (side, side), mode="bilinear", antialias=True)
        coloured = given.expand(-1, 3, -1, -1) if images.shape[1] == 1 else given
        chance = [torch.Generator().manual_seed(seed) for seed in seeds]
        made = self.pipeline(
            prompt=list(prompts), image=coloured, generator=chance, output_type="pt", **self.options
        ).images
        made = torch.as_tensor(made).float().cpu()
        if made.ndim != 4 or len(made) != len(images):
            raise ModelError(
                f"The pipeline gave {tuple(made.shape)} for {len(images)} images; it must give one image each."
            )
        if images.shape[1] == 1:
            made = made.mean(1, keepdim=True)
        if made.shape[-2:] != images.shape[-2:]:
            made = functional.interpolate(made, images.shape[-2:], mode="bilinear", antialias=True)
        return 255 * made.clamp(0, 1)


def _words(variable: Variable, values: Tensor) -> list[Any]:
    """Quantities as numbers, classes by name, everything else as whole numbers."""
    if isinstance(variable, Categorical):
        return [variable.classes[int(value)] for value in values]
    return values.tolist() if isinstance(variable, Continuous) else [int(value) for value in values]
