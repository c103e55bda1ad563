"""Which graph the attributes themselves suggest: methods that find one, and how it compares with a known one."""

from counterbench.discovery.base import Discoverer, Found
from counterbench.discovery.table import Observations
from counterbench.discovery.trying import Discovery, discover

__all__ = ["Discoverer", "Discovery", "Found", "Observations", "discover"]
