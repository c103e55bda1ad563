"""How a check is run, and what it says."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import counterbench
from counterbench.errors import CounterbenchError

Check = Callable[[Any], None]


class BrokenError(Exception):
    """A promise that is not kept; the message says what would keep it."""


class NotAskedError(Exception):
    """A check that has nothing to look at here; the message says why."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        title: what was checked.
        subject: on what, e.g. the variable that a mechanism models.
        status: of the promise.
        advice: what is wrong and what would be right, or why nothing was checked.
    """

    title: str
    subject: str
    status: Literal["ok", "broken", "not asked"]
    advice: str = ""


def require(kept: object, advice: str) -> None:
    """Raise :class:`BrokenError` with the advice unless `kept`."""
    if not kept:
        raise BrokenError(advice)


def run(checks: Iterable[Check], made: Any, subject: str) -> Iterator[Finding]:
    """Run checks on one thing; a mistake in somebody's code is a finding, not a crash."""
    for check in checks:
        title = (check.__doc__ or check.__name__).split("\n")[0].rstrip(".")
        try:
            with torch.random.fork_rng(devices=[]):
                check(made)
        except NotAskedError as why:
            yield Finding(title, subject, "not asked", str(why))
        except (BrokenError, CounterbenchError) as wrong:
            yield Finding(title, subject, "broken", str(wrong))
        except Exception as error:
            yield Finding(title, subject, "broken", told(error))
        else:
            yield Finding(title, subject, "ok")


def told(error: BaseException) -> str:
    """An exception in one sentence, with the line of the user's own code that it comes from."""
    own = str(Path(counterbench.__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [
        frame for frame in frames if not frame.filename.startswith(own) and "/site-packages/" not in frame.filename
    ]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {error}{where}"


def same(first: Tensor, second: Tensor, *, tolerance: float = 1e-5) -> bool:
    """Whether two tensors agree up to rounding, NaN where the other is NaN."""
    return first.shape == second.shape and torch.allclose(
        first.double(), second.double(), rtol=tolerance, atol=tolerance, equal_nan=True
    )


def unlike(first: Mapping[str, Tensor], second: Mapping[str, Tensor], *, tolerance: float = 1e-5) -> list[str]:
    """Names under which two groups of tensors differ."""
    return [name for name in first if name not in second or not same(first[name], second[name], tolerance=tolerance)]
