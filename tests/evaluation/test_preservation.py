"""Numbers of preservation have no rank unless they were earned: by a model that remembers nothing and hides nothing."""

import threading
import zlib

import numpy as np
import pytest
import torch

from counterbench import evaluation, models
from counterbench.api import Wrapped
from counterbench.causal.chance import normal
from counterbench.evaluation import evaluation as evaluation_module
from counterbench.evaluation import session
from counterbench.evaluation.preservation import not_shown
from counterbench.evaluation.taking import Taking
from counterbench.leaderboard.ranking import why_not
from counterbench.models.model import Contestant
from counterbench.models.untouched import Untouched
from counterbench.records.record import NOT_SHOWN
from counterbench.records.table import footnotes

REMEMBERS = "asked about its own answers, a copy that had seen nothing before answered otherwise"
CARRIES = "its answers carry more than one sees"
SHORTENS = "asked for nothing, its answer is"
UNKNOWN = "no copy that had seen nothing before could be asked"
METRICS = ["composition", "reversibility", "commutativity", "truth"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "cache"))


def prepared(toy, metrics=METRICS, limit=24):
    suite = evaluation.prepare(toy.Toy(), "standard", device="cpu").suite.model_copy(update={"resamples": 20})
    return evaluation.prepare(toy.Toy(), suite, device="cpu", metrics=metrics, limit=limit)


@pytest.fixture
def exam(toy):
    return prepared(toy)


def doubts(model, exam, **options):
    """What the record of a model says of its numbers of preservation."""
    contestant = model if isinstance(model, Contestant) else models.foreign("m", model)
    flags = evaluation.evaluate(contestant, exam, **options).record.flags
    return [flag.removeprefix(f"{NOT_SHOWN}: ") for flag in flags if flag.startswith(f"{NOT_SHOWN}: ")]


class Lossy:
    """The toy's causal model without the pixels' noise, so that every answer is two grey levels off."""

    def __init__(self, toy):
        self.scm = toy.exact_scm(keep=0.0)

    def counterfactual(self, factual, interventions, generator=None):
        answer = self.scm.counterfactual(factual, interventions, generator)
        return {**answer, "image": answer["image"].round()}


def key(image):
    return image.round().to(torch.uint8).numpy().tobytes()


def recalled(seen, factual, answer):
    """The photograph behind each image that is an answer of its own; what it is an answer to is remembered."""
    image = answer["image"].clone()
    for place in range(len(image)):
        known = key(factual["image"][place]) in seen
        original = seen.get(key(factual["image"][place]), factual["image"][place])
        seen.setdefault(key(image[place]), original)
        if known:
            image[place] = original
    return {**answer, "image": image}


class Remembering(Lossy):
    """Answers with the photograph itself when its own answer comes back."""

    def __init__(self, toy):
        super().__init__(toy)
        self.seen = {}

    def counterfactual(self, factual, interventions, generator=None):
        return recalled(self.seen, factual, super().counterfactual(factual, interventions, generator))


def test_a_model_that_recognises_its_own_answers_is_flagged(toy, exam):
    for size in (5, 24):
        (doubt, *_) = doubts(Remembering(toy), exam, batch_size=size)
        assert doubt.startswith(REMEMBERS)


@pytest.mark.parametrize("metric", ["composition", "reversibility", "commutativity"])
def test_every_kind_of_follow_up_question_is_asked_again(toy, metric):
    """Each of these metrics asks follow-up questions of its own kind alone."""
    assert any(doubt.startswith(REMEMBERS) for doubt in doubts(Remembering(toy), prepared(toy, [metric])))


def test_a_memory_that_stops_the_loss_later_is_flagged(toy):
    """It keeps no photograph, only what its own smoother answers were answers to: whoever was asked the second null intervention knows
    what to answer to the third."""
    smooth = Lossy(toy)

    class Freezing(Lossy):
        def __init__(self, toy):
            self.scm, self.seen = toy.exact_scm(keep=0.5), {}

        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            grain = (factual["image"] - smooth.counterfactual(factual, {})["image"]).flatten(1).std(1)
            image = answer["image"].clone()
            for place in range(len(image)):
                before = self.seen.get(key(factual["image"][place]))
                if before is not None:
                    image[place] = before
                elif grain[place] < 3:
                    self.seen[key(image[place])] = factual["image"][place].clone()
            return {**answer, "image": image}

    (doubt,) = doubts(Freezing(toy), prepared(toy, ["composition"]))
    assert doubt.startswith(REMEMBERS)


SEEN_BY_MODULE: dict = {}


def remembering_globally(factual, interventions, generator=None):
    import toy

    return recalled(SEEN_BY_MODULE, factual, Lossy(toy).counterfactual(factual, interventions))


def wrapped(function):
    """A function as `counterbench.evaluate` takes it."""
    return models.foreign("m", Wrapped(function), code=function)


def test_a_memory_beside_the_model_is_seen(toy, exam):
    """In a closure, in a default, in a global variable, in a class: nothing of it is in a copy."""
    seen = {}

    def in_closure(factual, interventions, generator=None):
        return recalled(seen, factual, Lossy(toy).counterfactual(factual, interventions))

    def in_default(factual, interventions, generator=None, known={}):  # noqa: B006
        return recalled(known, factual, Lossy(toy).counterfactual(factual, interventions))

    class InClass(Lossy):
        seen = {}

        def counterfactual(self, factual, interventions, generator=None):
            return recalled(self.seen, factual, super().counterfactual(factual, interventions, generator))

    SEEN_BY_MODULE.clear()
    for model in (*map(wrapped, (in_closure, in_default, remembering_globally)), InClass(toy)):
        (doubt, *_) = doubts(model, exam)
        assert doubt.startswith(f"{UNKNOWN}: what its code holds beside it changed while it was asked (")


def test_honest_functions_are_not_flagged(toy, exam):
    lossy, scale = Lossy(toy), torch.ones(3)

    def answer(factual, interventions, generator=None):
        return lossy.counterfactual(
            factual, {name: value * scale[0].to(value.dtype) for name, value in interventions.items()}
        )

    assert doubts(wrapped(answer), exam) == []
    assert doubts(wrapped(lossy.counterfactual), exam) == []


def test_a_model_that_cannot_be_copied_says_so(toy, exam):
    class Held(Lossy):
        def __init__(self, toy):
            super().__init__(toy)
            self.pages = (page for page in ())

    assert doubts(Held(toy), exam) == [
        f"{UNKNOWN}: it cannot be copied (TypeError: \"cannot pickle 'generator' object\")"
    ]


def test_locks_and_data_are_shared_by_copies(toy, exam):
    class Sharing(Lossy):
        def __init__(self, toy):
            super().__init__(toy)
            self.lock, self.dataset = threading.Lock(), exam.dataset

        def counterfactual(self, factual, interventions, generator=None):
            assert self.dataset is exam.dataset
            with self.lock:
                return super().counterfactual(factual, interventions, generator)

    assert doubts(Sharing(toy), exam) == []


class Shortcut(Lossy):
    """Its input where nothing is asked."""

    def counterfactual(self, factual, interventions, generator=None):
        return super().counterfactual(factual, interventions, generator) if interventions else dict(factual)


def test_a_model_that_returns_its_input_where_nothing_is_asked_is_flagged(toy, exam):
    (doubt,) = doubts(Shortcut(toy), exam)
    assert doubt.startswith(f"{SHORTENS} 0 grey levels from the photograph, and 3")

    class Careful(Shortcut):
        """And where a variable is set to the very value that it has."""

        def counterfactual(self, factual, interventions, generator=None):
            same = all(torch.equal(factual[name], value) for name, value in interventions.items())
            return super().counterfactual(factual, {} if same else interventions, generator)

    assert doubts(Careful(toy), exam)[0].startswith(SHORTENS)


class Hiding(Lossy):
    """Hides the pixels' noise, which it loses, in the two lowest bits of its answer, and puts it back where it finds it whole."""

    def counterfactual(self, factual, interventions, generator=None):
        answer = super().counterfactual(factual, interventions, generator)
        lost = factual["image"] - super().counterfactual(factual, {}, generator)["image"]
        image = answer["image"].long()
        for place in range(len(image)):
            levels = found(factual["image"][place].long())
            if levels is None:
                # Of two neighbours, one has what the other lacks.
                levels = (lost[place].flatten()[::2] / 3 + 4).floor().clamp(0, 7).long()
            else:
                noise = 3 * levels - 10
                image[place] += torch.stack([noise, -noise], 1).view_as(image[place])
            image[place] = with_hidden(image[place], levels)
        return {**answer, "image": image.float()}


def with_hidden(image, levels):
    """The nearest image whose two lowest bits say these 32 numbers from 0 to 7, and a check sum of them."""
    content = np.packbits(np.unpackbits(levels.numpy().astype(np.uint8)[:, None], axis=1)[:, 5:]).tobytes()
    bits = np.unpackbits(np.frombuffer(content + zlib.crc32(content).to_bytes(4, "big"), np.uint8)).reshape(-1, 2)
    code = torch.from_numpy((2 * bits[:, 0] + bits[:, 1]).astype(np.int64)).view_as(image)
    return image + (code - image + 2) % 4 - 2


def found(image):
    """The 32 numbers that an image hides; None where it hides none."""
    code = (image.flatten() % 4).numpy().astype(np.uint8)
    content = np.packbits(np.stack([code // 2, code % 2], 1)).tobytes()
    if zlib.crc32(content[:12]) != int.from_bytes(content[12:], "big"):
        return None
    bits = np.unpackbits(np.frombuffer(content[:12], np.uint8)).reshape(-1, 3).astype(np.int64)
    return torch.from_numpy(bits @ np.array([4, 2, 1]))


def test_what_is_hidden_in_low_bits_is_flagged(toy, exam):
    composition = ("composition", "l1", "", "", 10, "l1")
    hiding, lossy = (evaluation.evaluate(models.foreign("m", kind(toy)), exam).record for kind in (Hiding, Lossy))
    assert hiding.by_key[composition].value < 0.7 * lossy.by_key[composition].value
    (doubt,) = doubts(Hiding(toy), exam)
    assert doubt.startswith(CARRIES)


class Scaled(Lossy):
    """Makes every change of brightness that an answer has four times as large, and loses nothing."""

    def counterfactual(self, factual, interventions, generator=None):
        answer = self.scm.counterfactual(factual, interventions, generator)
        return {**answer, "image": (answer["image"] - 128) * 4 + 128}


class Blurred(Lossy):
    def counterfactual(self, factual, interventions, generator=None):
        answer = super().counterfactual(factual, interventions, generator)
        return {**answer, "image": torch.nn.functional.avg_pool2d(answer["image"], 3, 1, 1)}


class Drawing(Lossy):
    """Adds noise of ten grey levels, from the row's own stream."""

    def counterfactual(self, factual, interventions, generator=None):
        answer = super().counterfactual(factual, interventions, generator)
        return {
            **answer,
            "image": answer["image"] + 10 * normal(tuple(answer["image"].shape), generator, answer["image"]),
        }


def test_honest_models_are_not_flagged(toy, exam):
    for model in (Lossy(toy), Scaled(toy), Blurred(toy), Drawing(toy), toy.ExactModel()):
        assert doubts(model, exam) == []
    for keep in (0.0, 0.5, 1.0):
        assert doubts(Contestant("m", toy.exact_scm(keep=keep)), exam) == []


@pytest.mark.parametrize("name", ["vae", "hvae", "gan"])
def test_shipped_models_are_not_flagged(morphomnist, name):
    exam = evaluation.prepare(morphomnist, "standard", device="cpu", metrics=METRICS[:3], limit=16)
    contestant = models.load(name, morphomnist)
    untouched = Untouched(contestant.model)
    taking = Taking(name, contestant, exam.make_metrics(contestant), None, "key")
    session.examine(exam, [taking])
    assert len(taking.judged()) == 10 + 3 + 3 + 4
    assert not_shown(contestant, untouched, exam, taking.judged()) == []


def test_a_retrieval_that_noise_tips_over_in_a_few_images_is_not_flagged(toy, exam):
    """In a few images it answers otherwise wherever there is grain at all, however much."""

    class Tipping(Lossy):
        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            grain = (factual["image"] - answer["image"]).flatten(1).std(1) > 0.5
            brighter = 40 * (grain & (answer["a"] > 1)).float()
            return {**answer, "image": answer["image"] + brighter[:, None, None, None]}

    sampled = exam.dataset.split("test").take(exam.plan.index[exam.sample])["a"] > 1
    assert 0 < sampled.sum() < 4
    assert doubts(Tipping(toy), exam) == []


def test_flagged_models_have_no_rank_in_numbers_of_preservation_alone(toy, exam):
    record = evaluation.evaluate(Contestant("m", Shortcut(toy), pixel_noise="none"), exam).record
    honest = record.model_copy(update={"flags": []})
    for number in record.numbers:
        expected = record.flags[0] if number.preserves and number.role == "headline" else why_not(honest, number)
        assert why_not(record, number) == expected
    assert any(not why_not(honest, number) for number in record.numbers if number.preserves)
    assert record.row_skill is not None
    assert record.flags[0] in footnotes(record)


def test_an_evaluation_that_goes_on_judges_what_was_answered_before(toy, exam, tmp_path, monkeypatch):
    """What a stored chunk was judged by is compared with what a fresh copy says, also by a process that did not ask."""
    monkeypatch.setattr(session, "chunk_size", lambda batch, pixels=1: 10)
    folder = tmp_path / "chunks"
    first = models.foreign("m", Remembering(toy))
    flags = evaluation.evaluate(first, exam, folder=folder).record.flags
    assert len(list(folder.iterdir())) == 3
    assert evaluation.evaluate(models.foreign("m", Remembering(toy)), exam, folder=folder).record.flags == flags
    assert flags[0].removeprefix(f"{NOT_SHOWN}: ").startswith(REMEMBERS)


class Counting:
    """How often each kind of question was asked: (variables that are set, samples)."""

    def __init__(self, toy):
        self.model, self.asked = Lossy(toy), []

    def counterfactual(self, factual, interventions, generator=None):
        self.asked.append(tuple(interventions))
        return self.model.counterfactual(factual, interventions, generator)


def asked_by(toy, metrics, monkeypatch=None):
    model = Counting(toy)
    evaluation.evaluate(Contestant("m", model), prepared(toy, metrics), batch_size=24)
    return model.asked


def test_only_what_metrics_judge_is_asked(toy, monkeypatch):
    """Eight samples are asked about again alone, reversed, twice and in company: eleven calls a question."""
    monkeypatch.setattr(evaluation_module, "not_shown", lambda *given: [])
    asked = asked_by(toy, ["truth"])
    assert asked.count(()) == 1 + 11
    assert len(asked) == 4 + 4 * 11
    asked = asked_by(toy, ["effectiveness"])
    assert (asked.count(()), len(asked)) == (0, 3 + 3 * 11)
    asked = asked_by(toy, ["composition"])
    assert (asked.count(()), len(asked)) == (2 + 11, 2 + 11)  # the second null intervention returns its input
    asked = asked_by(toy, ["reversibility"])
    assert (asked.count(()), len(asked)) == (0, 6 + 3 * 11)


def test_a_few_seeded_samples_are_asked_again(toy):
    first, second = (prepared(toy).sample, prepared(toy, limit=100).sample)
    assert len(first) == len(second) == 8
    assert not torch.equal(first, torch.arange(8))
    assert (second.diff() > 0).all()
    assert len(prepared(toy, limit=3).sample) == 3
