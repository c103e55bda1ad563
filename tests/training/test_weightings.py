"""How samples are weighted by subgroup: the rules by hand, and what a training makes of them."""

import json
import statistics

import pytest
import torch
from torch.nn import functional

from counterbench.catalog.recipes import Fit, Recipe, WeightingEntry
from counterbench.errors import ConfigError
from counterbench.plugins import registry
from counterbench.training import judges, loop, recipes
from counterbench.training.batches import BalancedRows
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.base import Circumstances, Objective, Player
from counterbench.training.subgroups import Subgrouped, parsed_weighting
from counterbench.training.weightings.balanced import Balanced
from counterbench.training.weightings.base import SUBGROUP
from counterbench.training.weightings.group_dro import GroupDRO
from counterbench.training.weightings.mean import Mean

CPU = Hardware("cpu")


def batch(*losses):
    """Losses by subgroup as (losses, subgroups)."""
    values = torch.tensor([loss for group in losses for loss in group])
    codes = torch.tensor([number for number, group in enumerate(losses) for _ in group])
    return values, codes


def test_equal_losses_keep_weights_equal():
    weighting = GroupDRO(torch.tensor([5, 50, 500]), eta=0.5)
    for _ in range(20):
        weighting(*batch([1.0], [1.0, 1.0], [1.0]))
    assert weighting.shares().tolist() == pytest.approx([1 / 3] * 3)


def test_a_subgroup_with_twice_the_loss_gains_weight_by_the_published_rule():
    weighting = GroupDRO(torch.tensor([10, 10]), eta=0.1)
    loss = weighting(*batch([1.0, 1.0], [2.0]))
    raised = torch.tensor([0.1, 0.2]).exp()
    shares = raised / raised.sum()
    assert weighting.shares().tolist() == pytest.approx(shares.tolist())
    assert loss.item() == pytest.approx(float(shares @ torch.tensor([1.0, 2.0])))


def test_a_subgroup_that_a_batch_lacks_changes_nothing_into_nan():
    weighting = GroupDRO(torch.tensor([10, 10, 10]), eta=0.1)
    loss = weighting(*batch([1.0], [3.0]))
    shares = weighting.shares()
    assert loss.isfinite()
    assert shares[2] < shares[0] < shares[1]  # one without loss falls, one with more loss rises
    assert loss.item() == pytest.approx(float((shares[:2] / shares[:2].sum()) @ torch.tensor([1.0, 3.0])))


def test_eta_0_is_the_mean_over_subgroups():
    losses, codes = batch([1.0, 1.0, 4.0], [6.0])
    assert GroupDRO(torch.tensor([3, 1]), eta=0.0)(losses, codes).item() == pytest.approx(4.0)
    assert Balanced(torch.tensor([3, 1]))(losses, codes).item() == pytest.approx(4.0)
    assert Mean(torch.tensor([3, 1]))(losses, codes).item() == pytest.approx(3.0)


def test_losses_beyond_any_exponent_are_no_trouble():
    weighting = GroupDRO(torch.tensor([1, 1]), eta=1.0)
    weighting(*batch([1e6], [0.0]))
    assert weighting.shares().tolist() == pytest.approx([1.0, 0.0])
    weighting(*batch([0.0], [2e6]))
    assert weighting.shares().tolist() == pytest.approx([0.0, 1.0])  # what has fallen far can rise again


def test_no_weight_falls_below_the_floor_and_small_subgroups_are_adjusted():
    weighting = GroupDRO(torch.tensor([1, 1, 0]), eta=1.0, floor=0.2)
    weighting(*batch([1e6], [0.0]))
    assert weighting.shares().tolist() == pytest.approx([0.9, 0.1, 0.0])
    adjusted = GroupDRO(torch.tensor([4, 400]), eta=0.0, adjustment=2.0)
    assert adjusted(*batch([1.0], [1.0])).item() == pytest.approx((1 + 2 / 2 + 1 + 2 / 20) / 2)


def test_held_out_samples_move_no_weight_and_the_worst_subgroup_compares_epochs():
    weighting = GroupDRO(torch.tensor([1, 1]), eta=1.0)
    with torch.no_grad():
        weighting(*batch([1.0], [9.0]))
    assert weighting.shares().tolist() == [0.5, 0.5]
    means, counts = torch.tensor([1.0, 9.0, 0.0]), torch.tensor([3.0, 1.0, 0.0])
    assert weighting.of_epoch(means, counts).item() == 9.0
    assert Balanced(torch.tensor([1, 1])).of_epoch(means, counts).item() == 5.0
    assert Mean(torch.tensor([1, 1])).of_epoch(means, counts).item() == 3.0


@pytest.mark.parametrize("options", [{"eta": -1}, {"floor": 1.5}, {"adjustment": -0.1}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match="it must be at least 0"):
        GroupDRO(torch.tensor([1, 1]), **options)


def test_balanced_batches_show_every_subgroup_as_often():
    codes = torch.tensor([0] * 950 + [1] * 50)
    sampler = BalancedRows(codes, seed=0)
    first = list(sampler)
    assert len(first) == 1000
    assert codes[first].float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert first == list(sampler)
    sampler.set_epoch(1)
    assert first != list(sampler)


# --- what comes out ------------------------------------------------------------------------------------------------------


class Shortcut(Objective):
    """Two classes, a weak honest sign, and a strong one that is wrong in a minority."""

    def losses(self, batch, moment):
        return functional.cross_entropy(self.module(batch["signs"]), batch["label"], reduction="none")


def shortcut(count, seed, aligned):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(2, (count,), generator=generator)
    agrees = torch.rand(count, generator=generator) < aligned
    honest = (2.0 * label - 1) + 1.5 * torch.randn(count, generator=generator)
    other = (2.0 * label - 1) * (2.0 * agrees - 1) + 0.3 * torch.randn(count, generator=generator)
    return {"signs": torch.stack([honest, other], 1), "label": label, SUBGROUP: agrees.long()}


def accuracy(kind, seed, folder, **options):
    """Accuracy in the minority and in the majority on new samples."""
    train, test = shortcut(1000, seed, 0.97), shortcut(4000, 100 + seed, 0.5)
    torch.manual_seed(seed)
    objective = Shortcut(torch.nn.Linear(2, 2), Fit(epochs=15, batch_size=100, learning_rate=0.1, warmup_steps=0))
    divided = Subgrouped(("against", "with"), train[SUBGROUP], train[SUBGROUP])
    divided.weigh(objective, WeightingEntry(kind=kind, by="agrees", options=options))
    loop.run(objective, Circumstances(train=train, validation=train, folder=folder, hardware=CPU, seed=seed))
    right = (objective.module(test["signs"]).argmax(1) == test["label"]).float()
    return [right[test[SUBGROUP] == code].mean().item() for code in (0, 1)]


@pytest.mark.slow
def test_robust_training_lifts_the_minority_with_every_seed(tmp_path):
    lifted = []
    for seed in range(3):
        found = {
            kind: accuracy(kind, seed, tmp_path / f"{kind}{seed}", **options)
            for kind, options in (("mean", {}), ("balanced", {}), ("group_dro", {"eta": 0.1}))
        }
        assert found["mean"][0] < 0.3 < 0.95 < found["mean"][1]  # the shortcut is learnt
        assert min(found["group_dro"]) > min(found["mean"]) + 0.2
        assert min(found["balanced"]) > min(found["mean"]) + 0.2
        lifted.append(min(found["group_dro"]) - min(found["mean"]))
    assert statistics.median(lifted) > 0.3


# --- in a recipe, and of judges --------------------------------------------------------------------------------------------

VAE = {"latent": 2, "encoder_channels": [4], "decoder_channels": [4], "hidden": 8}


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


def recipe(weighting, family="vae", options=VAE, objective="likelihood", stage=None, epochs=2):
    fit = {"epochs": epochs, "batch_size": 50, "learning_rate": 0.01, "warmup_steps": 5}
    entry = {"objective": objective, "weighting": weighting, "fit": fit, "options": stage or {}}
    return Recipe.model_validate(
        {
            "name": "tiny",
            "title": "Tiny",
            "dataset": "toy",
            "mechanisms": {
                "a": {"family": "empirical"},
                "b": {"family": "spline_flow", "fit": fit},
                "c": {"family": "empirical"},
                "image": {"family": family, "options": options, "stages": [entry]},
            },
        }
    )


DRO = {"kind": "group_dro", "by": "c", "options": {"eta": 0.1}}


def test_a_stage_weights_samples_and_the_manifest_tells_the_weights(dataset, tmp_path):
    folder = recipes.train(recipe(DRO), dataset, output=tmp_path / "robust", hardware=CPU)
    manifest = json.loads((folder / "manifest.json").read_text())
    shares = manifest["curves"]["image"]["subgroups"]
    assert set(shares) == {"zero", "one", "two"}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert len(set(shares.values())) == 3
    assert manifest["recipe"]["mechanisms"]["image"]["stages"][0]["weighting"]["kind"] == "group_dro"


def test_the_mean_is_what_comes_out_without_a_weighting(dataset, tmp_path):
    mean = recipes.train(recipe({"kind": "mean", "by": "c"}), dataset, output=tmp_path / "mean", hardware=CPU)
    none = recipes.train(recipe(None), dataset, output=tmp_path / "none", hardware=CPU)
    robust = recipes.train(recipe(DRO), dataset, output=tmp_path / "robust", hardware=CPU)
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (mean, none, robust)]
    assert weights[0] == weights[1] != weights[2]
    assert (
        "weighting"
        not in json.loads((none / "manifest.json").read_text())["recipe"]["mechanisms"]["image"]["stages"][0]
    )


def test_an_interrupted_training_goes_on_with_its_weights(dataset, tmp_path, monkeypatch):
    whole = recipes.train(recipe(DRO, epochs=4), dataset, output=tmp_path / "whole", hardware=CPU)
    original = loop.Fitting.on_validation_epoch_end

    def interrupted(fitting):
        original(fitting)
        if fitting.current_epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Fitting, "on_validation_epoch_end", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        recipes.train(recipe(DRO, epochs=4), dataset, output=tmp_path / "cut", hardware=CPU)
    monkeypatch.setattr(loop.Fitting, "on_validation_epoch_end", original)
    again = recipes.train(recipe(DRO, epochs=4), dataset, output=tmp_path / "cut", hardware=CPU, resume=True)
    told = [json.loads((folder / "manifest.json").read_text())["curves"]["image"] for folder in (whole, again)]
    assert told[0]["subgroups"] == told[1]["subgroups"]
    assert (whole / "weights.safetensors").read_bytes() == (again / "weights.safetensors").read_bytes()


def test_what_cannot_be_weighted_is_refused_before_it_costs_anything(dataset, tmp_path):
    with pytest.raises(ConfigError, match="no such variable or role"):
        recipes.train(recipe({**DRO, "by": "colour"}), dataset, output=tmp_path / "x", hardware=CPU)
    with pytest.raises(ConfigError, match="etta"):
        recipes.train(recipe({**DRO, "options": {"etta": 1}}), dataset, output=tmp_path / "x", hardware=CPU)
    assert not (tmp_path / "x").exists()


def test_games_and_several_devices_are_refused(tmp_path):
    objective = Shortcut(torch.nn.Linear(2, 2), Fit(epochs=1))
    train = shortcut(20, 0, 0.5)
    Subgrouped(("a", "b"), train[SUBGROUP], train[SUBGROUP]).weigh(objective, WeightingEntry(kind="mean", by="x"))
    circumstances = {"train": train, "validation": train, "folder": tmp_path, "seed": 0}
    with pytest.raises(ConfigError, match="train on one device"):
        loop.run(objective, Circumstances(hardware=Hardware("cpu", 2), **circumstances))
    objective.players = lambda: [Player("one", [], objective.losses), Player("two", [], objective.losses)]
    with pytest.raises(ConfigError, match="game of several players"):
        loop.run(objective, Circumstances(hardware=CPU, **circumstances))


def test_judges_tell_errors_by_subgroup_and_are_weighted(dataset, tmp_path):
    weighting = parsed_weighting("group_dro:eta=0.1", "c", balanced=True)
    report = judges.train_judges([dataset], ["a"], output=tmp_path, hardware=CPU, epochs=2, weighting=weighting)
    said = json.loads((tmp_path / "judges.json").read_text())
    assert said["weighting"] == {"kind": "group_dro", "by": "c", "options": {"eta": 0.1}, "balanced_batches": True}
    for architecture, entry in report.items():
        figures = said["by_subgroup"][architecture]["a"]["formula"]
        assert set(figures) == set(said["shares"][architecture]) == {"zero", "one", "two"}
        whole = entry["judges"]["a"]["quality"]["formula"]["mean_absolute_error"]
        errors = [one["mean_absolute_error"] for one in figures.values()]
        assert min(errors) <= whole <= max(errors)
    with pytest.raises(ConfigError, match="Counterfactuals are in no subgroup"):
        judges.train_judges(
            [dataset], ["a"], output=tmp_path / "more", hardware=CPU, weighting=weighting, counterfactuals=1
        )


def test_a_weighting_needs_subgroups():
    assert parsed_weighting(None, None, balanced=False) is None
    assert parsed_weighting(None, "domain", balanced=False).kind == "mean"
    with pytest.raises(ConfigError, match="say with --by"):
        parsed_weighting("group_dro", None, balanced=False)


def test_every_weighting_is_in_the_registry():
    assert {"mean", "balanced", "group_dro"} <= set(registry.weightings.names())
