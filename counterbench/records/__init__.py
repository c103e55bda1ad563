"""A record keeps the evidence: numbers with intervals, totals behind them, and what is needed to trust them. Imports no torch."""
