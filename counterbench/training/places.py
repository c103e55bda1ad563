"""Where a training is kept, and whether another one may begin there. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from counterbench.errors import CheckpointError
from counterbench.storage.files import MANIFEST, UNFINISHED

MARKER = f"{UNFINISHED}/plan.json"
"""In the folder of a training that has begun: what it is."""


def require_free(output: Path, resume: bool) -> None:
    """Refuse a folder that holds something else than what is asked for, before any data is loaded.

    Args:
        output: the folder.
        resume: whether an interrupted training is to go on there.

    Raises:
        CheckpointError: if a trained model is there, or an interrupted training that is not to go on.
    """
    if (output / MANIFEST).exists():
        raise CheckpointError(f"{output} already holds a trained model; choose another --output, or remove it first.")
    if (output / MARKER).exists():
        if not resume:
            raise CheckpointError(
                f"{output} holds an interrupted training; add --resume to go on with it, or remove the folder."
            )
    elif any(not path.name.startswith(".") for path in (output / UNFINISHED).glob("*")):
        raise CheckpointError(
            f"{output / UNFINISHED} holds something unfinished, but no {Path(MARKER).name} that says which training it is of. "
            "Remove that folder, or choose another --output."
        )
