"""What every metric must do, on the toy process; a new file in metrics/ is tested by itself."""

import asked
import pytest
import torch

from counterbench.causal.variables import Variable
from counterbench.models.model import checked_answer
from counterbench.plugins import registry

NAMES = registry.metrics.builtins()
COUNT = 30


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def setting(dataset):
    return asked.setting(dataset)


@pytest.fixture(scope="module")
def whole(dataset, setting):
    """metric -> its columns on all samples at once."""
    return {
        name: as_table(asked.computed(name, setting, asked.answers(dataset, asked.noisy, [torch.arange(COUNT)])))
        for name in NAMES
    }


def as_table(columns):
    return {column.cell: (column.index.tolist(), column.value, column.reference) for column in columns}


def assert_same(found, expected, tolerance=1e-12):
    assert found.keys() == expected.keys()
    assert expected
    for cell, (index, value, reference) in expected.items():
        if cell.kind == "peak":  # the largest over batches, whatever they are
            continue
        assert found[cell][0] == index == sorted(index)
        assert torch.allclose(found[cell][1], value, rtol=1e-6, atol=tolerance), cell
        assert torch.allclose(found[cell][2], reference, rtol=1e-6, atol=tolerance), cell


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_scores_depend_on_neither_batch_nor_order(name, size, dataset, setting, whole):
    """Defect 11 of the anchor: scores averaged over batches of unequal size."""
    rows = torch.arange(COUNT)
    shuffled = rows[torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))]
    batches = asked.answers(dataset, asked.noisy, list(shuffled.split(size)))
    assert_same(as_table(asked.computed(name, setting, batches)), whole[name], 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_reset_forgets(name, dataset, setting):
    metric = registry.metrics.get(name)(setting)
    for answers in asked.answers(dataset, asked.noisy, [torch.arange(12)]):
        metric.update(answers)
    assert metric.compute()
    metric.reset()
    assert metric.empty
    assert metric.compute() == []


@pytest.mark.parametrize("name", NAMES)
def test_what_it_declares(name, setting):
    family = registry.metrics.get(name)
    metric = family(setting)
    assert len(set(metric.cells)) == len(metric.cells) > 0
    assert all(cell.direction in ("lower", "higher", "one", "zero", "half") for cell in metric.cells)
    assert set() < set(family.asks) <= {"null", "single", "return", "pair", "joint", "sample"}
    assert family.formula.count("$") >= 2
    assert family.formula.count("$") % 2 == 0
    for words in (family.definition, family.blind_to, family.source):
        assert words.endswith((".", ")."))
        assert len(words) > 20
    assert family.title


@pytest.mark.parametrize("name", NAMES)
def test_it_uses_the_questions_that_it_asks_and_no_others(name, dataset, setting):
    metric = registry.metrics.get(name)(setting)
    for answers in asked.answers(dataset, asked.noisy, [torch.arange(12)]):
        if answers.kind not in metric.asks:
            metric.update(answers)
    assert all(len(getattr(metric, state)) == 0 for state in metric.states)


@pytest.mark.parametrize("name", NAMES)
def test_states_add_up_across_processes(name, dataset, setting, whole):
    """One copy takes what the other has dumped."""
    first, second = (registry.metrics.get(name)(setting) for _ in range(2))
    for metric, rows in ((first, torch.arange(0, 12)), (second, torch.arange(12, COUNT))):
        for answers in asked.answers(dataset, asked.noisy, [rows]):
            metric.update(answers)
    first.restore(second.dump())
    assert_same(as_table(first.compute()), whole[name], 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_has_taken_survives_the_disk(name, dataset, setting, whole, tmp_path):
    from safetensors.torch import load_file, save_file

    parts = []
    for number, rows in enumerate((torch.arange(0, 12), torch.arange(12, COUNT))):
        metric = registry.metrics.get(name)(setting)
        for answers in asked.answers(dataset, asked.noisy, [rows]):
            metric.update(answers)
        save_file({key: value.contiguous() for key, value in metric.dump().items()}, tmp_path / f"{number}.safetensors")
        parts.append(load_file(tmp_path / f"{number}.safetensors"))
    fresh = registry.metrics.get(name)(setting)
    for part in parts:
        fresh.restore(part)
    assert_same(as_table(fresh.compute()), whole[name], 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_images_give_the_same_scores(name, dataset, setting, whole):
    def doubled(given, held, truth):
        answer = asked.noisy(given, held, truth)
        return {**answer, "image": answer["image"].double()}

    found = as_table(asked.computed(name, setting, asked.answers(dataset, doubled, [torch.arange(COUNT)])))
    assert found.keys() == whole[name].keys()
    for cell, (_, value, reference) in whole[name].items():
        ratio, expected = (float(v.sum() / r.sum()) for v, r in ((found[cell][1], found[cell][2]), (value, reference)))
        # Thresholds (nearest neighbours, classifiers) may move a sample; averages hardly.
        assert ratio == pytest.approx(expected, rel=1e-4, abs=0.05 if name in ("realism", "abduction") else 1e-5), cell


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")),
    ],
)
def test_what_is_taken_is_on_the_cpu_and_holds_no_graph(name, device, dataset, setting, whole):
    """A model may compute elsewhere, and forget to switch gradients off."""

    def elsewhere(given, held, truth):
        answer = {key: value.to(device) for key, value in asked.noisy(given, held, truth).items()}
        answer["image"] = answer["image"].requires_grad_() * 1
        return checked_answer(answer, dataset.variables, held, len(given.index))

    metric = registry.metrics.get(name)(setting)
    for answers in asked.answers(dataset, elsewhere, [torch.arange(COUNT)]):
        metric.update(answers)
    taken = [value for state in metric.states for value in getattr(metric, state)]
    assert taken
    assert not any(value.requires_grad for value in taken)
    assert {value.device.type for value in taken} == {"cpu"}
    assert_same(as_table(metric.compute()), whole[name], 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_missing_feature_spaces_are_skipped_aloud(name, dataset):
    bare = asked.setting(dataset, spaces={}, missing=dict.fromkeys(asked.SPACES, "there is no such file"))
    metric = registry.metrics.get(name)(bare)
    skipped = {
        "realism": "realism (judge)",
        "recognition": "recognition (embedding)",
        "minimality": "minimality, CLD (posterior)",
        "memorisation": "memorisation (judge)",
        "generation": "generation (judge)",
    }
    expected = {skipped[name]: "there is no such file"} if name in skipped else {}
    if name == "reidentification":
        expected = {f"reidentification ({verifier})": "it was not loaded" for verifier in ("siamese", "contrastive")}
    if name == "estimate":
        expected = {f"estimate do({variable})": "there is no such file" for variable in asked.NAMES}
    if name == "rung2":
        expected = dict.fromkeys(("rung2 (judge)", "rung2 (posterior)"), "there is no such file")
    assert metric.skipped == expected


def test_the_setting_knows_what_an_intervention_must_leave_alone(setting):
    assert setting.unaffected("a") == ("c",)
    assert setting.unaffected("b") == ("a", "c")
    assert isinstance(setting.variables["a"], Variable)
