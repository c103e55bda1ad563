import torch

from counterbench.training.judge_images import joined_images, with_counterfactuals


def test_true_counterfactuals_come_after_the_images_with_the_values_that_they_show(toy):
    dataset = toy.Toy()
    values = joined_images([dataset], "judge", "image", "a", "b")
    count = len(values["a"])
    more = with_counterfactuals([dataset], "judge", values, ["a", "b"], copies=2, seed=3)
    assert {name: len(value) for name, value in more.items()} == {"image": 3 * count, "a": 3 * count, "b": 3 * count}
    for name, value in values.items():
        assert torch.equal(more[name][:count], value)
    # Every copy has the values of all others in another order, and its images are what the process makes of them.
    first = more["a"][count : 2 * count]
    assert torch.equal(first.sort().values, values["a"].sort().values)
    assert not torch.equal(first, values["a"])
    assert not torch.equal(first, more["a"][2 * count :])
    rows = torch.arange(5)
    truth = dataset.truth("judge", rows, {"a": first[:5], "b": more["b"][count : count + 5]})
    assert torch.equal(more["image"][count : count + 5].float(), truth["image"].to(values["image"].dtype).float())
    again = with_counterfactuals([dataset], "judge", values, ["a", "b"], copies=2, seed=3)
    assert torch.equal(again["a"], more["a"])


def test_without_copies_nothing_is_added(toy):
    values = joined_images([toy.Toy()], "judge", "image", "a")
    assert len(with_counterfactuals([toy.Toy()], "judge", values, ["a"], copies=0, seed=0)["a"]) == len(values["a"])
