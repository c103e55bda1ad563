import pytest
import torch

from counterbench import datasets, judges


@pytest.fixture(scope="module", params=["adni", pytest.param("adni-3d", marks=pytest.mark.slow)])
def template(request):
    return datasets.load(request.param, "template")


@pytest.fixture(scope="module")
def some(template):
    """(rows, their values): as many as show an error per scanner."""
    rows = torch.arange(len(template.attributes("test")["age"]))[:400]
    return rows, template.split("test").take(rows)


def test_errors_are_as_the_card_says_for_every_scanner(template, some):
    rows, factual = some
    panels, scanner = judges.load(template.card, "template"), template.role("domain", "test", rows)
    # In volumes the panel reads brains within 6 mL and ventricles within 1.5; a slice does not show more than docs/slice_bound.json says.
    most = (
        {"brain_volume": 6.0, "ventricular_volume": 1.5}
        if "3d" in template.card.name
        else {"brain_volume": 19.0, "ventricular_volume": 1.5}
    )
    for name, limit in most.items():
        reading = panels[name].measure(factual["image"])
        for entry, member in zip(
            (e for e in template.card.judges[name] if "template" in e.sources), reading.members, strict=True
        ):
            error = (member - factual[name]).abs().mean()
            assert error == pytest.approx(entry.quality["template"]["mean_absolute_error"], rel=0.2)
        error = reading.value - factual[name]
        assert error.abs().mean() < limit
        for number in range(3):
            assert error[scanner == number].abs().mean() < 1.25 * limit
            assert error[scanner == number].mean().abs() < 8  # the same brain is as large for every scanner


def test_judges_follow_an_intervention_and_nothing_else(template, some):
    rows, factual = (some[0][:40], {name: value[:40] for name, value in some[1].items()})
    panels = judges.load(template.card, "template")
    before = {name: panel.measure(factual["image"]).value for name, panel in panels.items() if name != "slice"}
    changes = {"brain_volume": 100.0, "ventricular_volume": 25.0}
    for name, change in changes.items():
        truth = template.truth(
            "test", rows, {name: factual[name] + change, **{o: factual[o] for o in changes if o != name}}
        )
        after = {name: panels[name].measure(truth["image"]).value for name in before}
        assert (after[name] - before[name]).mean() == pytest.approx(change, rel=0.2)
        (other,) = before.keys() - {name}
        assert (after[other] - before[other]).mean().abs() < 0.15 * changes[other]
