"""The leaderboard only reads: comparisons, ranks, boards, a website. Imports no torch."""

from counterbench.leaderboard.board import Board, Row, build, find

__all__ = ["Board", "Row", "build", "find"]
