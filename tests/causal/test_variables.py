import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterbench.causal.variables import Binary, Categorical, Continuous, Image, Ordinal, Vector
from counterbench.errors import ConfigError, DataError

CLASSES = ("x", "y", "z", "w")


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8), st.floats(-10, 0), st.floats(0.5, 10))
def test_continuous_round_trip(values, low, width):
    variable = Continuous("v", low, low + width, "px")
    natural = torch.tensor(values, dtype=torch.float64)
    encoded = variable.encode(natural, torch.float64)
    assert encoded.shape == (len(values), 1)
    assert torch.allclose(variable.decode(encoded), natural, atol=1e-9)


def test_continuous_range_maps_to_unit_interval():
    variable = Continuous("v", 64, 255)
    assert variable.encode(torch.tensor([64.0, 159.5, 255.0]))[:, 0].tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("variable", [Binary("v"), Categorical("v", CLASSES), Ordinal("v", CLASSES)])
def test_discrete_round_trip_of_every_value(variable):
    values = torch.arange(variable.cardinality)
    encoded = variable.encode(values)
    assert encoded.shape == (variable.cardinality, variable.size)
    assert torch.equal(variable.decode(encoded), values)


def test_a_vector_scales_each_of_its_numbers_by_its_own_range():
    point = Vector("point", (Continuous("x", 0, 60), Continuous("y", 0, 12)))
    natural = torch.tensor([[0.0, 12.0], [30.0, 3.0]])
    encoded = point.encode(natural)
    assert encoded.tolist() == [[-1.0, 1.0], [0.0, -0.5]]
    assert torch.allclose(point.decode(encoded), natural)
    # 6 of 60 and 3 of 12, in the mean.
    assert point.distance(natural, natural + torch.tensor([6.0, -3.0])).tolist() == pytest.approx([0.175, 0.175])
    assert "x 0 to 60, y 0 to 12" in point.describe()
    with pytest.raises(ConfigError, match="at least one component"):
        Vector("point", ())


def test_ordinal_is_a_thermometer_in_which_no_two_levels_collide():
    encoded = Ordinal("v", CLASSES).encode(torch.arange(4))
    assert encoded.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_image_round_trip_of_every_grey_level():
    variable = Image("v", 1, 16, 16)
    levels = torch.arange(256.0).view(1, 1, 16, 16)
    encoded = variable.encode(levels)
    assert (encoded.min(), encoded.max()) == (-1.0, 1.0)
    assert torch.allclose(variable.decode(encoded), levels, atol=1e-4)


@pytest.mark.parametrize(
    ("variable", "bad", "words"),
    [
        (Continuous("v", 0, 1), torch.tensor([0.5, torch.nan]), "1 of 2 values are NaN"),
        (Continuous("v", 0, 1), torch.zeros(2, 1), "shape (N,)"),
        (Categorical("v", CLASSES), torch.tensor([0, 4]), "whole numbers 0 to 3"),
        (Binary("v"), torch.tensor([0.5]), "whole numbers 0 to 1"),
        (
            Vector("v", (Continuous("a", 0, 1),)),
            torch.zeros(2, 3),
            "expected 1 numbers per sample, shape (N, 1), got (2, 3)",
        ),
        (Vector("v", (Continuous("a", 0, 1),)), torch.tensor([[torch.inf]]), "1 of 1 values are NaN or infinite"),
        (Image("v", 1, 4, 4), torch.zeros(2, 3, 4, 4), "(N, 1, 4, 4), got (2, 3, 4, 4)"),
        (Image("v", 1, 4, 4), torch.zeros(2, 1, 4, 4, 4), "(N, 1, 4, 4), got (2, 1, 4, 4, 4)"),
        (Image("v", 1, 2, 4, 4), torch.zeros(2, 1, 4, 4), "(N, 1, 2, 4, 4), got (2, 1, 4, 4)"),
        (Image("v", 1, 2, 2), torch.full((1, 1, 2, 2), torch.inf), "4 of 4 values are NaN or infinite"),
    ],
)
def test_check_says_what_is_wrong(variable, bad, words):
    with pytest.raises(DataError) as caught:
        variable.check(bad)
    assert words in str(caught.value)


def test_images_have_two_sides_and_volumes_three():
    picture, volume = Image("v", 3, 4, 5), Image("v", 1, 2, 4, 5)
    assert (picture.shape, picture.channels, picture.spatial, picture.size) == ((3, 4, 5), 3, (4, 5), 60)
    assert (picture.height, picture.width) == (4, 5)
    assert (volume.shape, volume.channels, volume.spatial, volume.size) == ((1, 2, 4, 5), 1, (2, 4, 5), 40)
    assert picture.describe() == "image, 3 x 4 x 5, grey levels 0 to 255"
    assert volume.describe() == "image, 1 x 2 x 4 x 5, grey levels 0 to 255"
    values = torch.arange(80.0).view(2, 1, 2, 4, 5)
    volume.check(values)
    assert torch.allclose(volume.decode(volume.encode(values)), values, atol=1e-4)
    assert picture == Image("v", 3, 4, 5)
    assert len({picture, Image("v", 3, 4, 5), Image("v", 3, 5, 4), volume}) == 3


@pytest.mark.parametrize("side", ["height", "width"])
def test_whoever_needs_a_picture_says_so_of_a_volume(side):
    with pytest.raises(
        ConfigError, match=r"^v: 1 x 2 x 4 x 5 is a volume; a picture, \[channels, height, width\], is needed"
    ):
        getattr(Image("v", 1, 2, 4, 5), side)


@pytest.mark.parametrize("shape", [(), (1,), (4, 4), (1, 2, 3, 4, 5), (1, 0, 4)])
def test_shapes_that_no_image_has(shape):
    with pytest.raises(ConfigError, match=r"is not that of an image; give \[channels, height, width\], or"):
        Image("v", *shape)


def test_out_of_range_request_names_the_range():
    with pytest.raises(DataError, match=r"thickness=45 .* from 0.5 to 7 px"):
        Continuous("thickness", 0.5, 7, "px").require_in_range(45)


def test_declarations_that_make_no_sense():
    with pytest.raises(ConfigError, match="empty"):
        Continuous("v", 2, 1)
    with pytest.raises(ConfigError, match="at least two"):
        Categorical("v", ("only",))
    with pytest.raises(ConfigError, match="the class 'x' is given twice"):
        Categorical("v", ("x", "y", "x"))
    with pytest.raises(ConfigError, match="two finite numbers"):
        Continuous("v", 0, float("inf"))


def test_values_in_words():
    assert Continuous("v", 0, 2000, unit="mL").show(1153.2) == "1,153 mL"
    assert Continuous("v", 0, 2000, unit="mL").show(88.27) == "88.3 mL"
    assert Continuous("v", 0, 1).show(0.0123) == "0.0123"
