"""Whatever draws: grids, sheets, curves, graphs, albums."""
