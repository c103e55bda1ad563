"""A reading depends on the image alone."""

import pytest
import torch

from counterbench import judges
from counterbench.features.pixel import Pixel
from counterbench.runtime.blocks import BLOCK, in_blocks, one_thread


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_every_block_has_the_same_size_and_rows_stay_in_their_place(count):
    sizes = []

    def look(images, other):
        sizes.append(len(images))
        return images[:, 0] + other[:, 0]

    images = torch.arange(count * 2.0).view(count, 2)
    assert torch.equal(in_blocks(look, images, images), 2 * images[:, 0])
    assert set(sizes) == {BLOCK}


def test_nothing_to_look_at():
    assert in_blocks(lambda images: images.flatten(1), torch.empty(0, 1, 4, 4)).shape == (0, 16)


def test_one_thread_inside_and_as_before_afterwards():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == before


def test_readings_are_equal_to_the_last_bit_alone_in_company_and_on_several_threads(morphomnist):
    images = morphomnist.split("test").take(slice(0, 40))["image"]
    panels = judges.load(morphomnist.card, morphomnist.source)
    before = torch.get_num_threads()
    seen = []
    try:
        for threads, size in ((1, 40), (2, 7), (2, 1)):
            torch.set_num_threads(threads)
            parts = [judges.measure_all(panels, part) for part in images.split(size)]
            seen.append({name: torch.cat([part[name].members for part in parts], 1) for name in panels})
    finally:
        torch.set_num_threads(before)
    for other in seen[1:]:
        assert all(torch.equal(other[name], value) for name, value in seen[0].items())
    assert torch.equal(Pixel().extract(images)[3:4], Pixel().extract(images[3:4]))
