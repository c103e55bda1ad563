"""YAML -> frozen pydantic models, with errors that name the file, the key, and what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from counterbench.catalog.plain_yaml import parse
from counterbench.errors import ConfigError, short, suggestion


class Declaration(BaseModel):
    """Base of everything that is declared in YAML: immutable, an unknown key is an error, and numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Declared = TypeVar("Declared", bound=Declaration)


def read(path: Path, kind: type[Declared]) -> Declared:
    """Read and validate one YAML file.

    Raises:
        ConfigError: naming the file and the key that is unknown, missing or of the wrong kind.
    """
    return validate(load_yaml(path), kind, path)


def validate(content: Any, kind: type[Declared], path: Path) -> Declared:
    """Validate what was read from `path`."""
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(content).__name__}.")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error, kind)}") from error


def load_yaml(path: Path) -> Any:
    """Plain YAML data; see :mod:`counterbench.catalog.plain_yaml`."""
    if path.exists() and not path.is_file():
        raise ConfigError(f"Cannot read {path}: it is not a file.")
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file in UTF-8.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid YAML{error}.") from error


def declared_in(path: Path) -> Literal["recipe", "card", "suite"]:
    """What a file of the user's own declares: each has keys that the others lack."""
    content = load_yaml(path)
    keys = content.keys() if isinstance(content, dict) else set()
    if "mechanisms" in keys:
        return "recipe"
    return "card" if {"variables", "extends", "reader"} & keys else "suite"


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    # A misspelt key is also a missing one: name the one that was typed.
    first, *others = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
    if first["type"] == "extra_forbidden":
        fields = _fields_at(kind, first["loc"][:-1])
        said = f"unknown key {short(place)}.{suggestion(str(first['loc'][-1]), fields)}"
    elif first["type"] == "missing":
        said = f"the key {short(place)} is missing."
    else:
        said = f"{short(place)[1:-1]}: " if first["loc"] else ""
        said += first["msg"].removeprefix("Value error, ")
        if not said.endswith("."):
            quotes = "; words that YAML reads as something else need quotes" if first["type"] == "string_type" else ""
            said += f" (got {short(first['input'])}{quotes})."
    return said + (f" {len(others)} more problem(s) follow." if others else "")


def _fields_at(kind: Any, location: tuple[Any, ...]) -> list[str]:
    """Names of the fields that a model nested at `location` has."""
    for part in location:
        if _is_model(kind):
            kind = kind.model_fields[part].annotation if part in kind.model_fields else None
        else:  # a container of models: `part` is a key or a position in it
            kind = next(filter(_is_model, getattr(kind, "__args__", ())), None)
    return list(kind.model_fields) if _is_model(kind) else []


def _is_model(kind: Any) -> bool:
    """Whether an annotation is a model; to Python 3.10 `dict[str, int]` is a type too, though no class."""
    return not hasattr(kind, "__origin__") and isinstance(kind, type) and issubclass(kind, BaseModel)
