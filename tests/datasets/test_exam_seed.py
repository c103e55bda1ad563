"""Test individuals that are in no public split."""

import pytest
import torch

from counterbench import datasets, evaluation, plans
from counterbench.catalog.suites import find_suite
from counterbench.datasets.files import glyphs
from counterbench.datasets.source import SPLITS, RenderedSource
from counterbench.errors import ConfigError

DRAWN = ("morphomnist", "adni", "celeba-simple", "celeba-complex", "ellipse")
IMAGES = DRAWN[:-1]


@pytest.fixture(scope="module")
def public():
    return {name: datasets.load(name) for name in DRAWN}


@pytest.fixture(scope="module")
def unseen():
    return {name: datasets.load(name, exam_seed=7) for name in DRAWN}


def draws(dataset, split="test"):
    assert isinstance(dataset.behind, RenderedSource)
    return dataset.behind.draws(split)


def pictures(dataset, rows):
    attributes = {name: value[rows] for name, value in draws(dataset).attributes.items()}
    return dataset.behind.render("test", rows, attributes)


@pytest.mark.parametrize("name", DRAWN)
def test_only_the_test_split_changes(public, unseen, name):
    for split in SPLITS:
        first, second = draws(public[name], split), draws(unseen[name], split)
        assert len(first) == len(second)
        parts = [{**one.attributes, **one.noise, "group": one.group} for one in (first, second)]
        same = [torch.equal(parts[0][key], parts[1][key]) for key in parts[0]]
        assert not any(same) if split == "test" else all(same)


@pytest.mark.parametrize("name", IMAGES)
def test_no_picture_is_a_public_one_or_one_of_another_seed(public, unseen, name):
    rows = torch.arange(40)
    other = pictures(datasets.load(name, exam_seed=8), rows)
    mine = pictures(unseen[name], rows)
    everyone = [pictures(public[name], rows), other]
    for theirs in everyone:
        seen = {image.numpy().tobytes() for image in theirs}
        assert not any(image.numpy().tobytes() in seen for image in mine)
        # Nor nearly one: the nearest is about as far as it is among public ones.
        distance = torch.cdist(mine.flatten(1).double(), theirs.flatten(1).double(), p=1).min(1).values
        among = torch.cdist(theirs.flatten(1).double(), theirs.flatten(1).double(), p=1)
        among.fill_diagonal_(float("inf"))
        assert distance.median() > 0.7 * among.min(1).values.median()


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_seed_gives_the_same_to_the_last_bit(unseen, name):
    again, rows = datasets.load(name, exam_seed=7), torch.arange(20)
    for key, value in draws(again).attributes.items():
        assert torch.equal(value, draws(unseen[name]).attributes[key])
    assert torch.equal(draws(again).group, draws(unseen[name]).group)
    if name in IMAGES:
        assert torch.equal(pictures(again, rows), pictures(unseen[name], rows))


@pytest.mark.parametrize("name", DRAWN)
def test_attributes_follow_the_same_law(public, unseen, name):
    """Means, spreads and correlations differ by no more than chance allows: five standard errors, of the independent units."""
    one, two = draws(public[name]), draws(unseen[name])
    units = min(len(one.group.unique()), len(two.group.unique()))
    values = [torch.stack([v.double() for v in part.attributes.values()]) for part in (one, two)]
    spread = values[0].std(1)
    assert ((values[0].mean(1) - values[1].mean(1)).abs() < 5 * spread * (2 / units) ** 0.5).all()
    tails = [((v - v.mean(1, keepdim=True)) / v.std(1, keepdim=True)).pow(4).mean(1) for v in values]
    ratio = values[1].std(1) / spread
    assert ((ratio - 1).abs() < 5 * (tails[0].maximum(tails[1]) / (2 * units)).sqrt()).all()
    assert (torch.corrcoef(values[0]) - torch.corrcoef(values[1])).abs().max() < 5 * (2 / units) ** 0.5
    assert len(one.group.unique()) == len(two.group.unique())


@pytest.mark.parametrize("name", DRAWN)
def test_groups_are_nobody_elses(public, unseen, name):
    known = set()
    for split in SPLITS:
        known |= set(draws(public[name], split).group.tolist())
    mine, others = (set(draws(one).group.tolist()) for one in (unseen[name], datasets.load(name, exam_seed=8)))
    assert not mine & known
    assert not mine & others
    largest = datasets.load(name, exam_seed=2**32 - 1)
    assert min(draws(largest).group) > max(others)


@pytest.mark.parametrize("name", DRAWN)
def test_truth_holds_as_it_does_for_public_individuals(unseen, name):
    """Setting what is so changes nothing; what is set shows; what no arrow leads to stays, and the picture changes where it must."""
    dataset, rows = unseen[name], torch.arange(24)
    factual = {key: value[rows] for key, value in dataset.attributes("test").items()}
    image = dataset.card.image
    seen = pictures(dataset, rows).float() if image else None
    for variable in [key for key in dataset.card.intervenable if dataset.knows_truth([key])]:
        same = dataset.truth("test", rows, {variable: factual[variable]})
        held = factual[variable].roll(1, 0)
        truth = dataset.truth("test", rows, {variable: held})
        for key, value in factual.items():
            assert torch.allclose(same[key].double(), value.double(), rtol=1e-4, atol=1e-4), (variable, key)
            if key != variable and key not in dataset.graph.descendants(variable):
                assert torch.equal(truth[key].double(), value.double().to(truth[key].dtype).double())
        assert torch.allclose(truth[variable].double(), held.double())
        if image:
            assert (same[image] - seen).abs().mean() < 0.02
            moved = held != factual[variable]
            assert ((truth[image] - seen).flatten(1).abs().mean(1) > 0)[moved].double().mean() > 0.7


def test_everybody_has_another_identity_role(public, unseen):
    rows = torch.arange(50)
    assert not set(public["adni"].role("identity", "test", rows).tolist()) & set(
        unseen["adni"].role("identity", "test", rows).tolist()
    )


def test_digits_are_the_public_drawings_bent_without_tearing(public, unseen):
    first, second = draws(public["morphomnist"]), draws(unseen["morphomnist"])
    assert torch.equal(first.hidden["base"].unique(), second.hidden["base"].unique())
    bend = second.hidden["bend"]
    for base in second.hidden["base"].unique()[:20]:  # one bend for all drawings of a base, and another for every base
        assert len(bend[second.hidden["base"] == base].flatten(1).unique(dim=0)) == 1
    assert len(bend.flatten(1).unique(dim=0)) == 250
    most = torch.full((1, *glyphs.BEND), 9.0).mul((-1.0) ** torch.arange(4))  # as far apart as draws can be
    for bends in (bend[:100], most, most.mT):
        grid = glyphs.displaced(bends, 60)
        across, down = (grid[:, :-1, 1:] - grid[:, :-1, :-1]), (grid[:, 1:, :-1] - grid[:, :-1, :-1])
        assert (across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]).min() > 0
    drawing = torch.rand(1, 30, 30, dtype=torch.float64)
    assert torch.allclose(glyphs.bent(drawing, torch.zeros(1, *glyphs.BEND)), drawing)


def test_the_record_says_so_in_a_sentence(unseen):
    (note,) = unseen["morphomnist"].notes
    assert "the public test drawings, each smoothly deformed" in note
    assert "exam seed 7" in note
    assert "subjects who are in no public split, drawn with the exam seed 7" in unseen["adni"].notes[0]
    assert datasets.load("adni").notes == []


@pytest.mark.parametrize(("name", "source"), [("morphomnist", "mnist"), ("adni", "adni"), ("celeba-simple", "celeba")])
def test_published_files_have_no_new_individuals(name, source):
    with pytest.raises(ConfigError, match=f"nobody can draw new ones of {name}/{source}") as told:
        datasets.load(name, source, exam_seed=1)
    assert "\n" not in str(told.value)


def test_a_reader_from_outside_has_none_either(toy):
    with pytest.raises(ConfigError, match="toy/formula"):
        evaluation.prepare("toy", "quick", exam_seed=1, device="cpu")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ConfigError, match="whole number from 0 to"):
        datasets.load("ellipse", exam_seed=seed)


@pytest.mark.parametrize("name", DRAWN)
def test_seed_zero_is_a_seed(public, name):
    zero = draws(datasets.load(name, exam_seed=0)).attributes
    assert not any(torch.equal(value, draws(public[name]).attributes[key]) for key, value in zero.items())


def test_a_loaded_dataset_keeps_its_seed(unseen):
    exam = evaluation.prepare(unseen["ellipse"], "mechanisms", device="cpu", limit=20)
    assert exam.dataset.exam_seed == 7
    with pytest.raises(ConfigError, match="loaded with the exam seed 7, and 8 is asked for"):
        evaluation.prepare(unseen["ellipse"], "mechanisms", device="cpu", exam_seed=8)
    suite = find_suite("mechanisms")
    assert plans.draw(unseen["ellipse"], suite, 0).hash != plans.draw(datasets.load("ellipse"), suite, 0).hash
