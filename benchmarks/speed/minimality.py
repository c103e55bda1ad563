"""Counterfactual latent divergence: our grouped matrix products against the formula written as loops over pairs.

    python benchmarks/speed/minimality.py

Prints seconds per query of both in one run, their ratio, the time for 10,000 queries against 60,000 references, and the
memory that this took beyond the data themselves. The loop is run on few queries: on all of them it would take hours.
"""

from __future__ import annotations

import resource
import time

import torch
from torch import Tensor

from counterbench.metrics.minimality import Neighbourhood
from counterbench.networks.normal import normal_divergence

QUERIES, REFERENCES, LATENT, GROUPS, FEW = 10_000, 60_000, 16, 10, 3


def posteriors(count: int, generator: torch.Generator) -> Tensor:
    """(count, 2 latent), mean and log standard deviation."""
    return torch.cat(
        [torch.randn(count, LATENT, generator=generator), torch.randn(count, LATENT, generator=generator) / 3 - 1], 1
    )


def literal(query: Tensor, group: int, divergence: float, references: Tensor, groups: Tensor) -> float:
    """The share, pair by pair."""
    hits, count = 0, 0
    for j in range(len(references)):
        if int(groups[j]) == group:
            mean, log_scale = references[j].double().chunk(2)
            own_mean, own_log_scale = query.double().chunk(2)
            distance = normal_divergence(mean, log_scale, other_mean=own_mean, other_log_scale=own_log_scale)
            hits, count = hits + bool(distance <= divergence), count + 1
    return hits / count


def peak() -> float:
    """Largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    generator = torch.Generator().manual_seed(0)
    references, queries = posteriors(REFERENCES, generator), posteriors(QUERIES, generator)
    groups = torch.randint(GROUPS, (REFERENCES,), generator=generator)
    asked = torch.randint(GROUPS, (QUERIES,), generator=generator)
    divergence = 40 * torch.rand(QUERIES, generator=generator)
    before, begun = peak(), time.perf_counter()
    neighbourhood = Neighbourhood(references, groups)
    found = neighbourhood.share(queries, asked, divergence, below=True)
    neighbourhood.share(queries, (asked + 1) % GROUPS, divergence, below=False)
    ours = time.perf_counter() - begun
    begun = time.perf_counter()
    for i in range(FEW):
        expected = literal(queries[i], int(asked[i]), float(divergence[i]), references, groups)
        assert abs(expected - float(found[i])) < 1e-9
    loop = (time.perf_counter() - begun) / FEW
    print(f"{QUERIES:,} queries, {REFERENCES:,} references, both shares: {ours:.1f} s, {peak() - before:.0f} MB more")
    print(f"a matrix of all pairs would take {8 * QUERIES * REFERENCES / 2**20:,.0f} MB")
    print(f"per query and share: ours {ours / QUERIES / 2 * 1e3:.3f} ms, pair by pair {loop * 1e3:.0f} ms")
    print(f"ratio: {loop / (ours / QUERIES / 2):,.0f}x, same shares")


if __name__ == "__main__":
    main()
