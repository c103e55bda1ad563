"""Everything that draws: grids, sheets, curves, graphs, albums."""
