import pytest
import torch
from scipy import stats

from counterbench.causal.chance import SampleNoise, gumbel, normal, uniform
from counterbench.errors import DataError

LIKE = torch.empty(0)


def test_a_sample_draws_the_same_in_any_company():
    together = SampleNoise(0, ["a", "b", "c"])
    alone = SampleNoise(0, ["b"])
    for _ in range(3):  # streams advance alike
        assert torch.equal(together.normal(4, 2)[1], alone.normal(4, 2)[0])
    assert torch.equal(together.uniform(5)[1], alone.uniform(5)[0])


def test_seeds_and_keys_matter():
    first = SampleNoise(0, ["a"]).normal(100)
    assert not torch.equal(first, SampleNoise(1, ["a"]).normal(100))
    assert not torch.equal(first, SampleNoise(0, ["b"]).normal(100))


def test_distributions():
    noise = SampleNoise(0, range(3000))
    assert stats.kstest(noise.normal().numpy(), "norm").pvalue > 0.01
    assert stats.kstest(noise.uniform().numpy(), "uniform").pvalue > 0.01
    drawn = gumbel((5000,), torch.Generator().manual_seed(0), LIKE)
    assert stats.kstest(drawn.numpy(), "gumbel_r").pvalue > 0.01
    assert gumbel((10**5,), torch.Generator().manual_seed(1), LIKE).isfinite().all()


def test_dtype_follows():
    like = torch.empty(0, dtype=torch.float64)
    for generator in (torch.Generator(), SampleNoise(0, range(3))):
        assert normal((3, 2), generator, like).dtype == torch.float64
        assert normal((3, 2), generator, LIKE).dtype == torch.float32
        assert uniform((3,), generator).shape == (3,)


def test_streams_must_match_samples():
    with pytest.raises(DataError, match="2 noise streams were given for 3 samples"):
        normal((3,), SampleNoise(0, ["a", "b"]), LIKE)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    normal((5,), torch.Generator().manual_seed(3), LIKE)
    SampleNoise(0, range(5)).normal(2)
    assert torch.equal(before, torch.get_rng_state())
