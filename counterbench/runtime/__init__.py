"""Where it runs: threads and blocks, terminals, progress, versions."""
