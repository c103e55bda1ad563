"""Judges that learn from trained ones: the loss by hand, and what the report says."""

import json

import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.distributions import Categorical, Normal, kl_divergence

from counterbench.catalog.judge_recipes import find_judge_recipe, judge_recipe_paths
from counterbench.cli import main
from counterbench.errors import ConfigError
from counterbench.training import judges
from counterbench.training.distillation import Distillation, Teacher
from counterbench.training.hardware import Hardware
from counterbench.training.judge_start import teachers
from counterbench.training.judges import quantity_loss
from counterbench.training.subgroups import parsed_weighting

CPU = Hardware("cpu")
NOBODY = Teacher(nn.Identity(), {}, "0" * 64)


def logits(seed, classes=4):
    return 3 * torch.randn(6, classes, generator=torch.Generator().manual_seed(seed))


def test_of_classes_it_is_the_divergence_at_a_temperature():
    own, taught, usual = logits(0).requires_grad_(), logits(1), torch.rand(6)
    loss = Distillation([NOBODY], temperature=4.0, alpha=0.9).of_classes(own, [taught], usual)
    divergence = kl_divergence(Categorical(logits=taught / 4), Categorical(logits=own / 4))
    assert torch.allclose(loss, 0.9 * 16 * divergence + 0.1 * usual, atol=1e-5)


def test_several_teachers_are_the_mean_of_their_laws():
    own, first, second = logits(0), logits(1), logits(2)
    loss = Distillation([NOBODY, NOBODY], temperature=2.0, alpha=1.0).of_classes(own, [first, second], torch.zeros(6))
    mixture = ((first / 2).softmax(1) + (second / 2).softmax(1)) / 2
    divergence = kl_divergence(Categorical(probs=mixture), Categorical(logits=own / 2))
    assert torch.allclose(loss, 4 * divergence, atol=1e-5)


def test_who_says_the_same_has_nothing_to_learn_and_alpha_0_is_the_label_alone():
    own, usual = logits(0).requires_grad_(), torch.rand(6)
    alone = Distillation([NOBODY], alpha=1.0).of_classes(own, [own.detach()], usual)
    alone.sum().backward()
    assert alone.abs().max() < 1e-5
    assert own.grad.abs().max() < 1e-5
    assert torch.equal(Distillation([NOBODY], alpha=0.0).of_classes(own, [logits(1)], usual), usual)


def test_of_a_quantity_it_is_the_divergence_of_normal_laws_in_the_units_of_the_student():
    own, taught, target = logits(0, 2).clamp(-2, 1.5), logits(1, 2).clamp(-2, 1.5), torch.randn(6)
    usual = quantity_loss(own, target)
    scale, other = (10.0, 2.0), (12.0, 4.0)
    loss = Distillation([NOBODY], alpha=0.7).of_quantity(own, [taught], usual, scale=scale, scales=[other])
    student = Normal(10 + 2 * own[:, 0], 2 * own[:, 1].exp())
    teacher = Normal(12 + 4 * taught[:, 0], 4 * taught[:, 1].exp())
    expected = 0.7 * own[:, 1].exp() * kl_divergence(teacher, student) + 0.3 * usual
    assert torch.allclose(loss, expected, atol=1e-4)


def test_teachers_that_disagree_make_a_wide_law():
    own = torch.zeros(1, 2)
    apart = [torch.tensor([[-1.0, -5.0]]), torch.tensor([[1.0, -5.0]])]
    both = Distillation([NOBODY, NOBODY], alpha=1.0)
    loss = both.of_quantity(own, apart, torch.zeros(1), scale=(0.0, 1.0), scales=[(0.0, 1.0)] * 2)
    assert loss.item() == pytest.approx(0.0, abs=1e-3)  # means -1 and 1 together are a law of mean 0 and variance 1


@pytest.mark.parametrize(
    ("options", "told"),
    [({"temperature": 0.0}, "above 0"), ({"alpha": 1.5}, "from 0 to 1")],
)
def test_impossible_options_are_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        Distillation([NOBODY], **options)
    with pytest.raises(ConfigError, match="needs a teacher"):
        Distillation([])


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def taught_by(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    judges.train_judges([dataset], ["c", "a"], output=folder, hardware=CPU, epochs=2)
    return folder


def test_a_student_learns_from_a_folder_and_the_report_names_the_teachers(dataset, taught_by, tmp_path):
    known = teachers(str(taught_by), dataset, ["c", "a"])
    assert {tuple(teacher.scales) for teacher in known} == {("a",)}
    before = [{name: value.clone() for name, value in teacher.network.state_dict().items()} for teacher in known]
    weighting = parsed_weighting("group_dro:eta=0.05", "c", balanced=True)
    judges.train_judges(
        [dataset],
        ["c", "a"],
        output=tmp_path,
        hardware=CPU,
        epochs=2,
        weighting=weighting,
        distillation=Distillation(known),
    )
    said = json.loads((tmp_path / "judges.json").read_text())
    assert said["distillation"] == {
        "teachers": [teacher.sha256 for teacher in known],
        "temperature": 4.0,
        "alpha": 0.9,
    }
    assert said["weighting"]["kind"] == "group_dro"
    for state, teacher in zip(before, known, strict=True):  # batch statistics too: a teacher does not learn
        assert all(torch.equal(value, state[name]) for name, value in teacher.network.state_dict().items())


def test_teachers_can_be_chosen_and_must_read_the_same(dataset, taught_by):
    (plain,) = teachers(str(taught_by), dataset, ["c", "a"], architectures=["plain"])
    assert len(plain.sha256) == 64
    with pytest.raises(ConfigError, match=r"--teacher .* has no trained network that reads a and nothing else"):
        teachers(str(taught_by), dataset, ["a"])


def test_the_command_takes_a_teacher_and_subgroups(dataset, tmp_path):
    shared = ["train-judges", "--dataset", "toy", "--variable", "c", "--epochs", "1", "--device", "cpu", "--quiet"]
    first = CliRunner().invoke(main, [*shared, "--output", str(tmp_path / "teacher"), "--by", "c"])
    assert first.exit_code == 0, first.output
    robust = ["--weighting", "group_dro:eta=0.05", "--by", "c", "--balanced-batches"]
    learnt = ["--teacher", str(tmp_path / "teacher"), "--temperature", "2", "--alpha", "0.5"]
    done = CliRunner().invoke(main, [*shared, "--output", str(tmp_path / "student"), *robust, *learnt])
    assert done.exit_code == 0, done.output
    said = [json.loads((tmp_path / name / "judges.json").read_text()) for name in ("teacher", "student")]
    assert said[0]["weighting"]["kind"] == "mean"
    assert set(said[0]["by_subgroup"]["plain"]["c"]["formula"]) == {"zero", "one", "two"}
    assert said[1]["weighting"]["balanced_batches"]
    hashes = {entry["sha256"] for entry in said[0]["judges"]["c"]}
    assert set(said[1]["distillation"]["teachers"]) == hashes
    for flags, why in (
        (["--weighting", "group_dro"], "say with --by"),
        (["--by", "c", "--weighting", "dro"], "Unknown weighting"),
        (["--teacher", str(tmp_path)], "holds no judges"),
    ):
        refused = CliRunner().invoke(main, [*shared, "--output", str(tmp_path / "x"), *flags])
        assert refused.exit_code != 0
        assert why in refused.output
        assert not (tmp_path / "x" / "judges.json").exists()


def test_a_recipe_says_how_judges_are_trained_and_the_command_line_counts_more(dataset, taught_by, tmp_path):
    recipe = tmp_path / "mine.yaml"
    weighting = "{kind: group_dro, options: {eta: 0.5}, balanced_batches: true}"
    recipe.write_text(
        f"name: mine\narchitectures: [pooled]\nepochs: 1\nweighting: {weighting}\ndistillation: {{temperature: 2, alpha: 0.5}}\n"
    )
    shared = ["train-judges", "--dataset", "toy", "--variable", "c", "--variable", "a", "--device", "cpu", "--quiet"]
    teacher = ["--teacher", str(taught_by), "--by", "c"]
    done = CliRunner().invoke(
        main, [*shared, *teacher, "--recipe", str(recipe), "--alpha", "0.25", "--output", str(tmp_path / "student")]
    )
    assert done.exit_code == 0, done.output
    assert [path.name for path in sorted((tmp_path / "student").glob("c-a-*.safetensors"))] == [
        "c-a-pooled.safetensors"
    ]
    said = json.loads((tmp_path / "student" / "judges.json").read_text())
    assert said["weighting"]["options"] == {"eta": 0.5}
    assert said["weighting"]["balanced_batches"]
    assert (said["distillation"]["temperature"], said["distillation"]["alpha"]) == (2, 0.25)
    for flags, why in (
        (["--recipe", "group-dro"], "say with --by"),
        (["--recipe", "group-distil", "--by", "c"], "name them with --teacher"),
        (["--recipe", "group-dr"], "Did you mean 'group-dro'"),
    ):
        refused = CliRunner().invoke(main, [*shared, "--output", str(tmp_path / "x"), *flags])
        assert refused.exit_code != 0
        assert why in refused.output
    recipe.write_text("name: mine\narchitectures: [pool]\n")
    refused = CliRunner().invoke(main, [*shared, "--output", str(tmp_path / "x"), "--recipe", str(recipe)])
    assert refused.exit_code != 0
    assert "Unknown judge architecture 'pool'" in refused.output


@pytest.mark.parametrize("name", sorted(judge_recipe_paths()))
def test_recipes_of_judges_name_what_there_is(name):
    from counterbench.plugins import registry
    from counterbench.training.judges import known_architectures

    recipe = find_judge_recipe(name)
    assert known_architectures(recipe.architectures)
    assert recipe.weighting is None or recipe.weighting.kind in registry.weightings.names()
