"""Links to training individuals: hand-made cases, verifiers that are pinned, and what each kind of answer scores."""

import pytest
import torch

import counterbench
from counterbench import datasets, features, judges
from counterbench.audits.filtering import filter_audit
from counterbench.audits.linkage import Linker, best_match, pixel_score
from counterbench.catalog.suites import find_suite
from counterbench.evaluation.exam import prepare
from counterbench.metrics.reidentification import Reidentification
from counterbench.metrics.trained_on import TrainedOn
from counterbench.recognisers.contrastive import Contrastive
from counterbench.recognisers.siamese import Siamese
from counterbench.recognisers.verifier import Verifier
from counterbench.training.filtering import IndividualFilter

FEW = {"which": "0-199"}
BOTH = ("contrastive", "siamese")


@pytest.fixture(scope="module")
def digits():
    return datasets.load("morphomnist")


@pytest.fixture(scope="module")
def verifiers(digits):
    panels = judges.load(digits.card, digits.source)
    return {name: features.load(name, digits.card, panels) for name in BOTH}


@pytest.fixture(scope="module")
def few(digits):
    return TrainedOn(digits, FEW)


@pytest.mark.parametrize("name", [*BOTH, None])
def test_replays_are_linked_and_images_of_others_hardly(name, few, verifiers, digits):
    space = verifiers.get(name)
    linker = few.linker(space)

    def share(images):
        shown = images.float() if space is None else space.extract(images)
        return float(linker.linked(best_match(linker.score, shown, few.shown(space))).double().mean())

    assert share(few.images) == 1
    assert share(digits.split("test").values["image"][:500]) <= 0.1


def test_scores_are_those_of_a_slow_loop():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(n, 5, generator=generator) for n in (3, 4))
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            cosine = float(one @ other)
            assert float(Contrastive.score(first, second)[i, j]) == pytest.approx(cosine, abs=1e-6)
            away = -sum(abs(float(a - b)) for a, b in zip(one, other, strict=True)) / 5
            assert float(Siamese.score(first, second)[i, j]) == pytest.approx(away, abs=1e-6)


@pytest.mark.parametrize("name", BOTH)
def test_the_same_digit_drawn_otherwise_is_one_individual(name, verifiers, digits):
    """The figures of the card, on rows that it did not use: pairs that differ by an intervention, and pairs of strangers."""
    verifier, rows = verifiers[name], torch.arange(0, 600, 3)
    test = digits.split("test")
    thicker = {"thickness": test.values["thickness"][rows].roll(1)}
    first = verifier.extract(test.values["image"][rows])
    second = verifier.extract(digits.truth("test", rows, thicker)["image"])
    score, group = verifier.score(first, second), test.group[rows]
    own, strangers = score.diagonal(), score[group[:, None] != group]
    assert float((own[:, None] > strangers).double().mean()) >= 0.95
    assert float((own >= verifier.threshold).double().mean()) >= 0.9
    assert float((strangers >= verifier.threshold).double().mean()) == pytest.approx(0.05, abs=0.05)
    assert float(verifier.probability(own).median()) > 0.9 > 0.1 > float(verifier.probability(strangers).median())


def test_the_two_verifiers_are_independent(verifiers):
    assert verifiers["contrastive"].fingerprint != verifiers["siamese"].fingerprint
    shapes = [[tuple(weight.shape) for weight in one.network.parameters()] for one in verifiers.values()]
    assert shapes[0] != shapes[1]
    assert all(isinstance(one, Verifier) for one in verifiers.values())


def test_ones_own_individual_does_not_count():
    shown, gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.eye(2)
    owner, group = torch.tensor([3, 4]), torch.tensor([3, 9])
    assert best_match(Contrastive.score, shown, gallery, group=group, owner=owner).tolist() == [0.0, 1.0]


def test_ranks_are_the_area_under_the_curve():
    from sklearn.metrics import roc_auc_score

    generator = torch.Generator().manual_seed(0)
    others, best = (torch.randn(n, generator=generator, dtype=torch.float64).round(decimals=1) for n in (80, 50))
    expected = roc_auc_score([1] * 50 + [0] * 80, torch.cat([best, others]).numpy())
    assert float(Linker(pixel_score, others).rank(best).mean()) == pytest.approx(expected)


def test_who_filtered_is_no_judge(digits):
    setting = prepare(digits, "privacy", limit=4).setting()
    metric = Reidentification(setting, seen={**FEW, "filtered_by": ["contrastive"]})
    assert {cell.space for cell in metric.cells} == {"siamese", "pixels"}
    assert metric.skipped == {"re-identification (contrastive)": "it filtered what the model was trained on"}


def test_a_filter_that_lets_near_duplicates_pass_is_found_out(few, digits):
    test = digits.split("test").values["image"]

    def audit(linked):
        return filter_audit(linked, few.images, test, generator=torch.Generator().manual_seed(0))

    sound = audit(IndividualFilter(digits, "contrastive", seen=FEW).linked)
    assert sound["sensitivity"]["0"] == 1
    assert sound["sensitivity"]["10"] >= 0.9
    assert sound["specificity"] >= 0.9
    # A filter that looks for exact copies alone.
    blind = audit(lambda images: best_match(pixel_score, images, few.images) > -0.5)
    assert blind["sensitivity"]["0"] == 1
    assert blind["sensitivity"]["5"] == 0
    assert blind["specificity"] == 1


def test_a_replay_leaks_and_identity_does_not(digits):
    def replay(factual, interventions, generator):
        train = digits.split("train").values["image"][:200].float()
        count = len(factual["image"])
        return {**factual, **interventions, "image": train[torch.arange(count) % 200]}

    suite = find_suite("privacy").model_copy(update={"metrics": {"reidentification": {"seen": FEW}}})
    record = counterbench.evaluate(replay, digits, suite=suite, limit=60, workers=1).record
    numbers = {(n.quantity, n.intervened, n.space): n for n in record.numbers if n.metric == "reidentification"}
    for space in (*BOTH, "pixels"):
        leak = numbers["linked", "thickness", space]
        assert leak.value == 1
        assert leak.references["identity"].value <= 0.2
        assert numbers["own", "thickness", space].value <= 0.2
        assert numbers["own", "thickness", space].references["identity"].value == 1
