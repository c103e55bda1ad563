"""How far the order of rows by the estimate agrees with their order by the truth, as measured on rendered data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

from pydantic import Field, TypeAdapter

from counterbench.catalog import section
from counterbench.catalog.reading import Declaration

RESULT = "estimate.json"
SHORTCUT = "null = input"
"""How the names of rows end that answer null with their input."""


class Agreement(Declaration):
    """Two orders of the same rows on one rendered source, and Kendall's tau between them.

    Examples:
        >>> sorted(measured_agreement())
        ['adni', 'celeba-complex', 'celeba-simple', 'morphomnist']
    """

    source: str
    images: int = Field(ge=1)
    """Test images that were asked about."""
    interventions: list[str]
    """Those that have a true and an estimated skill, and change more than a grey level."""
    rows: dict[str, tuple[float, float]]
    """Row -> its row skill by truth and by the estimate."""
    tau: tuple[float, float, float]
    """Over all rows but those that answer null with their input: value and 95 % interval."""
    exact: tuple[float, float, float]
    """Among learned rows that answer null with the photograph itself."""
    half: float
    """tau with half the typical change as the scale of the estimate."""
    double: float
    """tau with twice the typical change."""
    null_loss_only: float
    """tau where the loss of going there and back does not count."""
    with_shortcuts: float
    """tau with the rows that answer null with their input."""

    @property
    def compared(self) -> int:
        """How many rows tau is over."""
        return sum(SHORTCUT not in row for row in self.rows)


_FILE = TypeAdapter(dict[str, Agreement])


@cache
def measured_agreement() -> Mapping[str, Agreement]:
    """Dataset -> what was measured on its rendered source; see docs/estimate.py."""
    content = (section("benchmarks") / RESULT).read_text(encoding="utf-8")
    return _FILE.validate_python(json.loads(content))
