"""Files of pretrained networks that the user fetches once: which, from where, and where they go."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from counterbench.errors import CheckpointError, UnavailableError
from counterbench.storage.files import cache_folder, sha256_of_file


@dataclass(frozen=True)
class Needed:
    """One file, or one folder, that has to be there.

    Args:
        name: of the file or folder.
        url: where it can be had.
        sha256: how its hash begins; "" where there is no pinned one.
        purpose: one phrase.
        package: Python package that reads it.
    """

    name: str
    url: str
    sha256: str
    purpose: str
    package: str


def weights_folder() -> Path:
    """Where pretrained weights are looked for: `$COUNTERBENCH_WEIGHTS`, else `weights` in the cache folder."""
    given = os.environ.get("COUNTERBENCH_WEIGHTS")
    return Path(given).expanduser() if given else cache_folder() / "weights"


def places(needed: Needed) -> list[Path]:
    """Where a file is looked for: our folder, then the one where torch keeps its downloads."""
    hub = os.environ.get("TORCH_HOME") or str(Path.home() / ".cache" / "torch")
    return [weights_folder() / needed.name, Path(hub) / "hub" / "checkpoints" / needed.name]


def find(needed: Needed, space: str) -> Path:
    """Where the file lies.

    Raises:
        UnavailableError: saying where it can be had and where it goes.
        CheckpointError: if it is not the file that it should be.
    """
    for path in places(needed):
        if path.exists():
            if needed.sha256 and not sha256_of_file(path).startswith(needed.sha256):
                raise CheckpointError(
                    f"{path} is not the file that the feature space {space!r} needs (its SHA-256 does not begin with {needed.sha256}); fetch it again from {needed.url}."
                )
            return path
    raise UnavailableError(
        f"the feature space {space!r} needs {needed.name} in {weights_folder()} (from {needed.url}); see: counterbench doctor"
    )


def require_package(needed: Needed, space: str) -> None:
    """Raise UnavailableError unless the package that reads the file is installed."""
    from importlib.util import find_spec

    if find_spec(needed.package) is None:
        raise UnavailableError(
            f"the feature space {space!r} needs the Python package {needed.package!r}: pip install 'counterbench[features]'"
        )
