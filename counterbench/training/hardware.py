"""Where a training computes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """Where and how to compute.

    Args:
        device: cpu, cuda, mps, or auto.
        devices: how many.
        precision: Lightning's word for it: 32-true or bf16-mixed (half precision that needs no scaling of the loss).
    """

    device: str = "auto"
    devices: int = 1
    precision: str = "32-true"

    @property
    def accelerator(self) -> str:
        """Lightning's word for the kind of device."""
        return "gpu" if self.device.startswith("cuda") else self.device.partition(":")[0]

    @property
    def indices(self) -> int | list[int]:
        """How many devices, or which one (cuda:1)."""
        _, colon, number = self.device.partition(":")
        return [int(number)] if colon and self.devices == 1 else self.devices
