"""Judges that are trained further: where they start, what of them moves, and what they say afterwards."""

import json

import pytest
import torch
from safetensors.torch import load_file

from counterbench import datasets
from counterbench.catalog.recipes import AdaptEntry, RowsEntry
from counterbench.errors import CheckpointError, ConfigError
from counterbench.training import judges
from counterbench.training.hardware import Hardware
from counterbench.training.judge_start import JudgeStart, trained_judges

CPU = Hardware("cpu")


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def base(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    judges.train_judges([dataset], ["c", "a"], output=folder, hardware=CPU, epochs=2)
    return folder


def further(base, dataset, output, kind, **options):
    start = JudgeStart(
        trained_judges(str(base), dataset, ["c", "a"]), AdaptEntry(kind=kind), learning_rate=0.01, steps=4, **options
    )
    report = judges.train_judges([dataset], ["c", "a"], output=output, hardware=CPU, start=start)
    return report, json.loads((output / "judges.json").read_text())


def test_only_what_is_opened_moves_and_the_judge_stays_plain_weights(base, dataset, tmp_path):
    report, said = further(base, dataset, tmp_path, "linear", rows=RowsEntry(limit=20))
    for architecture, entry in report.items():
        before, after = (load_file(folder / entry["weights"]) for folder in (base, tmp_path))
        assert before.keys() == after.keys()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        (layer,) = {name.rpartition(".")[0] for name in changed}
        assert changed == {f"{layer}.weight", f"{layer}.bias"}, architecture
        assert len(after[f"{layer}.bias"]) == 3 + 2  # classes of c, and what is said of a
    assert said["adapt"] == {"kind": "linear", "options": {}}
    assert said["rows"]["limit"] == 20
    networks = trained_judges(str(base), dataset, ["c", "a"])
    assert said["init"] == {name: network.sha256 for name, network in networks.items()}


@pytest.mark.slow
def test_a_kind_that_adds_something_is_merged(base, dataset, tmp_path):
    report, _ = further(base, dataset, tmp_path, "sv_diff")
    before, after = (load_file(folder / report["plain"]["weights"]) for folder in (base, tmp_path))
    assert {name: value.shape for name, value in before.items()} == {name: value.shape for name, value in after.items()}
    statistics = [name for name in before if "running" in name]
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)


def test_a_judge_that_goes_on_starts_where_it_was(base, dataset):
    """Its quantities are read in the units that it was calibrated to, so that nothing is learned anew."""
    networks = trained_judges(str(base), dataset, ["c", "a"])
    listed = {e["weights"]: e["options"] for e in json.loads((base / "judges.json").read_text())["judges"]["a"]}
    for network in networks.values():
        options = listed[network.weights.name]
        assert network.scales == {"a": (options["mean"], options["std"])}


def test_the_pinned_judges_of_a_card_can_be_the_start():
    networks = trained_judges("card", datasets.load("morphomnist"), ["digit"])
    assert len(networks) >= 2
    assert all(network.weights.is_file() and not network.scales for network in networks.values())


def test_mistakes_are_one_sentence(base, dataset, tmp_path):
    with pytest.raises(ConfigError, match="no trained network that reads a and nothing else"):
        trained_judges(str(base), dataset, ["a"])
    with pytest.raises(CheckpointError, match="holds no judges of 'c'"):
        trained_judges(str(tmp_path), dataset, ["c"])
    with pytest.raises(ConfigError, match="name them with --init FOLDER"):
        JudgeStart({}, AdaptEntry(kind="bias"))
    with pytest.raises(ConfigError, match="cannot be merged, and judges are plain weights"):
        further(base, dataset, tmp_path, "bottleneck")
    with pytest.raises(ConfigError, match="leave out --counterfactuals"):
        judges.train_judges(
            [dataset],
            ["c"],
            output=tmp_path,
            hardware=CPU,
            counterfactuals=1,
            start=JudgeStart({}, rows=RowsEntry(limit=9)),
        )


def test_it_learns_in_the_units_in_which_it_speaks(base, dataset, tmp_path, monkeypatch):
    seen = []

    class Watching(judges.JudgeObjective):
        def __init__(self, *given, heads, **options):
            seen.append(heads.scales)
            super().__init__(*given, heads=heads, **options)

    monkeypatch.setattr(judges, "JudgeObjective", Watching)
    further(base, dataset, tmp_path, "linear", rows=RowsEntry(limit=20))
    networks = trained_judges(str(base), dataset, ["c", "a"])
    assert seen == [networks[name].scales for name in judges.ARCHITECTURES]
