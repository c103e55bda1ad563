"""MONAI bundles: a network and its weights from a folder, without running anything that the folder says.

A bundle (MONAI Bundle specification) is a folder with `configs/inference.json` or `.yaml`, usually `configs/metadata.json`, and `models/model.pt`,
`models/model.safetensors` or a scripted `models/model.ts`. Of its configuration only what a network is made of is read.
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from counterbench.errors import CheckpointError, ConfigError, short
from counterbench.networks.monai_networks import monai_networks

_CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
_ROOMS = ("monai.networks", "torch.nn")
"""Where a class may come from."""
_SCHEDULERS = ("scheduler", "noise_scheduler")
WEIGHTS = ("model.safetensors", "model.pt", "model.ts")
"""Names of weight files, in the order in which they are looked for."""


@dataclass(frozen=True)
class Bundle:
    """A folder that has been read, of which nothing has been made.

    Args:
        folder: of the bundle.
        config: of inference, as plain data.
    """

    folder: Path
    config: Mapping[str, Any]

    def network(self, name: str) -> Any:
        """The network that the configuration calls `name`, with its weights; a scripted one is taken as it is.

        Raises:
            UnavailableError: without the extra `monai`. ConfigError: for a configuration that would run code, or names no network.
            CheckpointError: for weights that are missing, damaged or of another network.
        """
        weights = self._weights
        if weights.suffix == ".ts":
            return _scripted(weights)
        network = self.made(name)
        if not isinstance(network, nn.Module):
            raise ConfigError(f"{self.folder}: {name!r} makes a {type(network).__name__}, which is no network.")
        _take(network, weights)
        return network

    def scheduler(self) -> Any:
        """The noise schedule that the configuration names `scheduler` or `noise_scheduler`.

        Raises:
            ConfigError: if there is none.
        """
        name = next((name for name in _SCHEDULERS if name in self.config), None)
        if name is None:
            raise ConfigError(
                f"{self.folder}: the configuration names no `scheduler`; a denoiser's must say which of "
                "monai.networks.schedulers it was trained with."
            )
        return self.made(name)

    def made(self, name: str) -> Any:
        """What MONAI's ConfigParser makes of one entry, once it is known that this runs no code of the bundle.

        Raises:
            ConfigError: if there is no such entry, or it holds an expression, a macro, or a class from elsewhere.
        """
        if name not in self.config:
            raise ConfigError(
                f"{self.folder}: the configuration has no {name!r}. It has: {', '.join(map(str, self.config))}."
            )
        networks = monai_networks("A MONAI bundle")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from monai.bundle import ConfigParser

            reached: dict[str, Any] = {}
            self._reach(name, reached, vars(networks))
            try:
                return ConfigParser(reached).get_parsed_content(name, instantiate=True)
            except (ValueError, TypeError, KeyError, RuntimeError, ImportError, AttributeError) as error:
                reason = " ".join(str(error).split())
                raise ConfigError(f"{self.folder}: {name!r} cannot be made: {short(reason)}") from error

    def _reach(self, name: str, reached: dict[str, Any], networks: Mapping[str, Any]) -> None:
        """Add an entry of the configuration, checked, and every entry that it refers to."""
        if name not in reached:
            if name not in self.config:
                raise ConfigError(f"{self.folder}: the configuration refers to {short(name)}, which it does not have.")
            reached[name] = None  # a circle ends here; MONAI says that it is one
            reached[name] = self._checked(self.config[name], reached, networks)

    def _checked(self, node: Any, reached: dict[str, Any], networks: Mapping[str, Any]) -> Any:
        """The same data, with full names of classes.

        Raises:
            ConfigError: for whatever MONAI would run.
        """
        if isinstance(node, list):
            return [self._checked(part, reached, networks) for part in node]
        if isinstance(node, dict):
            return {str(key): self._entry(str(key), value, reached, networks) for key, value in node.items()}
        if not isinstance(node, str):
            return node
        if node.startswith(("$", "%")):
            raise ConfigError(
                f"{self.folder}: the configuration holds {short(node)}, an expression that would be run; write its value instead."
            )
        if node.startswith("@"):
            self._reach(node[1:].replace("#", "::").split("::")[0], reached, networks)
        return node

    def _entry(self, key: str, value: Any, reached: dict[str, Any], networks: Mapping[str, Any]) -> Any:
        if key == "_target_":
            return self._class(value, networks)
        if (key.startswith("_") and key != "_desc_") or key == "pretrained":
            raise ConfigError(
                f"{self.folder}: the configuration of a network holds {key!r}; only _target_ and the options of its class are taken."
            )
        return self._checked(value, reached, networks)

    def _class(self, name: Any, networks: Mapping[str, Any]) -> str:
        """The full name of a class of MONAI's or torch's networks.

        Raises:
            ConfigError: for anything else.
        """
        full = f"monai.networks.nets.{name}" if str(name) in networks else str(name)
        module, _, last = full.rpartition(".")
        if module.startswith(_ROOMS) and last.isidentifier() and all(part.isidentifier() for part in module.split(".")):
            try:
                made = vars(importlib.import_module(module)).get(last)
            except ImportError:
                made = None
            if isinstance(made, type) and made.__module__.startswith(tuple(f"{room}." for room in _ROOMS)):
                return full
        raise ConfigError(
            f"{self.folder}: the configuration asks for {short(name)}; only classes of monai.networks and torch.nn are made."
        )

    @property
    def _weights(self) -> Path:
        places = [self.folder / "models" / name for name in WEIGHTS]
        found = next((path for path in places if path.is_file()), None)
        if found is None:
            raise CheckpointError(
                f"{self.folder} holds no weights; it needs one of models/{', models/'.join(WEIGHTS)}."
            )
        return found


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's configuration.

    Raises:
        ConfigError: if the folder is none.
    """
    path = next((folder / "configs" / name for name in _CONFIGS if (folder / "configs" / name).is_file()), None)
    if path is None:
        raise ConfigError(f"{folder} is no MONAI bundle: it has no configs/inference.json (or .yaml).")
    try:
        text = path.read_text(encoding="utf-8")
        config = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {short(' '.join(str(error).split()))}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(config).__name__}.")
    return Bundle(folder, config)


def _scripted(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} is not an intact TorchScript file; fetch it again.") from error


def _take(network: nn.Module, path: Path) -> None:
    """Load tensors, and only tensors, into a network.

    Raises:
        CheckpointError: for a damaged file, one that holds more than tensors, or weights of another network.
    """
    try:
        state = _state(path)
        network.load_state_dict(state)
    except (RuntimeError, ValueError, OSError, EOFError, SafetensorError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split()).replace("Error(s) in loading state_dict for ", "")
        raise CheckpointError(f"{path} does not hold the weights of this network alone: {short(reason)}") from error
    except Exception as error:  # torch's reader has an error of its own for objects that it refuses
        raise CheckpointError(f"{path} holds more than tensors, and is not read.") from error


def _state(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_safetensors(path.read_bytes())
    state: Any = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    kept: Mapping[str, Tensor] = state
    return kept
