"""The causal graph: which variables are direct causes of which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from counterbench.errors import GraphError, short, suggestion

if TYPE_CHECKING:
    import networkx


class CausalGraph:
    """A directed acyclic graph over named variables; parents keep the order in which they were declared.

    Examples:
        >>> graph = CausalGraph({"thickness": [], "intensity": ["thickness"], "image": ["thickness", "intensity"]})
        >>> graph.order
        ('thickness', 'intensity', 'image')
        >>> sorted(graph.descendants("thickness"))
        ['image', 'intensity']
    """

    def __init__(self, parents: Mapping[str, Sequence[str]]):
        self._parents = {name: tuple(listed) for name, listed in parents.items()}
        for name, listed in self._parents.items():
            for parent in listed:
                if parent not in self._parents:
                    raise GraphError(
                        f"{short(name)} has the unknown parent {short(parent)}.{suggestion(parent, self._parents)}"
                    )
            if len(set(listed)) != len(listed):
                raise GraphError(f"{short(name)} lists a parent twice: {', '.join(listed)}.")
        self._reject_cycles()

    def _reject_cycles(self) -> None:
        try:
            TopologicalSorter(self._parents).prepare()
        except CycleError as error:
            cycle = error.args[1]
            raise GraphError(
                f"The graph has a cycle: {' -> '.join(cycle)}. A causal graph must be acyclic; remove one of these arrows."
            ) from None

    @cached_property
    def _digraph(self) -> networkx.DiGraph:
        import networkx

        graph = networkx.DiGraph()
        graph.add_nodes_from(self._parents)
        graph.add_edges_from((parent, name) for name, listed in self._parents.items() for parent in listed)
        return graph

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Names, parents before children, in declaration order where the graph leaves a choice."""
        names, sorter = list(self._parents), TopologicalSorter(self._parents)
        sorter.prepare()
        order: list[str] = []
        ready: list[int] = []  # a heap of positions in the declaration
        while sorter.is_active():
            for name in sorter.get_ready():
                heappush(ready, names.index(name))
            order.append(names[heappop(ready)])
            sorter.done(order[-1])
        return tuple(order)

    def parents(self, name: str) -> tuple[str, ...]:
        """Direct causes, in declaration order."""
        return self._parents[self._known(name)]

    def descendants(self, names: str | Iterable[str]) -> frozenset[str]:
        """Everything that a change of one of `names` can reach, themselves left out."""
        import networkx

        causes = [names] if isinstance(names, str) else list(names)
        effects: set[str] = set()
        for name in causes:
            effects |= networkx.descendants(self._digraph, self._known(name))
        return frozenset(effects - set(causes))

    def separates(self, first: str, second: str, *, given: Iterable[str] = ()) -> bool:
        """Whether two variables are independent in every model of this graph, given others (d-separation).

        Examples:
            >>> fork = CausalGraph({"c": [], "a": ["c"], "b": ["c"]})
            >>> fork.separates("a", "b", given=["c"]), fork.separates("a", "b")
            (True, False)
        """
        import networkx

        held = {self._known(name) for name in given}
        return bool(networkx.is_d_separator(self._digraph, {self._known(first)}, {self._known(second)}, held))

    def _known(self, name: str) -> str:
        if name not in self._parents:
            raise GraphError(f"Unknown variable {short(name)}.{suggestion(name, self._parents)}")
        return name

    @property
    def edges(self) -> list[tuple[str, str]]:
        """(parent, child) pairs."""
        return [(parent, name) for name, listed in self._parents.items() for parent in listed]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._parents)

    def __len__(self) -> int:
        return len(self._parents)

    def __contains__(self, name: object) -> bool:
        return name in self._parents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CausalGraph) and self._parents == other._parents

    def __hash__(self) -> int:
        return hash(tuple(self._parents.items()))

    def __repr__(self) -> str:
        return f"CausalGraph({self._parents!r})"

    def text(self) -> str:
        """One line per variable with causes, for terminals: `thickness, intensity -> image`."""
        lines = [f"{', '.join(listed)} -> {name}" if listed else name for name, listed in self._parents.items()]
        return "\n".join(lines)
