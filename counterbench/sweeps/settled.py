"""Imported last by the process that commands are forked from: what it holds stays shared, for no collection of garbage touches it again."""

import gc

gc.freeze()
