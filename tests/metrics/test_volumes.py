"""Metrics on volumes: the promises of every metric, the numbers of pictures that say the same, and what loops over voxels give."""

import asked
import numpy as np
import pytest
import torch
from toy import flat

from counterbench import evaluation
from counterbench.catalog.suites import find_suite
from counterbench.contracts.base import NotAskedError
from counterbench.contracts.metrics import CHECKS, COUNT, MetricCase
from counterbench.features.base import FeatureSpace
from counterbench.plugins import registry

NAMES = registry.metrics.builtins()


class Flat(FeatureSpace):
    """The 64 numbers that a picture and its volume have in common."""

    title = "what both show"
    fingerprint = "flat"

    def _extract(self, images):
        return flat(images).float() / 255


@pytest.fixture(scope="module")
def solid(toy):
    return toy.SolidToy()


@pytest.fixture(scope="module")
def settings(toy, solid):
    """(of pictures, of volumes): the same questions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asked, "SPACES", {**asked.SPACES, "pixel": Flat(), "judge": Flat()})
        yield asked.setting(toy.Toy()), asked.setting(solid)


@pytest.fixture(
    scope="module", params=sorted({*NAMES} - {"cost", "identifiability", "grounding", "parts"})
)  # these ask for a network, or for masks
def case(request, solid, cache_of_module):
    suite = find_suite("quick").model_copy(update={"samples": True})
    exam = evaluation.prepare(solid, suite, metrics=[request.param], limit=COUNT, device="cpu")
    return MetricCase(exam, exam.make_metrics()[0])


@pytest.mark.parametrize("promise", CHECKS, ids=lambda promise: promise.__name__)
def test_a_metric_keeps_its_promises_on_volumes(case, promise):
    try:
        promise(case)
    except NotAskedError as why:
        pytest.skip(str(why))


# Abduction reads noise; windows of structural similarity, and tiles, that reach into the depth see other means than flat ones; a random map
# of a volume is another one, and so are the columns that are parts.
OF_PICTURES = {
    *(
        "abduction",
        "extraction",
        "generation",
        "memorisation",
        "ms_ssim",
        "reidentification",
        "localisation",
        "parts",
        "grounding",
        "latents",
    )
}


@pytest.mark.parametrize("name", sorted({*NAMES} - OF_PICTURES))
def test_a_metric_says_of_volumes_what_it_says_of_pictures(name, toy, solid, settings, monkeypatch):
    monkeypatch.setattr(asked, "of_another_training", lambda values, number: asked.brighter(values, 3 * number))
    pictures, volumes = (
        asked.computed(name, known, asked.answers(dataset, asked.noisy, [torch.arange(30)], noise=False))
        for known, dataset in zip(settings, (toy.Toy(), solid), strict=True)
    )
    assert len(pictures) == len(volumes) > 0
    for one, other in zip(pictures, volumes, strict=True):
        assert one.cell == other.cell
        assert torch.allclose(one.value, other.value, rtol=1e-4, atol=1e-4), one.cell


def test_composition_minimality_and_truth_are_what_loops_over_voxels_give(solid, settings):
    known, rows = settings[1], torch.arange(5)
    answers = list(asked.answers(solid, asked.noisy, [rows], noise=False))

    def apart(first, second, i):
        """Mean |difference| of two volumes, voxel by voxel."""
        total = 0.0
        for z, y, x in np.ndindex(16, 16, 16):
            total += abs(float(first[i, 0, z, y, x]) - float(second[i, 0, z, y, x]))
        return total / 16**3

    def of(name, quantity, **where):
        columns = asked.computed(name, known, answers)
        (found,) = (
            column
            for column in columns
            if column.cell.quantity == quantity
            and all(getattr(column.cell, key) == value for key, value in where.items())
        )
        return found.value.tolist()

    null = next(one for one in answers if one.kind == "null")
    single = next(one for one in answers if one.kind == "single" and one.intervened == ("a",))
    factual, answered, true = (part["image"] for part in (single.factual, single.values, single.truth))
    assert of("composition", "l1", cycles=1) == pytest.approx(
        [apart(null.values["image"], factual, i) for i in range(5)]
    )
    assert of("truth", "l1", intervened="a") == pytest.approx([apart(answered, true, i) for i in range(5)])
    excess = [abs(apart(answered, factual, i) - apart(true, factual, i)) for i in range(5)]
    assert of("minimality", "excess_change", intervened="a") == pytest.approx(excess)
