import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterbench.causal.graph import CausalGraph
from counterbench.errors import GraphError

MORPHO = {"thickness": [], "intensity": ["thickness"], "digit": [], "image": ["thickness", "intensity", "digit"]}


def test_relations():
    graph = CausalGraph(MORPHO)
    assert graph.parents("image") == ("thickness", "intensity", "digit")
    assert graph.descendants("thickness") == {"intensity", "image"}
    assert graph.descendants("digit") == {"image"}
    assert graph.descendants(["thickness", "intensity"]) == {"image"}
    assert ("thickness", "image") in graph.edges


@given(st.integers(2, 7), st.randoms())
def test_order_is_topological_whatever_the_declaration_order(size, random):
    names = [f"v{i}" for i in range(size)]
    parents = {name: [p for p in names[:i] if random.random() < 0.5] for i, name in enumerate(names)}
    shuffled = list(parents.items())
    random.shuffle(shuffled)
    graph = CausalGraph(dict(shuffled))
    seen = set()
    for name in graph.order:
        assert set(parents[name]) <= seen
        seen.add(name)
    reference = networkx.DiGraph([(p, n) for n, listed in parents.items() for p in listed])
    for name in reference:
        assert graph.descendants(name) == networkx.descendants(reference, name)


@pytest.mark.parametrize(
    ("parents", "words"),
    [
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "has a cycle"),
        ({"a": ["a"]}, "has a cycle: a -> a"),
        ({"thickness": [], "image": ["thicknes"]}, "Did you mean 'thickness'?"),
        ({"a": [], "b": ["a", "a"]}, "lists a parent twice"),
    ],
)
def test_impossible_graphs(parents, words):
    with pytest.raises(GraphError) as caught:
        CausalGraph(parents)
    assert words in str(caught.value)


@pytest.mark.parametrize("ask", ["parents", "descendants"])
def test_unknown_variable(ask):
    with pytest.raises(GraphError, match="Did you mean 'digit'"):
        getattr(CausalGraph(MORPHO), ask)("digits")


@given(st.data())
def test_order_is_the_first_in_declaration_order_that_the_graph_allows(data):
    """As networkx sorts."""
    count = data.draw(st.integers(1, 8))
    names = data.draw(st.permutations([f"v{index}" for index in range(count)]))
    rank = {name: index for index, name in enumerate(data.draw(st.permutations(names)))}
    edges = [(a, b) for a in names for b in names if rank[a] < rank[b] and data.draw(st.booleans())]
    graph = CausalGraph({name: [a for a, b in edges if b == name] for name in names})
    reference = networkx.DiGraph(edges)
    reference.add_nodes_from(names)
    assert graph.order == tuple(networkx.lexicographical_topological_sort(reference, key=names.index))
