"""Kinds of variables, and the one place where values are turned into what networks read, and back.

Everywhere outside a mechanism values are *natural*: thickness in pixels, a digit as its class index, an image in grey
levels 0-255. A mechanism works on *encoded* values: roughly [-1, 1] for quantities, one-hot for classes.

| kind        | natural                       | encoded                              |
|-------------|-------------------------------|--------------------------------------|
| continuous  | (N,) float, in `unit`         | (N, 1), [low, high] -> [-1, 1]       |
| binary      | (N,) long, 0 or 1             | (N, 1), 0 or 1                       |
| categorical | (N,) long, 0 .. K-1           | (N, K), one-hot                      |
| ordinal     | (N,) long, 0 .. K-1           | (N, K-1), thermometer                |
| vector      | (N, D) float, in `unit`       | (N, D), each range -> [-1, 1]        |
| image       | (N, C, H, W) float, 0 .. 255  | (N, C, H, W), [-1, 1]                |
| volume      | (N, C, D, H, W), as an image  | (N, C, D, H, W), [-1, 1]             |
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from counterbench.errors import ConfigError, DataError, short

if TYPE_CHECKING:
    import torch
    from torch import Tensor


GREY_LEVELS = "grey levels"
"""The unit of quantities that are grey levels of the image: what changes the image's contrast changes them."""


@dataclass(frozen=True)
class Variable(ABC):
    """One node of a causal graph.

    Examples:
        >>> kinds = Continuous("thickness", 1, 6, "px"), Binary("smile"), Categorical("digit", tuple("0123456789"))
        >>> [variable.size for variable in kinds]
        [1, 1, 10]
    """

    name: str
    kind: ClassVar[str]

    @property
    @abstractmethod
    def size(self) -> int:
        """How many numbers encode one value."""

    @abstractmethod
    def encode(self, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Natural values -> encoded values, of `dtype` (default: torch's default)."""

    @abstractmethod
    def decode(self, encoded: Tensor) -> Tensor:
        """Encoded values -> natural values."""

    @abstractmethod
    def check(self, values: Tensor) -> None:
        """Raise DataError unless these are natural values of this variable."""

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """How far apart two natural values are, (N,), float64: the mean absolute difference over the numbers of a value."""
        return (first.double() - second.double()).abs().reshape(len(first), -1).mean(1)

    def magnitude(self, values: Tensor) -> Tensor:
        """How large natural values are, in the unit of :meth:`distance`, (N,), float64: what rounding is relative to."""
        return values.double().abs().reshape(len(values), -1).amax(1)

    def describe(self) -> str:
        """One phrase: kind, range, unit."""
        return self.kind

    def show(self, value: float) -> str:
        """A natural value in words, for captions."""
        return f"{int(value)}"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DataError(message)


def _finite(variable: Variable, values: Tensor) -> None:
    bad = int((~values.isfinite()).sum()) if values.is_floating_point() else 0
    _require(
        bad == 0, f"{variable.name}: {bad} of {values.numel()} values are NaN or infinite; every value must be finite."
    )


@dataclass(frozen=True)
class Continuous(Variable):
    """A quantity with a range and a unit. The range sets the encoding; values outside it are legal but extrapolate.

    Examples:
        >>> import torch
        >>> thickness = Continuous("thickness", 1, 6, "px")
        >>> thickness.encode(torch.tensor([1.0, 3.5, 6.0])).flatten().tolist()
        [-1.0, 0.0, 1.0]
        >>> thickness.show(2.5)
        '2.5 px'
    """

    low: float
    high: float
    unit: str = ""
    periodic: bool = False
    """Whether the range is one turn, after which the quantity begins again."""
    kind: ClassVar[str] = "continuous"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(
                f"{self.name}: range [{self.low}, {self.high}] is empty; the first number must be smaller."
            )
        if not math.isfinite(self.high - self.low):
            raise ConfigError(f"{self.name}: range [{self.low}, {self.high}] has no width; give two finite numbers.")

    @property
    def size(self) -> int:
        return 1

    def encode(self, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        import torch

        wide = torch.float32 if values.device.type == "mps" else torch.float64  # Apple's GPUs have no doubles
        scaled = 2 * (values.to(wide) - self.low) / (self.high - self.low) - 1
        return scaled.to(dtype or torch.get_default_dtype())[:, None]

    def decode(self, encoded: Tensor) -> Tensor:
        return (encoded[:, 0] + 1) / 2 * (self.high - self.low) + self.low

    def check(self, values: Tensor) -> None:
        _require(
            values.ndim == 1, f"{self.name}: expected one number per sample, shape (N,), got {tuple(values.shape)}."
        )
        _finite(self, values)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """|first - second|, (N,), float64; of a periodic quantity, the shorter way round."""
        apart = super().distance(first, second)
        if not self.periodic:
            return apart
        turn = self.high - self.low
        apart = apart % turn
        return apart.minimum(turn - apart)

    def require_in_range(self, value: float) -> None:
        """Raise DataError for a value that a person asks for and the card excludes."""
        _require(
            self.low <= value <= self.high,
            f"{self.name}={value:g} is outside its range; give a number from {self.low:g} to {self.high:g} {self.unit}".rstrip()
            + ".",
        )

    def describe(self) -> str:
        return f"continuous, {self.low:g} to {self.high:g} {self.unit}".rstrip()

    def show(self, value: float) -> str:
        number = float(value)
        return f"{f'{number:,.0f}' if 1e3 <= abs(number) < 1e7 else f'{number:.3g}'} {self.unit}".rstrip()


@dataclass(frozen=True)
class Vector(Variable):
    """Several quantities that come together, such as the coordinates of a point or the volumes of regions; nobody sets it.

    Examples:
        >>> import torch
        >>> point = Vector("point", (Continuous("x", 0, 60), Continuous("y", 0, 12)))
        >>> point.encode(torch.tensor([[30.0, 12.0]])).tolist(), point.size
        ([[0.0, 1.0]], 2)
    """

    components: tuple[Continuous, ...]
    kind: ClassVar[str] = "vector"

    def __post_init__(self) -> None:
        if not self.components:
            raise ConfigError(f"{self.name}: a vector needs at least one component; give a name and a range for each.")
        if turning := [part.name for part in self.components if part.periodic]:
            raise ConfigError(f"{self.name}: {turning[0]} is periodic; declare it as a variable of its own.")

    @property
    def size(self) -> int:
        return len(self.components)

    def encode(self, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        import torch

        return torch.cat([part.encode(values[:, at], dtype) for at, part in enumerate(self.components)], 1)

    def decode(self, encoded: Tensor) -> Tensor:
        import torch

        return torch.stack([part.decode(encoded[:, at, None]) for at, part in enumerate(self.components)], 1)

    def check(self, values: Tensor) -> None:
        _require(
            tuple(values.shape[1:]) == (self.size,),
            f"{self.name}: expected {self.size} numbers per sample, shape (N, {self.size}), got {tuple(values.shape)}.",
        )
        _finite(self, values)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Mean absolute difference over the numbers, each as a share of its range, (N,), float64."""
        import torch

        apart = self.encode(first, torch.float64) - self.encode(second, torch.float64)
        return apart.abs().mean(1) / 2

    def magnitude(self, values: Tensor) -> Tensor:
        """The largest number, as a share of the width of its range, (N,), float64."""
        import torch

        widths = torch.tensor([part.high - part.low for part in self.components], dtype=torch.float64)
        return (values.double().abs() / widths.to(values.device)).amax(1)

    def describe(self) -> str:
        parts = ", ".join(f"{part.name} {part.low:g} to {part.high:g}" for part in self.components)
        return f"vector of {self.size}: {parts} {self.components[0].unit}".rstrip()


@dataclass(frozen=True)
class _Discrete(Variable):
    """Shared by the kinds that take one of finitely many values."""

    @property
    @abstractmethod
    def cardinality(self) -> int:
        """How many values there are."""

    def check(self, values: Tensor) -> None:
        _require(
            values.ndim == 1, f"{self.name}: expected one class per sample, shape (N,), got {tuple(values.shape)}."
        )
        _finite(self, values)
        outside = int(((values < 0) | (values >= self.cardinality) | (values != values.long())).sum())
        _require(
            outside == 0,
            f"{self.name}: {outside} of {values.numel()} values are not classes; expected whole numbers 0 to {self.cardinality - 1}.",
        )

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """1 where the classes differ, else 0, (N,), float64."""
        return (first != second).double()


@dataclass(frozen=True)
class Binary(_Discrete):
    """Yes or no.

    Examples:
        >>> import torch
        >>> Binary("smile").encode(torch.tensor([0, 1])).tolist()
        [[0.0], [1.0]]
    """

    kind: ClassVar[str] = "binary"

    @property
    def cardinality(self) -> int:
        return 2

    @property
    def size(self) -> int:
        return 1

    def encode(self, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        import torch

        return values.to(dtype or torch.get_default_dtype())[:, None]

    def decode(self, encoded: Tensor) -> Tensor:
        return (encoded[:, 0] > 0.5).long()


@dataclass(frozen=True)
class Categorical(_Discrete):
    """One of several classes without an order.

    Examples:
        >>> import torch
        >>> Categorical("hair", ("bald", "short", "long")).encode(torch.tensor([2])).tolist()
        [[0.0, 0.0, 1.0]]
    """

    classes: tuple[str, ...] = field(default=())
    kind: ClassVar[str] = "categorical"

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ConfigError(
                f"{self.name}: {len(self.classes)} classes given; a {self.kind} variable needs at least two."
            )
        if twice := [name for place, name in enumerate(self.classes) if name in self.classes[:place]]:
            raise ConfigError(
                f"{self.name}: the class {short(twice[0])} is given twice; each class needs its own name."
            )

    @property
    def cardinality(self) -> int:
        return len(self.classes)

    @property
    def size(self) -> int:
        return len(self.classes)

    def encode(self, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        import torch
        from torch.nn.functional import one_hot

        return one_hot(values.long(), self.cardinality).to(dtype or torch.get_default_dtype())

    def decode(self, encoded: Tensor) -> Tensor:
        return encoded.argmax(dim=1)

    def describe(self) -> str:
        return f"{self.kind}, {self.cardinality} classes"

    def show(self, value: float) -> str:
        return self.classes[int(value)]


@dataclass(frozen=True)
class Ordinal(Categorical):
    """One of several classes with an order, encoded as a thermometer: level k switches on the first k bits.

    Examples:
        >>> import torch
        >>> Ordinal("apoe", ("none", "one", "two")).encode(torch.tensor([0, 1, 2])).tolist()
        [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    """

    kind: ClassVar[str] = "ordinal"

    @property
    def size(self) -> int:
        return len(self.classes) - 1

    def encode(self, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        import torch

        thresholds = torch.arange(1, self.cardinality, device=values.device)
        return (values.long()[:, None] >= thresholds).to(dtype or torch.get_default_dtype())

    def decode(self, encoded: Tensor) -> Tensor:
        return (encoded > 0.5).sum(dim=1)


@dataclass(frozen=True, init=False)
class Image(Variable):
    """Pixels in grey levels 0 to 255, as floats: never unsigned bytes, whose differences wrap around.

    Args:
        name: of the variable.
        shape: channels, height and width; of a volume channels, depth, height and width.

    Examples:
        >>> import torch
        >>> image = Image("image", 1, 1, 3)
        >>> image.encode(torch.tensor([[[[0.0, 127.5, 255.0]]]])).flatten().tolist()
        [-1.0, 0.0, 1.0]
    """

    shape: tuple[int, ...]
    kind: ClassVar[str] = "image"

    def __init__(self, name: str, *shape: int):
        if len(shape) not in (3, 4) or min(shape) < 1:
            raise ConfigError(
                f"{name}: shape {list(shape)} is not that of an image; give [channels, height, width], or [channels, depth, height, "
                "width] of a volume."
            )
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "shape", shape)

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def spatial(self) -> tuple[int, ...]:
        """(height, width), or (depth, height, width) of a volume, in pixels."""
        return self.shape[1:]

    @property
    def height(self) -> int:
        """Of a picture, in pixels.

        Raises:
            ConfigError: for a volume, which whoever asks for it cannot treat.
        """
        return self._plane[0]

    @property
    def width(self) -> int:
        """Of a picture, in pixels; see :attr:`height`."""
        return self._plane[1]

    @property
    def _plane(self) -> tuple[int, int]:
        if len(self.spatial) != 2:
            raise ConfigError(
                f"{self.name}: {self._sides} is a volume; a picture, [channels, height, width], is needed here."
            )
        return self.spatial[0], self.spatial[1]

    @property
    def _sides(self) -> str:
        return " x ".join(map(str, self.shape))

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def encode(self, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        import torch

        return values.to(dtype or torch.get_default_dtype()) / 127.5 - 1

    def decode(self, encoded: Tensor) -> Tensor:
        return (encoded + 1) * 127.5

    def check(self, values: Tensor) -> None:
        _require(
            tuple(values.shape[1:]) == self.shape,
            f"{self.name}: expected images of shape (N, {', '.join(map(str, self.shape))}), got {tuple(values.shape)}.",
        )
        _finite(self, values)

    def describe(self) -> str:
        return f"image, {self._sides}, grey levels 0 to 255"
