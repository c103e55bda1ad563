"""A recipe with a network of MONAI, or with a bundle, is trained and evaluated by the commands; without MONAI one sentence is said."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from bundled import bundled
from click.testing import CliRunner

from counterbench import datasets, models
from counterbench.catalog.recipes import read_recipe
from counterbench.causal.variables import Image
from counterbench.cli import describe, main
from counterbench.errors import UnavailableError
from counterbench.plugins import extras, registry

HERE = find_spec("monai") is not None and find_spec("einops") is not None
needs_monai = pytest.mark.skipif(not HERE, reason="pip install 'counterbench[monai]'")
PAGE = Path(__file__).parents[2] / "docs" / "monai.md"
NAMES = ["monai_bundle", "monai_diffusion", "monai_latent_diffusion", "monai_vqvae"]
BUNDLE = """
extends: _attributes
name: bundle
title: A bundle
dataset: morphomnist
mechanisms:
  image:
    family: monai_bundle
    options: {path: bundle, asks: %s, steps: 2}
"""
FIELD = "{channels: [8, 8], attention_levels: [false, true], norm_num_groups: 4, num_head_channels: 4%s}"
MATCHING = "- {objective: matching, fit: {steps: 2, batch_size: 8}}"
FIRST = "- {objective: autoencoding, fit: {steps: 2, batch_size: 8}}"
FAMILIES = {
    "monai_diffusion": (FIELD % ", width: 8, steps: 2", [MATCHING]),
    "monai_latent_diffusion": (
        "{autoencoder: {channels: [8, 8], norm_num_groups: 4}, steps: 2, width: 8, unet: %s}" % (FIELD % ""),
        [FIRST, MATCHING],
    ),
    "monai_vqvae": ("{channels: [8, 8], num_res_channels: 8, num_embeddings: 16, embedding_dim: 4}", [FIRST]),
}
FAMILY = """
extends: _attributes
name: tried
title: Tried
dataset: morphomnist
mechanisms:
  image:
    family: %s
    options: %s
    stages:
      %s
"""


def run(*words):
    return CliRunner().invoke(main, words, catch_exceptions=False)


def evaluated(recipe, folder):
    """The record of a recipe, after one epoch of few samples."""
    model = folder / "model"
    trained = run(
        *("train", "--model", str(recipe), "--dataset", "morphomnist", "--output", str(model)),
        *("--epochs", "1", "--limit", "24", "--device", "cpu", "-q"),
    )
    assert trained.exit_code == 0, trained.output
    result = run(
        *("evaluate", "--model", str(model), "--dataset", "morphomnist", "--limit", "6", "--device", "cpu", "-q"),
        *("--metrics", "composition,truth,ms_ssim", "--json", "--output", str(folder / "results")),
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def value(record, metric, quantity, intervened="", cycles=0):
    found = [n for n in record["numbers"] if (n["metric"], n["quantity"]) == (metric, quantity)]
    return next(n["value"] for n in found if (n["intervened"], n["cycles"]) == (intervened, cycles))


def of_morphomnist():
    """(image, its parents)."""
    variables = datasets.card("morphomnist").build_variables()
    return variables["image"], [variables[name] for name in datasets.card("morphomnist").graph.parents("image")]


@needs_monai
def test_recipes_of_the_page_are_recipes(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    bundled(tmp_path / "my_bundle", *of_morphomnist())
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        card = datasets.card("morphomnist")
        scm = models.build(read_recipe(path), card.graph, card.build_variables())
        assert type(scm.mechanisms["image"]).__name__ == ("MonaiDiffusion", "MonaiBundle")[number]


@needs_monai
@pytest.mark.parametrize("family", FAMILIES)
def test_a_recipe_is_trained_and_becomes_a_row(family, tmp_path):
    options, stages = FAMILIES[family]
    (tmp_path / "tried.yaml").write_text(FAMILY % (family, options, "\n      ".join(stages)))
    record = evaluated(tmp_path / "tried.yaml", tmp_path)
    assert value(record, "composition", "l1", cycles=1) < 0.5  # exact by construction
    assert value(record, "truth", "l1", "thickness") > 0
    assert value(record, "ms_ssim", "similarity", cycles=1) > 0.99
    assert 0 < value(record, "ms_ssim", "truth_similarity", "thickness") < 1


@needs_monai
@pytest.mark.parametrize("asks", ["denoiser", "autoencoder"])
def test_a_bundle_beside_its_recipe_becomes_a_row(asks, tmp_path):
    bundled(tmp_path / "bundle", *of_morphomnist(), asks=asks)
    recipe = tmp_path / "bundle.yaml"
    recipe.write_text(BUNDLE % asks)
    record = evaluated(recipe, tmp_path)
    null = value(record, "composition", "l1", cycles=1)
    assert null < 0.5 if asks == "denoiser" else null > 5
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["recipe"]["mechanisms"]["image"]["options"]["path"] == str(tmp_path / "bundle")
    recipe.write_text(BUNDLE % asks + "    fit: {epochs: 1}\n")
    refused = run("train", "--model", str(recipe), "--dataset", "morphomnist", "--output", str(tmp_path / "no"), "-q")
    assert refused.exit_code != 0
    assert "comes with its weights and is not trained" in refused.output


def test_every_family_of_monai_says_so():
    assert [name for name in registry.mechanisms.builtins() if registry.mechanisms.extra_of(name) == "monai"] == NAMES


def test_without_monai_names_are_listed_with_the_line_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    listed = run("list", "mechanisms").output.splitlines()
    for name in NAMES:
        (line,) = [line for line in listed if line.startswith(f"{name} ")]
        assert line.endswith("(unavailable: pip install 'counterbench[monai]')")
    (other,) = [line for line in listed if line.startswith("diffusion ")]
    assert "unavailable" not in other
    assert "unavailable here: pip install 'counterbench[monai]'" in describe.describe("monai_vqvae")
    told = describe.diagnose("ellipse", None, None)
    assert "missing  monai" in told
    assert "pip install 'counterbench[monai]'" in told
    for name in NAMES[1:]:
        with pytest.raises(
            UnavailableError, match=r"needs the Python packages monai and einops: pip install"
        ) as caught:
            registry.mechanisms.get(name)(Image("image", 1, 16, 16), [])
        assert "\n" not in str(caught.value)
    (tmp_path / "tried.yaml").write_text(FAMILY % ("monai_diffusion", "{}", MATCHING))
    refused = run("train", "--model", str(tmp_path / "tried.yaml"), "--dataset", "morphomnist", "--output", "no", "-q")
    assert refused.exit_code != 0
    assert "Traceback" not in refused.output
    assert re.search(r"needs the Python packages monai and einops: pip install 'counterbench\[monai\]'", refused.output)


def test_with_monai_nothing_is_said_of_it():
    if not HERE:
        pytest.skip("pip install 'counterbench[monai]'")
    assert "unavailable" not in run("list", "mechanisms").output


def test_monai_is_imported_only_when_asked_for():
    code = (
        "import sys; from counterbench.plugins import registry; from counterbench.cli import describe; "
        "describe.KINDS['mechanisms'](); [registry.mechanisms.get(name) for name in registry.mechanisms.builtins()]; "
        "print('monai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
