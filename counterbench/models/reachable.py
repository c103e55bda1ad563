"""Finds every network and every number that can be reached from a model, through attributes, containers and closures."""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import pickle
import threading
import types
import uuid
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import PurePath

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from counterbench.catalog.cards import Card
from counterbench.datasets.dataset import Dataset
from counterbench.plugins.registry import Registry

_PLAIN = (bool, int, float, complex, str, bytes, type(None), PurePath, slice, range, torch.dtype, torch.device)
_ELSEWHERE = (
    Dataset,
    Card,
    Registry,
    logging.Logger,
    types.ModuleType,
    type(threading.Lock()),
    type(threading.RLock()),
    weakref.ref,
)
"""What has a fingerprint of its own, or none that matters: data, loggers, imported modules, locks."""
_LIBRARIES = ("counterbench", "torch", "builtins")
"""Code that the version in the record tells."""
_MODE = "training"
"""Whether a network is in training mode: every model is asked in evaluation mode."""
_MODAL = (_NormBase, _DropoutNd, nn.RNNBase, nn.MultiheadAttention)
"""Layers of torch that answer otherwise in training mode."""
_MOST = 1_000_000
"""Objects that are looked at."""


def modules_of(model: object) -> list[nn.Module]:
    """The networks of a model: itself, or the outermost ones that can be reached from it."""
    return [value for _, value in _walk(model, enter_networks=False) if isinstance(value, nn.Module)]


@contextmanager
def evaluation_mode(model: object) -> Iterator[bool]:
    """Keep all networks of a model in evaluation mode inside the block; yields whether a layer was switched that answers otherwise
    in training mode (it drops numbers at random, or looks at the whole batch)."""
    training = [layer for network in modules_of(model) for layer in network.modules() if layer.training]
    for layer in training:
        layer.training = False
    try:
        yield any(isinstance(layer, _MODAL) for layer in training)
    finally:
        for layer in training:
            layer.training = True


def state_hash(model: object) -> tuple[str, str]:
    """(hash of everything that a model holds, what could not be seen).

    Args:
        model: any object; attributes, containers, closures and the global variables that its own code names are followed.

    Returns:
        Hexadecimal SHA-256, and an empty string or the path and type of the first part that has no content to be hashed (a handle of a
        compiled library). Then the hash is one that no other process has, so that nothing made by this model is reused.
    """
    digest, unseen = hashlib.sha256(), ""
    for place, value in _walk(model, enter_networks=True):
        content = _content(value)
        if content is None:
            unseen = unseen or f"{place.lstrip('.') or 'the model'}, a {type(value).__name__}"
            content = uuid.uuid4().bytes
        digest.update(f"{place} {type(value).__name__} ".encode() + content)
    return digest.hexdigest(), unseen


def held_by_code(model: object) -> dict[str, str]:
    """What the code that came with a model holds beside the model itself: in closures, defaults, global variables, class attributes.

    Returns:
        Place -> hexadecimal SHA-256 of what lies there; without code, objects of this package, and what has no content that could be seen.
    """
    held = {}
    for place, value, parts in _visit(model, enter_networks=True):
        for name, part in (parts or ()) if isinstance(value, (types.FunctionType, type)) else ():
            digest, unseen = ("", "code") if _is_code(part) or _is_ours(part) else state_hash(part)
            if not unseen:
                held[f"{place}.{name}".lstrip(".")] = digest
    return held


def _is_code(part: object) -> bool:
    return isinstance(part, (types.FunctionType, types.MethodType, type))


def _is_ours(part: object) -> bool:
    """Whether it is an object of this package, such as an exam or a dataset, which may have a cache of its own."""
    return isinstance(part, _ELSEWHERE) or (_package(part) == "counterbench" and not isinstance(part, nn.Module))


def shared_by(model: object) -> list[object]:
    """What a copy of a model shares with it: data, registries, loggers, modules, locks."""
    return [value for _, value, _ in _visit(model, enter_networks=True) if isinstance(value, _ELSEWHERE)]


def _walk(model: object, enter_networks: bool) -> Iterator[tuple[str, object]]:
    """(path, part) of everything that has content: numbers, words, tensors, networks; each object once, in a fixed order."""
    for place, value, parts in _visit(model, enter_networks):
        if parts is None and not isinstance(value, _ELSEWHERE):
            yield place, value


def _visit(model: object, enter_networks: bool) -> Iterator[tuple[str, object, list[tuple[str, object]] | None]]:
    """(path, object, what it is made of or None) of everything that can be reached; each object once, in a fixed order."""
    home, met = _package(model), {}
    home = "" if home in _LIBRARIES else home
    waiting: deque[tuple[str, object]] = deque([("", model)])
    while waiting:
        place, value = waiting.popleft()
        if isinstance(value, _PLAIN):
            yield place, value, None
            continue
        if id(value) in met:
            continue
        met[id(value)] = value  # kept, so that no other object gets its identity
        if len(met) > _MOST:
            yield place, _Unseen(), None
            return
        if isinstance(value, _ELSEWHERE) or (isinstance(value, nn.Module) and not enter_networks):
            yield place, value, None
            continue
        parts = _parts(value, home)
        yield place, value, parts
        waiting.extend((f"{place}.{name}", part) for name, part in parts or ())


class _Unseen:
    """Stands for what was not looked at any more."""

    def __reduce__(self) -> str:
        raise TypeError("there is more")


def _parts(value: object, home: str) -> list[tuple[str, object]] | None:
    """Names and values of what an object is made of; None if it is to be taken as a whole."""
    if isinstance(value, (Tensor, np.ndarray, np.generic, torch.Generator, np.random.Generator)):
        return None
    if isinstance(value, functools.partial):
        return [("function", value.func), ("arguments", value.args), ("options", value.keywords)]
    if isinstance(value, types.MethodType):
        return [("self", value.__self__), ("function", value.__func__)]
    if isinstance(value, (types.FunctionType, type)):
        return _of_code(value, home)
    if isinstance(value, torch.jit.ScriptModule):
        return [("state", dict(value.state_dict())), ("code", value.code)]
    if isinstance(value, Mapping):
        return [(f"key {number}", part) for number, pair in enumerate(value.items()) for part in pair]
    if isinstance(value, (list, tuple, deque)):
        return [(str(number), part) for number, part in enumerate(value)]
    if isinstance(value, AbstractSet):
        return [(str(number), part) for number, part in enumerate(sorted(value, key=repr))]
    own = {name: part for name, part in getattr(value, "__dict__", {}).items() if name != _MODE}
    for family in type(value).__mro__:
        slots = family.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                own[name] = getattr(value, name)
    if not own and not hasattr(value, "__dict__"):
        return None
    return [*own.items(), ("class", type(value))]


def _of_code(code: types.FunctionType | type, home: str) -> list[tuple[str, object]]:
    """What the code that came with the model holds beside its text: closures, defaults, global variables, class attributes."""
    if not home or _package(code) != home:
        return []
    if isinstance(code, type):
        return [
            (f"{family.__name__}.{name}", getattr(part, "__func__", part))
            for family in code.__mro__
            if _package(family) == home
            for name, part in vars(family).items()
            if name != "_abc_impl" and not (name.startswith("__") and name.endswith("__") and not callable(part))
        ]
    cells = zip(code.__code__.co_freevars, code.__closure__ or (), strict=False)
    held = [(name, cell.cell_contents) for name, cell in cells if _filled(cell)]
    defaults: list[tuple[str, object]] = [("defaults", code.__defaults__)]
    defaults += [("keyword defaults", code.__kwdefaults__)] * bool(code.__kwdefaults__)
    return [*held, *vars(code).items(), *defaults, *((name, code.__globals__[name]) for name in _globals(code))]


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True


def _globals(function: types.FunctionType) -> list[str]:
    """Global variables that a function names, also in the functions inside it."""
    names: dict[str, None] = {}
    waiting = [function.__code__]
    while waiting:
        code = waiting.pop()
        names |= dict.fromkeys(code.co_names)
        waiting += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return [name for name in names if name in function.__globals__]


def _package(thing: object) -> str:
    """The package that an object's code belongs to."""
    code = thing if isinstance(thing, (type, types.FunctionType)) else getattr(thing, "__func__", type(thing))
    return str(getattr(inspect.unwrap(code) if callable(code) else code, "__module__", "")).partition(".")[0]


def _content(value: object) -> bytes | None:
    """What decides an object without parts, as bytes; None if nobody can see it."""
    if isinstance(value, Tensor):
        return _of_tensor(value)
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
        return f"{value.dtype.str} {value.shape} ".encode() + np.ascontiguousarray(value).tobytes()
    if isinstance(value, torch.Generator):
        return bytes(value.get_state().numpy())
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state).encode()
    if isinstance(value, _PLAIN):
        return repr(value).encode()
    try:
        return pickle.dumps(value)  # to be hashed; nothing is ever unpickled
    except Exception:  # anybody's object: whatever its own code raises
        return None


def _of_tensor(value: Tensor) -> bytes | None:
    if value.layout != torch.strided or value.device.type == "meta":
        return None
    whole = value.detach().cpu().contiguous().resolve_conj().resolve_neg()
    return f"{whole.dtype} {tuple(whole.shape)} ".encode() + whole.reshape(-1).view(torch.uint8).numpy().tobytes()
