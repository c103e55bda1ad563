"""Modules whose examples need a library that is not installed are left out."""

from __future__ import annotations

import importlib.util

collect_ignore = [] if importlib.util.find_spec("dowhy") else ["counterbench/exchange/gcm_mechanisms.py"]
