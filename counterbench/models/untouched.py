"""A model as it was before it was first asked: whoever asks a copy of it asks somebody who has seen nothing."""

from __future__ import annotations

import copy

from counterbench.errors import short
from counterbench.models.model import Model
from counterbench.models.reachable import held_by_code, shared_by


class Untouched:
    """Copies of a model that have seen nothing that was asked since.

    A copy has everything that the model holds, networks too, but for the data that it was made from. What its code holds beside it (in
    closures, defaults, global variables and class attributes) cannot be copied; it is watched instead.

    Args:
        model: before its first question.
        code: what was given, where `model` wraps it.

    Examples:
        >>> from counterbench.models.scm import StructuralCausalModel
        >>> from counterbench.causal.graph import CausalGraph
        >>> model = StructuralCausalModel(CausalGraph({}), [])
        >>> untouched = Untouched(model)
        >>> untouched.problem, untouched.copy() is model
        ('', False)
    """

    def __init__(self, model: Model, *, code: object = None):
        self._code = model if code is None else code
        self._held = held_by_code(self._code)
        self._copy, self._uncopied = None, ""
        try:
            self._shared = shared_by(model)
            self._copy = self._copied(model)
        except Exception as error:  # anybody's object: whatever its own code raises
            self._uncopied = f"it cannot be copied ({type(error).__name__}: {short(str(error))})"

    @property
    def problem(self) -> str:
        """Why there is no copy that has seen nothing; empty if there is one."""
        if self._uncopied:
            return self._uncopied
        now = held_by_code(self._code)
        moved = [place for place in now.keys() | self._held.keys() if now.get(place) != self._held.get(place)]
        if not moved:
            return ""
        return f"what its code holds beside it changed while it was asked ({short(min(moved))}), which no copy has for itself"

    def copy(self) -> Model:
        """A copy that has seen nothing; call it where there is no problem."""
        assert self._copy is not None
        return self._copied(self._copy)

    def _copied(self, model: Model) -> Model:
        # What is shared is the same object in every copy.
        return copy.deepcopy(model, {id(one): one for one in self._shared})
