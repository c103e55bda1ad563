"""Names -> components.

Built-ins are found by file name and imported only when asked for: `mechanisms/vae.py` is the mechanism `vae`. A plug-in
registers with the decorator of its kind, through an entry-point group `counterbench.<kind>` of its own package or through
`--plugin module_or_file.py`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from counterbench.errors import ConfigError, UnknownNameError
from counterbench.plugins import summaries
from counterbench.plugins.extras import install_line, missing_packages
from counterbench.runtime import progress

if TYPE_CHECKING:
    from counterbench.adapters.base import Adapter
    from counterbench.datasets.dataset import Dataset
    from counterbench.discovery.base import Discoverer
    from counterbench.features.base import FeatureSpace
    from counterbench.judges.base import Judge
    from counterbench.mechanisms.base import Mechanism
    from counterbench.metrics.base import Metric
    from counterbench.models.model import Model
    from counterbench.segmenters.base import Segmenter
    from counterbench.training.feeds.base import Feed
    from counterbench.training.objectives.base import MechanismObjective
    from counterbench.training.weightings.base import Weighting

T = TypeVar("T")
Component = TypeVar("Component", bound=Callable[..., Any])


class Registry(Generic[T]):
    """The components of one kind: classes, or functions, of type T.

    Args:
        kind: the singular, as it appears in messages ("mechanism").
        package: the package whose modules are the built-ins, or None where there are none in Python.
        besides: modules of the package that are no component.
        renamed: what a component was once called -> its name.
    """

    def __init__(
        self,
        kind: str,
        package: str | None = None,
        *,
        besides: Collection[str] = (),
        renamed: Mapping[str, str] | None = None,
    ):
        self.kind, self.package, self.besides = kind, package, frozenset(besides)
        self.renamed = dict(renamed or {})
        self._loaded: dict[str, T] = {}
        self._extras: dict[str, str] = {}

    @cached_property
    def _builtins(self) -> dict[str, str]:
        if self.package is None:
            return {}
        package = importlib.util.find_spec(self.package)
        folders = package.submodule_search_locations if package is not None else None
        modules = (module.name for module in pkgutil.iter_modules(folders or []))
        return {name: f"{self.package}.{name}" for name in modules if name not in self.besides}

    @cached_property
    def _plugins(self) -> dict[str, importlib.metadata.EntryPoint]:
        plugins: dict[str, importlib.metadata.EntryPoint] = {}
        for entry in importlib.metadata.entry_points(group=f"counterbench.{self.kind}s"):
            other = plugins.get(entry.name)
            if entry.name in self._builtins or (other is not None and other.value != entry.value):
                owner = "counterbench itself" if other is None else repr(other.value)
                raise ConfigError(
                    f"The {self.kind} {entry.name!r} of {entry.value!r} collides with the one of {owner}; rename it."
                )
            plugins[entry.name] = entry
        return plugins

    def register(self, name: str | None = None, *, extra: str = "") -> Callable[[Component], Component]:
        """Decorator: make a class or function known as `name`.

        Args:
            name: default: the name of its file.
            extra: of this package, without which it cannot be used; see :mod:`counterbench.plugins.extras`.
        """

        def decorate(component: Component) -> Component:
            key = name or component.__module__.rpartition(".")[2]
            home = f"{self.package}.{key}" if self.package else None
            taken = self._loaded.get(key)
            same = taken is not None and _address(taken) == _address(component)
            foreign = key in self._builtins and component.__module__ != home
            if (taken is not None and not same) or foreign:
                raise ConfigError(
                    f"The {self.kind} {key!r} of {component.__module__!r} collides with an existing one; choose another name."
                )
            self._loaded[key] = component  # type: ignore[assignment]
            if extra:
                self._extras[key] = extra
            return component

        return decorate

    def builtins(self) -> list[str]:
        """Names of what this package brings itself, sorted; imports nothing."""
        return sorted(self._builtins)

    def is_builtin(self, name: str) -> bool:
        """Whether `name` is that of a component of this package."""
        return name in self._builtins

    def plugged(self) -> dict[str, T]:
        """The components in use that are not built in."""
        return {name: component for name, component in self._loaded.items() if name not in self._builtins}

    @contextmanager
    def temporarily(self, name: str, component: T | None = None) -> Iterator[None]:
        """Know a component, or what the block registers, as `name` for the length of the block, whatever that name meant before."""
        before = self._loaded.pop(name, None)
        if component is not None:
            self._loaded[name] = component
        try:
            yield
        finally:
            self._loaded.pop(name, None)
            if before is not None:
                self._loaded[name] = before

    def names(self) -> list[str]:
        """Every known name, sorted; imports nothing."""
        return sorted({*self._builtins, *self._plugins, *self._loaded})

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def get(self, name: str) -> T:
        """The component called `name`.

        Raises:
            UnknownNameError: with the closest match and the list. ConfigError: for a plug-in that cannot be imported.
        """
        if name in self.renamed and name not in {*self._loaded, *self._plugins}:
            name = new_name(self.kind, name, self.renamed[name])
        if name not in self._loaded:
            if name in self._builtins:
                importlib.import_module(self._builtins[name])
            elif name in self._plugins:
                entry = self._plugins[name]
                with _importing(f"The {self.kind} {name!r} of the plug-in {entry.value!r}"):
                    self._loaded[name] = entry.load()
        if name not in self._loaded:
            raise UnknownNameError(self.kind, name, self.names())
        return self._loaded[name]

    def extra_of(self, name: str) -> str:
        """The extra without which a component cannot be used, empty if it needs none; a built-in is not imported for it."""
        if name in self._builtins and name not in self._loaded:
            return summaries.extra_of_registered(self._builtins[name])
        return self._extras.get(name, "")

    def lacks(self, name: str) -> str:
        """The command that installs what a component needs and is not there; empty if it can be used."""
        extra = self.extra_of(name)
        return install_line(extra) if extra and missing_packages(extra) else ""

    def summary(self, name: str) -> str:
        """The first line of a component's docstring; a built-in is not imported for it."""
        if name in self._builtins and name not in self._loaded:
            return summaries.of_registered(self._builtins[name])
        return (inspect.getdoc(self.get(name)) or "").split("\n")[0]


def _address(component: Any) -> tuple[str, str]:
    return component.__module__, component.__qualname__


@contextmanager
def _importing(what: str) -> Iterator[None]:
    """Turn whatever somebody's code does while it is imported into one sentence; Ctrl-C stays what it is.

    Raises:
        ConfigError: if the block ends with an exception, sys.exit included.
    """
    try:
        yield
    except (ConfigError, KeyboardInterrupt):
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ConfigError(f"{what}: importing it failed with {reason}") from error


def new_name(kind: str, old: str, new: str) -> str:
    """What was once called `old`; the reader is told that it has another name now.

    Args:
        kind: the singular, as it appears in messages ("mechanism").
    """
    progress.say(f"The {kind} {old!r} is now called {new!r}; the old name still works.")
    return new


mechanisms: Registry[type[Mechanism]] = Registry(
    "mechanism",
    "counterbench.mechanisms",
    besides={"base", "capabilities", "generative_ode", "image_likelihood", "remembering", "unet_ode"},
    renamed={"flow": "spline_flow"},
)
datasets: Registry[type[Dataset]] = Registry(
    "dataset",
    "counterbench.datasets",
    besides={"cache", "dataset", "division", "files", "loading", "matching", "roles", "selection", "source", "split"},
)
metrics: Registry[type[Metric]] = Registry(
    "metric",
    "counterbench.metrics",
    besides={
        "answers",
        "base",
        "cells",
        "on_tensors",
        "perturbation",
        "references",
        "scales",
        "statistics",
        "trained_on",
        "vectors",
    },
)
judges: Registry[type[Judge]] = Registry(
    "judge", "counterbench.judges", besides={"base", "loading", "network", "panel", "sensitivity"}
)
segmenters: Registry[type[Segmenter]] = Registry("segmenter", "counterbench.segmenters", besides={"base", "loading"})
features: Registry[type[FeatureSpace]] = Registry(
    "feature", "counterbench.features", besides={"base", "downloads", "loading", "transformer_folder"}
)
recognisers: Registry[type[FeatureSpace]] = Registry("recogniser", "counterbench.recognisers", besides={"verifier"})
objectives: Registry[type[MechanismObjective[Any]]] = Registry(
    "objective", "counterbench.training.objectives", besides={"base"}
)
weightings: Registry[type[Weighting]] = Registry("weighting", "counterbench.training.weightings", besides={"base"})
feeds: Registry[type[Feed]] = Registry("feed", "counterbench.training.feeds", besides={"base"})
adapters: Registry[type[Adapter]] = Registry(
    "adapter", "counterbench.adapters", besides={"base", "changes", "from_peft", "parts"}
)
discoverers: Registry[type[Discoverer]] = Registry(
    "discoverer",
    "counterbench.discovery",
    besides={"base", "comparison", "hessian", "libraries", "pruning", "storing", "table", "trying"},
)
models: Registry[Callable[[Dataset], Model]] = Registry("model")


def plugin_hashes() -> dict[str, str]:
    """SHA-256 of the source of every component in use that is not built in: "kind name" -> hash."""
    hashes = {}
    for registry in KINDS.values():
        for name, component in registry.plugged().items():
            hashes[f"{registry.kind} {name}"] = source_hash_of(component)
    return dict(sorted(hashes.items()))


def source_hash_of(component: Any) -> str:
    """SHA-256 of the code behind a class or function: its file, or its own lines where it was typed into a notebook.

    Code that cannot be seen gets a name that no other process has, so that nothing made by it is ever reused.
    """
    try:
        source = Path(inspect.getfile(component)).read_bytes()
    except (OSError, TypeError):
        try:
            source = inspect.getsource(component).encode()
        except (OSError, TypeError):
            source = f"{_PROCESS} {component!r}".encode()
    return hashlib.sha256(source).hexdigest()


_PROCESS = uuid.uuid4().hex


KINDS: dict[str, Registry[Any]] = {
    registry.kind: registry
    for registry in (
        mechanisms,
        datasets,
        metrics,
        judges,
        segmenters,
        features,
        recognisers,
        objectives,
        weightings,
        feeds,
        adapters,
        discoverers,
        models,
    )
}


def load_plugin(target: str) -> None:
    """Import a module, or a `.py` file, so that its decorators run.

    Raises:
        ConfigError: if there is no such module or file, or importing it fails.
    """
    path, what = Path(target), f"--plugin {target}"
    if path.suffix != ".py":
        with _importing(what):
            importlib.import_module(target)
        return
    if not path.is_file():
        raise ConfigError(f"{what}: there is no such file.")
    # The last part is the file's own name: that is what a bare `register()` takes.
    name = f"counterbench_plugin_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}.{path.stem}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{what} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importing(what):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
