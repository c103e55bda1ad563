import numpy as np
import pytest
import torch

import counterbench
from counterbench import evaluation, models
from counterbench.errors import ConfigError, ModelError, UnknownNameError
from counterbench.models.model import Contestant

pytestmark = pytest.mark.usefixtures("unshaken")


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def exam(dataset):
    return evaluation.prepare(dataset, "standard", device="cpu")


def numbers(made):
    return {number.key: number for number in made.record.numbers}


@pytest.fixture(scope="module")
def exact(toy, exam):
    return numbers(evaluation.evaluate(Contestant("exact", toy.ExactModel()), exam))


def test_the_true_model_gets_perfect_scores(exact):
    for (metric, quantity, intervened, measured, cycles, _), number in exact.items():
        if metric not in ("composition", "reversibility", "commutativity", "effectiveness", "off_target", "truth"):
            continue
        perfect = 1 if quantity.endswith(("skill", "accuracy")) or quantity == "effect" else 0
        assert number.value == pytest.approx(perfect, abs=2e-3), (metric, quantity, intervened, measured, cycles)


@pytest.mark.parametrize(
    ("scale", "shift", "told"),
    [
        (1.0, 0.0, ""),
        (1 / 255, 0.0, "were they meant as 0 to 1"),
        (2 / 255, -1.0, "were they meant as 0 to 1, or normalised"),
        (1 / 255 / 0.3081, -0.1307 / 0.3081, "were they meant as 0 to 1, or normalised"),
        (0.0, 7.0, ""),
        (255.0, 0.0, "its images reach from"),
    ],
)
@pytest.mark.parametrize("metric", ["truth", "composition"])
def test_images_on_another_scale_are_suspected(toy, dataset, scale, shift, told, metric):
    class Scaled(toy.ExactModel):
        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            return {**answer, "image": answer["image"] * scale + shift}

    made = counterbench.evaluate(Scaled(), dataset, suite="quick", metrics=[metric], limit=8, device="cpu")
    for place in (" ".join(made.record.notes), " ".join(str(made.table()).split())):
        assert told in place
        assert ("grey levels" in place.lower() and "its images" in place) == bool(told)


def test_a_network_left_in_training_mode_is_asked_in_evaluation_mode(toy, dataset):
    class Forgotten(toy.ExactModel):
        def __init__(self):
            super().__init__()
            self.layers = {"norm": torch.nn.BatchNorm2d(1)}

        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            return {**answer, "image": self.layers["norm"](answer["image"] / 255) * 60 + 30}

    model = Forgotten()
    made = [
        counterbench.evaluate(model, dataset, suite="quick", metrics=["truth"], limit=20, device="cpu", batch_size=size)
        for size in (4, 20)
    ]
    values = [[number.value for number in one.record.numbers] for one in made]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert all("it was in training mode" in " ".join(one.record.notes) for one in made)
    assert model.layers["norm"].training
    assert model.layers["norm"].num_batches_tracked == 0


def test_a_model_may_need_gradients(toy, dataset):
    """Guidance by a classifier's gradient, say; and what it is given may be used after the evaluation."""
    kept = []

    class Guided(toy.ExactModel):
        def counterfactual(self, factual, interventions, generator=None):
            with torch.enable_grad():
                image = factual["image"].clone().requires_grad_()
                (slope,) = torch.autograd.grad(image.square().sum(), image)
            kept.append(factual["image"])
            answer = super().counterfactual(factual, interventions, generator)
            return {**answer, "image": answer["image"] + 0 * slope}

    counterbench.evaluate(Guided(), dataset, suite="quick", metrics=["truth"], limit=4, device="cpu")
    assert not any(image.is_inference() for image in kept)


@pytest.mark.parametrize("made", [torch.Tensor.to_sparse, lambda value: value.to("meta")])
def test_tensors_without_plain_values_are_no_answer(toy, dataset, made):
    class Odd(toy.ExactModel):
        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            return {**answer, "image": made(answer["image"])}

    with pytest.raises(ModelError, match="a tensor without plain values; give a dense one"):
        counterbench.evaluate(Odd(), dataset, suite="quick", limit=4, device="cpu")


def test_a_constant_variable_has_no_change_in_standard_deviations(toy):
    class Cohort(toy.Toy):
        def _noise(self, name):
            drawn = super()._noise(name)
            return {**drawn, "c": torch.ones_like(drawn["c"])}

    class Negative:
        def counterfactual(self, factual, interventions, generator=None):
            return {**factual, **interventions, "image": 255 - factual["image"]}

    card = toy.CARD.model_copy(
        update={
            "variables": {
                name: entry.model_copy(update={"intervenable": name in "ab"})
                for name, entry in toy.CARD.variables.items()
            }
        }
    )
    record = counterbench.evaluate(Negative(), Cohort(card), metrics=["off_target"], limit=20, device="cpu").record
    assert record.skipped["off target (c)"] == "c is constant in the training split: a change has no scale"
    assert {number.measured for number in record.numbers} == {"", "a"}
    assert all(number.value < 100 for number in record.numbers)


def own_and_references(made):
    """Every number as it is stored, without cost."""
    return [number.model_dump(exclude={"role"}) for number in made.record.numbers if number.metric != "cost"]


METRICS = ["composition", "reversibility", "effectiveness", "truth", "minimality", "realism", "off_target"]


@pytest.mark.slow
def test_baselines_move_with_nothing(tmp_path, monkeypatch):
    """Batch size, threads and what the cache held before are no part of the question: not a bit of a baseline's score changes."""
    records = {}
    before = torch.get_num_threads()
    try:
        for name, threads, size in (("cold", 1, None), ("warm", 1, 1), ("threads", 2, 7)):
            if name != "warm":
                monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / name))
            torch.set_num_threads(threads)
            exam = evaluation.prepare("morphomnist", "quick", device="cpu", limit=20, metrics=METRICS)
            records[name] = own_and_references(
                evaluation.evaluate(
                    models.load("retrieve", exam.dataset, device="cpu", references=exam.suite.references),
                    exam,
                    batch_size=size,
                )
            )
    finally:
        torch.set_num_threads(before)
    for name, record in records.items():
        assert record == records["cold"], name


def test_floor_and_ceiling_are_the_baselines_own_numbers(exam, exact):
    for name, reference in (("identity", "identity"), ("truth", "truth")):
        own = numbers(evaluation.evaluate(models.load(name, exam.dataset), exam))
        for key, number in exact.items():
            if number.metric == "cost" or key not in own:
                continue
            assert number.references[reference].value == pytest.approx(own[key].value, abs=1e-12)
            assert number.references[reference].low == pytest.approx(own[key].low, abs=1e-12)


def test_identity_is_won_by_nothing_but_composition(exam):
    found = numbers(evaluation.evaluate(models.load("identity", exam.dataset), exam))
    for (_, quantity, *_), number in found.items():
        if quantity in ("skill", "effect", "amplification"):
            assert number.value == 0
    assert found["composition", "l1", "", "", 10, "l1"].value == 0
    assert found["truth", "l1", "a", "", 0, "l1"].value > 5


class Noisy:
    """Draws noise in its abduction, like a VAE, and forgets a tenth of it."""

    def __init__(self, toy):
        self.scm = toy.exact_scm(keep=0.9)

    def counterfactual(self, factual, interventions, generator=None):
        from counterbench.causal.chance import normal

        answer = self.scm.counterfactual(factual, interventions, generator)
        return {**answer, "image": answer["image"] + normal(tuple(answer["image"].shape), generator, answer["image"])}


@pytest.mark.slow
def test_the_batch_size_changes_no_number_of_a_model_without_networks(toy, exam):
    """Defects 8 and 11 of the anchor."""
    made = [evaluation.evaluate(Contestant("noisy", Noisy(toy)), exam, batch_size=size) for size in (1, 7, 64, 500)]
    for other in made[1:]:
        for first, second in zip(made[0].columns, other.columns, strict=True):
            assert first.cell == second.cell
            assert first.metric == "cost" or torch.allclose(first.value, second.value, atol=1e-9)
        for first, second in zip(made[0].record.numbers, other.record.numbers, strict=True):
            if first.metric == "cost":
                continue
            assert second.value == pytest.approx(first.value, rel=1e-9)
            assert (second.low is None) == (first.low is None)
            assert first.low is None or second.low == pytest.approx(first.low, rel=1e-9)


def test_same_command_same_numbers_whatever_the_global_state(toy, exam):
    results = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        np.random.seed(outside)
        made = evaluation.evaluate(Contestant("noisy", Noisy(toy)), exam)
        results.append([number for number in made.record.numbers if number.metric != "cost"])
    assert results[0] == results[1]


def test_the_composition_curve_has_its_closed_form(toy, exam):
    """A model that keeps the share k of the noise, and whose answers are rounded every time, is off by what that leaves of the noise."""

    class Forgetful:
        scm = toy.exact_scm(keep=0.83)

        def counterfactual(self, factual, interventions, generator=None):
            return self.scm.counterfactual(factual, interventions, generator)

    found = numbers(evaluation.evaluate(Contestant("forgetful", Forgetful()), exam))
    noise = 4 * toy.clean(exam.dataset._noise("test")["image"][exam.plan.index])
    kept = noise
    for cycle in range(1, 11):
        kept = (0.83 * kept).round()
        expected = float((noise - kept).abs().mean())
        assert found["composition", "l1", "", "", cycle, "l1"].value == pytest.approx(expected, rel=1e-3)


def test_attributes_are_fed_back_as_well(toy, exam):
    """A model whose attributes drift under no intervention shows it in the images of later cycles."""

    class Drifting(Noisy):
        def counterfactual(self, factual, interventions, generator=None):
            held = dict(interventions) if interventions else {"a": factual["a"] + 0.1}
            return self.scm.counterfactual(factual, held, generator)

    found = numbers(evaluation.evaluate(Contestant("drifting", Drifting(toy)), exam))
    curve = [found["composition", "l1", "", "", cycle, "l1"].value for cycle in range(1, 11)]
    assert curve[9] > 5 * curve[0] > 0


def test_intervals_are_clustered_by_the_cards_group(toy, exam, monkeypatch):
    made = evaluation.evaluate(Contestant("noisy", Noisy(toy)), exam)
    assert made.record.clusters == 60  # 120 images, two of each


def test_intervals_are_those_of_the_scores_by_cluster(toy, exam):
    from counterbench.evaluation import numbers as scoring

    made = evaluation.evaluate(Contestant("noisy", Noisy(toy)), exam)
    found = numbers(made)
    group = made.group[exam.plan.index]
    expected, alone = (
        scoring.numbers(
            {"model": made.columns}, exam.plan.index, clusters, resamples=exam.suite.resamples, seed=exam.seed
        )[0]
        for clusters in (group, exam.plan.index)
    )
    counted = [number for number in expected if number.low is not None and number.metric != "cost"]
    assert [(found[number.key].low, found[number.key].high) for number in counted] == [
        (number.low, number.high) for number in counted
    ]
    assert [number.low for number in expected] != [number.low for number in alone]


def test_real_images_have_a_row_where_judges_look_and_nowhere_else(exact):
    for number in exact.values():
        assert ("real" in number.references) == (number.metric == "effectiveness"), number.key


@pytest.mark.parametrize(("source", "told"), [("formula", False), ("elsewhere", True), (None, False)])
def test_a_model_of_another_source_is_told(toy, dataset, source, told):
    exam = evaluation.prepare(dataset, "quick", device="cpu", metrics=["truth"], limit=5)
    contestant = Contestant("exact", toy.ExactModel(), training={"source": source})
    notes = evaluation.evaluate(contestant, exam).record.notes
    assert any(note.startswith("trained on the source") for note in notes) == told


def test_a_metric_keeps_the_options_of_its_suite(dataset):
    from counterbench.catalog.suites import Suite

    metrics = {"composition": {}, "minimality": {"weights": [[0.5, 0.5]]}}
    exam = evaluation.prepare(dataset, Suite(name="s", title="S", metrics=metrics), device="cpu", limit=5)
    assert exam.metrics == metrics
    chosen = evaluation.prepare(
        dataset, Suite(name="s", title="S", metrics=metrics), device="cpu", limit=5, metrics=["minimality", "truth"]
    )
    assert chosen.metrics == {"minimality": {"weights": [[0.5, 0.5]]}, "truth": {}}


def test_the_question_is_asked_once_and_in_batches(toy, exam, monkeypatch):
    monkeypatch.setattr("counterbench.evaluation.evaluation.depends", lambda *_: False)
    monkeypatch.setattr("counterbench.evaluation.evaluation.not_shown", lambda *_: [])
    asked = []

    class Counting(Noisy):
        def counterfactual(self, factual, interventions, generator=None):
            asked.append((tuple(interventions), factual.count))
            return self.scm.counterfactual(factual, interventions, generator)

    evaluation.evaluate(Contestant("counting", Counting(toy)), exam, batch_size=60)
    assert len(asked) == 2 * (10 + 3 + 3 + 4)
    assert sum(count for _, count in asked) == 120 * 20


def test_a_model_may_decline_and_the_table_says_so(toy, exam):
    class Choosy(Noisy):
        def can_answer(self, intervened):
            return "c" not in intervened

    record = evaluation.evaluate(Contestant("choosy", Choosy(toy)), exam).record
    assert record.skipped["do(c)"] == "choosy does not answer this question"
    assert {n.intervened for n in record.numbers} == {"", "a", "b"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda v: {**v, "image": v["image"] * torch.nan}, "NaN"),
        (lambda v: {k: x for k, x in v.items() if k != "b"}, "no tensor for 'b'"),
        (lambda v: None, "got NoneType"),
    ],
)
def test_unusable_answers_stop_the_evaluation(exam, answer, words):
    class Broken:
        def counterfactual(self, factual, interventions, generator=None):
            return answer(dict(factual))

    with pytest.raises(ModelError, match=words):
        evaluation.evaluate(Contestant("broken", Broken()), exam)


def test_metrics_with_equal_cells_keep_their_own_numbers(toy, dataset):
    from counterbench.plugins import registry

    truth = registry.metrics.get("truth")

    class Twin(truth):
        def add(self, cell, index, score, *, relative_to=None):
            super().add(cell, index, score * 0 + 777)

    with registry.metrics.temporarily("twin", Twin):
        exam = evaluation.prepare(dataset, device="cpu", metrics=["truth", "twin"], limit=10)
        record = evaluation.evaluate(Contestant("exact", toy.ExactModel()), exam).record
    expected = {"truth_skill": 1 - 777, "change_skill": 1 - 777, "amplification": 777**0.5}
    twins = [n for n in record.numbers if n.metric == "twin"]
    assert len(twins) == len([n for n in record.numbers if n.metric == "truth"]) > 0
    assert [n.value for n in twins] == pytest.approx([expected.get(n.quantity, 777) for n in twins])
    assert all(0 <= n.value < 2 for n in record.numbers if n.metric == "truth")
    assert record.skipped == {}


def test_a_skill_is_relative_to_the_printed_floor(toy, exam):
    found = numbers(evaluation.evaluate(Contestant("noisy", Noisy(toy)), exam))
    error = found["effectiveness", "absolute_error", "a", "b", 0, ""]
    skill = found["effectiveness", "skill", "a", "b", 0, ""]
    assert skill.value == pytest.approx(1 - error.value / error.floor.value, abs=1e-9)
    assert skill.references["real"].value == pytest.approx(
        1 - error.references["real"].value / error.floor.value, abs=1e-9
    )


def test_only_the_questions_that_somebody_judges_are_asked(toy, dataset, monkeypatch):
    asked = []
    monkeypatch.setattr("counterbench.evaluation.evaluation.depends", lambda *_: False)
    monkeypatch.setattr("counterbench.evaluation.evaluation.not_shown", lambda *_: [])

    class Counting(Noisy):
        def counterfactual(self, factual, interventions, generator=None):
            asked.append(tuple(interventions))
            answer = self.scm.counterfactual(factual, interventions, generator)
            return {**answer, "image": answer["image"] + 1}  # no null intervention returns its input

    for metric, expected in (("truth", 3 + 1), ("effectiveness", 3), ("composition", 10)):
        asked.clear()
        exam = evaluation.prepare(dataset, device="cpu", metrics=[metric], limit=5)
        evaluation.evaluate(Contestant("counting", Counting(toy)), exam)
        assert len(asked) == expected


def test_an_undefined_number_is_skipped_aloud(toy, dataset):
    """A single image whose class the judge gets right without any change: a skill of 1 - 0/0."""
    from counterbench.evaluation import numbers
    from counterbench.metrics.base import Cell, Column

    one = torch.ones(2, dtype=torch.float64)
    column = Column(
        "effectiveness",
        Cell("skill", "", "higher", "c", "c", kind="skill"),
        torch.arange(2),
        0 * one,
        reference=0 * one,
    )
    made, skipped = numbers.numbers(
        {"model": [column], "identity": [], "truth": []}, torch.arange(2), torch.arange(2), resamples=200, seed=0
    )
    assert made == []
    assert list(skipped.values()) == ["undefined: the reference is 0, or a class never occurs"]


def test_plugins_are_part_of_the_inputs(toy, exam):
    inputs = exam.inputs(Contestant("exact", toy.ExactModel()))
    assert "dataset toy" in inputs.plugins
    assert len(inputs.plugins["judge toy-reader"]) == 64
    assert not any("vae" in name for name in inputs.plugins)


def test_names_are_checked_before_anything_is_computed(dataset):
    with pytest.raises(UnknownNameError, match="Did you mean 'composition'"):
        evaluation.prepare(dataset, metrics=["compositon"])
    with pytest.raises(ConfigError, match=r"no device 'cuda:9'|Unknown device"):
        evaluation.prepare(dataset, device="cuda:9")
    with pytest.raises(ConfigError, match="Unknown device 'gpu'"):
        evaluation.prepare(dataset, device="gpu")


def test_any_object_that_answers_can_be_evaluated_from_python(toy, dataset):
    made = counterbench.evaluate(toy.ExactModel(), dataset, suite="quick", limit=10, device="cpu")
    assert made.record.inputs.model == "ExactModel"
    assert made.record.inputs.limit == 10


def test_a_model_that_was_trained_against_a_judge_is_marked_wherever_that_judge_enters(toy, exam):
    trained = {"judges_used_in_training": ["toy-reader"]}
    record = evaluation.evaluate(Contestant("leaky", Noisy(toy), training=trained), exam).record
    leaked = {number.metric for number in record.numbers if number.leaked}
    assert leaked == {"effectiveness", "off_target"}
    assert all(number.leaked for number in record.numbers if number.metric in leaked)
    clean = evaluation.evaluate(Contestant("clean", Noisy(toy), training={"judges_used_in_training": []}), exam).record
    assert clean.leaked == []


def test_an_ensemble_reports_mean_spread_and_agreement(toy):
    from counterbench.judges import Panel

    dataset = toy.Toy()
    exam = evaluation.prepare(dataset, "quick", device="cpu", metrics=["effectiveness"], limit=20)

    class Sceptic(toy.ToyReader):
        fingerprint = "sceptic"

        def _measure(self, images):
            return super()._measure(images).roll(1, 1)

    member = exam.panels["c"].members[0]
    panels = {**exam.panels, "c": Panel(member.variable, (member, Sceptic(member.variable)))}
    from dataclasses import replace

    found = numbers(evaluation.evaluate(Contestant("exact", toy.ExactModel()), replace(exam, panels=panels)))
    assert found["effectiveness", "judges_agreement", "a", "c", 0, ""].value == 0
    assert found["effectiveness", "judges_spread", "a", "c", 0, ""].value == pytest.approx(0.5)
    assert found["effectiveness", "judges_agreement", "a", "c", 0, ""].detail


def test_what_cannot_be_computed_is_in_the_record_with_its_reason(toy, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    exam = evaluation.prepare(dataset, "paper", device="cpu", limit=10)
    record = evaluation.evaluate(Contestant("exact", toy.ExactModel()), exam).record
    assert "composition (lpips)" in record.skipped
    assert "vgg16-397923af.pth" in record.skipped["composition (lpips)"]
    assert "realism (inception)" in record.skipped
    assert record.skipped["minimality, CLD (posterior)"].endswith("pins no unconditional autoencoder")
    assert {number.metric for number in record.numbers} == {"composition", "effectiveness", "minimality"}


def test_when_nothing_at_all_can_be_computed_the_reason_comes_first(toy, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    exam = evaluation.prepare(dataset, "paper", device="cpu", metrics=["realism"], limit=10)

    class Unasked:
        def counterfactual(self, factual, interventions, generator=None):
            raise AssertionError("nothing can be computed: nobody is asked")

    with pytest.raises(
        ConfigError, match=r"Nothing can be computed\. realism .inception.: the feature space 'inception' needs"
    ):
        evaluation.evaluate(Contestant("m", Unasked()), exam)


def test_options_of_metrics_are_checked_before_anything_is_computed(dataset):
    from counterbench.catalog.suites import Suite

    for options, words in (
        ({"composition": {"distance": ["l1"]}}, "has no option 'distance'.*Did you mean 'distances'"),
        ({"composition": {"distances": ["lpipz"]}}, "Did you mean 'lpips'"),
        ({"minimality": {"weights": "heavy"}}, "the option weights is 'heavy'"),
    ):
        with pytest.raises((ConfigError, UnknownNameError), match=words):
            evaluation.prepare(dataset, Suite(name="s", title="S", metrics=options), device="cpu")
