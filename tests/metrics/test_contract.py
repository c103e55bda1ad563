"""What every metric must do, on the toy process; a new file in metrics/ is tested by itself."""

from functools import partial

import pytest
import torch

from counterbench import registry
from counterbench.counterfactual import Counterfactual
from counterbench.metrics.base import Setting
from counterbench.samples import Samples

NAMES = [name for name in registry.metrics.names() if name in registry.metrics._builtins]
COUNT = 30


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def setting(dataset):
    return Setting(dataset.graph, dataset.variables, "image", ("a", "b", "c"), ("a", "b", "c"), 2, ("a", "b", "c"))


def answers_of(dataset, answer, order):
    """Every kind of answer for some rows, by a function (factual, held, truth) -> values."""
    from counterbench import judges

    panels = judges.load(dataset.card, dataset.source)

    def measure(images):
        return {name: panel.measure(images) for name, panel in panels.items()}

    for rows in order:
        factual = dataset.split("test").take(rows)
        measured = partial(measure, factual["image"])
        given = factual
        for cycle in (1, 2):
            given = Samples(answer(given, {}, given), rows)
            yield Counterfactual((), cycle, factual, given, factual, factual, "image", measure, measured)
        for name in ("a", "b", "c"):
            value = dataset.split("test").take((rows + 41) % 120)[name]
            held = {name: (value + 1) % 3 if name == "c" else value}
            truth = dataset.truth("test", rows, held)
            floor = {**truth, "image": factual["image"]}
            answered = answer(factual, held, truth)
            yield Counterfactual((name,), 1, factual, answered, floor, truth, "image", measure, measured)


def noisy(factual, held, truth):
    """Depends on the sample alone."""
    shift = torch.sin(factual["image"] * 3.1)
    return {**truth, "image": truth["image"] + shift}


def computed(name, setting, batches):
    metric = registry.metrics.get(name)(setting)
    for answers in batches:
        metric.update(answers)
    return metric.compute()


def as_table(columns):
    return {column.cell: (column.index.tolist(), column.value, column.reference) for column in columns}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 7, 30])
def test_scores_depend_on_neither_batch_nor_order(name, size, dataset, setting):
    """Defect 11 of the anchor: scores averaged over batches of unequal size."""
    rows = torch.arange(COUNT)
    whole = as_table(computed(name, setting, answers_of(dataset, noisy, [rows])))
    shuffled = rows[torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))]
    parts = as_table(computed(name, setting, answers_of(dataset, noisy, list(shuffled.split(size)))))
    assert whole.keys() == parts.keys()
    assert whole
    for cell, (index, value, reference) in whole.items():
        assert parts[cell][0] == index
        assert torch.equal(parts[cell][1], value)
        assert torch.equal(parts[cell][2], reference)


@pytest.mark.parametrize("name", NAMES)
def test_reset_forgets(name, dataset, setting):
    metric = registry.metrics.get(name)(setting)
    for answers in answers_of(dataset, noisy, [torch.arange(5)]):
        metric.update(answers)
    assert metric.compute()
    metric.reset()
    assert metric.compute() == []


@pytest.mark.parametrize("name", NAMES)
def test_cells_declare_unit_and_direction_and_are_distinct(name, setting):
    metric = registry.metrics.get(name)(setting)
    assert len(set(metric.cells)) == len(metric.cells) > 0
    assert all(cell.direction in ("lower", "higher", "one") for cell in metric.cells)
    assert metric.definition.endswith(".")
    assert metric.blind_to.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_states_add_up_across_processes(name, dataset, setting):
    """What a distributed reduction does: concatenate the states of two processes."""
    first, second = (registry.metrics.get(name)(setting) for _ in range(2))
    for metric, rows in ((first, torch.arange(0, 12)), (second, torch.arange(12, COUNT))):
        for answers in answers_of(dataset, noisy, [rows]):
            metric.update(answers)
    for state in ("cell_number", "row", "score", "relative_to"):
        setattr(first, state, torch.cat([torch.cat(getattr(first, state)), torch.cat(getattr(second, state))]))
    first._computed = None
    whole = as_table(computed(name, setting, answers_of(dataset, noisy, [torch.arange(COUNT)])))
    for cell, (index, value, _) in as_table(first.compute()).items():
        assert index == whole[cell][0]
        assert torch.equal(value, whole[cell][1])


def points(name, setting, dataset, answer):
    columns = computed(name, setting, answers_of(dataset, answer, [torch.arange(COUNT)]))
    return {(c.cell.quantity, c.cell.intervened, c.cell.measured, c.cell.cycles): c.point() for c in columns}


def unchanged(factual, held, truth):
    return {**truth, "image": factual["image"]}


def true(factual, held, truth):
    return truth


def halfway(factual, held, truth):
    return {**truth, "image": 0.5 * (factual["image"] + truth["image"])}


def test_fixed_points_of_doing_nothing_and_of_the_truth(dataset, setting):
    composition = points("composition", setting, dataset, unchanged)
    assert set(composition.values()) == {0.0}
    for (quantity, *_), value in points("truth", setting, dataset, unchanged).items():
        if quantity in ("effect", "amplification"):
            assert value == 0
    for (quantity, *_), value in points("truth", setting, dataset, true).items():
        assert value == pytest.approx({"effect": 1, "attribute_accuracy": 1}.get(quantity, 0), abs=1e-5)
    for (quantity, *_), value in points("effectiveness", setting, dataset, unchanged).items():
        if quantity == "skill":
            assert value == 0
    for (quantity, *_), value in points("effectiveness", setting, dataset, true).items():
        assert value == pytest.approx({"skill": 1, "accuracy": 1}.get(quantity, 0), abs=1e-4)


def test_scores_move_the_right_way_from_nothing_to_the_truth(dataset, setting):
    steps = [points("truth", setting, dataset, a) for a in (unchanged, halfway, true)]
    for name in ("a", "b", "c"):
        assert steps[0]["l1", name, "", 0] > steps[1]["l1", name, "", 0] > steps[2]["l1", name, "", 0]
        assert steps[1]["effect", name, "", 0] == pytest.approx(0.5, abs=1e-5)
    skills = [points("effectiveness", setting, dataset, a)["skill", "a", "a", 0] for a in (unchanged, halfway, true)]
    assert skills == pytest.approx([0, 0.5, 1], abs=1e-4)


def test_effectiveness_by_hand(dataset, setting):
    """An image whose a is off by exactly 0.3 has an error of 0.3 in the cell of a and nowhere else."""

    def off(factual, held, truth):
        from toy import patterns

        return {**truth, "image": truth["image"] + (12 * 0.3 * patterns()[0].view(1, 1, 8, 8)).float()}

    found = points("effectiveness", setting, dataset, off)
    assert found["absolute_error", "b", "a", 0] == pytest.approx(0.3, abs=1e-4)
    assert found["absolute_error", "b", "b", 0] == pytest.approx(0, abs=1e-4)
    assert found["accuracy", "b", "c", 0] == 1


def test_a_skill_is_shown_only_where_the_attribute_should_change(setting):
    cells = registry.metrics.get("effectiveness")(setting).cells
    skills = {(c.intervened, c.measured) for c in cells if c.quantity == "skill"}
    assert skills == {("a", "a"), ("a", "b"), ("b", "b"), ("c", "c")}
