"""YAML -> frozen pydantic models, with errors that name the file, the key, and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from counterbench.catalog import declarations, section
from counterbench.catalog.names import require_name
from counterbench.catalog.plain_yaml import parse
from counterbench.errors import ConfigError, UnknownNameError, short, suggestion


class Declaration(BaseModel):
    """Base of everything that is declared in YAML: immutable, an unknown key is an error, and numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def catalogue(cls, content: Mapping[str, Any]) -> Path | None:
        """The folder of the catalogue where `extends` finds what is not in the same folder; None for none.

        Args:
            content: what the file says, without what it extends.

        Raises:
            ValueError: for what cannot be the name of a folder.
        """
        return None


Declared = TypeVar("Declared", bound=Declaration)


def read(path: Path, kind: type[Declared]) -> Declared:
    """Read and validate one YAML file.

    `extends: NAME` takes everything from the declaration NAME, in the same folder or in the catalogue, except for what is said here;
    `null` leaves a part out.

    Raises:
        ConfigError: naming the file and the key that is unknown, missing or of the wrong kind.
    """
    try:
        return kind.model_validate(_extended(path, kind))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error, kind)}") from error


def find(name: str, kind: type[Declared], what: str, *, known: Mapping[str, Path]) -> Declared:
    """The declaration `name` of the catalogue, or the one in the file `name`.

    Args:
        name: of a declaration, or of a file (.yaml, .yml).
        kind: of declaration.
        what: that kind in a word.
        known: those of the catalogue: name -> file.

    Raises:
        UnknownNameError: with the closest match and the list. ConfigError: naming the file and the key that is wrong.
    """
    if name.endswith((".yaml", ".yml")):
        return read(Path(name), kind)
    if name not in known:
        raise UnknownNameError(what, name, known)
    return read(known[name], kind)


def _extended(path: Path, kind: type[Declaration]) -> dict[str, Any]:
    """What a file says, over what the files say that it extends one after the other."""
    files, layers = [path], [load_mapping(path)]
    while "extends" in layers[-1]:
        name = layers[-1].pop("extends")
        files.append(_base(name, files, kind, _combined(layers)))
        layers.append(load_mapping(files[-1]))
    return _combined(layers)


def _combined(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """What several files say together; the first has the last word."""
    content = layers[-1]
    for own in reversed(layers[:-1]):
        content = _merged(content, own)
    return content


def _merged(base: Any, own: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(own, dict):
        return own
    both = {**base, **{key: _merged(base.get(key), value) for key, value in own.items()}}
    return {key: value for key, value in both.items() if value is not None or key not in own}


def _base(given: Any, files: list[Path], kind: type[Declaration], content: dict[str, Any]) -> Path:
    """The file that the last of `files` extends.

    Raises:
        ConfigError: for what is no name, is nowhere, or leads round in a circle.
    """
    path = files[-1]
    try:
        name = f"_{require_name(given[1:])}" if str(given).startswith("_") else require_name(given)
        catalogue = kind.catalogue(content)
    except ValueError as error:
        raise ConfigError(f"{path}: extends: {error}") from error
    beside, called = path.parent / f"{name}.yaml", kind.__name__.lower()
    base = beside
    if catalogue is not None and (not beside.is_file() or beside.resolve() == path.resolve()):
        base = catalogue / f"{name}.yaml"
    if not base.is_file() or base.resolve() == path.resolve():
        raise ConfigError(
            f"{path}: extends {name!r}, but there is no other {called} {beside}, and none of that name in the catalogue."
        )
    if base.resolve() in [file.resolve() for file in files]:
        chain = " -> ".join(file.name for file in (*files, base))
        raise ConfigError(
            f"{path}: extends {name!r}, which extends this {called} in turn ({chain}); one of them must extend nothing."
        )
    return base


def load_mapping(path: Path) -> dict[str, Any]:
    """Plain YAML data with keys and values."""
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(content).__name__}.")
    return content


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


KEYS: dict[Literal["recipe", "card", "suite"], set[str]] = {
    "recipe": {"mechanisms", "dataset", "weights", "seed", "answer"},
    "card": {
        "variables",
        "reader",
        "sources",
        "judges",
        "features",
        "roles",
        "default_source",
        "group",
        "truth",
        "limits",
    },
    "suite": {"metrics", "cycles", "single", "undo", "pairs", "law", "where", "limit", "references", "resamples"},
}
"""Keys that the others lack."""


def declared_in(path: Path) -> Literal["recipe", "card", "suite"]:
    """What a file of the user's own declares."""
    content = load_yaml(path)
    keys = content.keys() if isinstance(content, dict) else set()
    known = next((kind for kind, own in KEYS.items() if own & keys), None)
    if known is None and "extends" in keys:  # names and words alone: as what it extends
        suites = [file.stem for file in declarations(section("benchmarks") / "suites")]
        return "suite" if content["extends"] in suites else "card"
    return known or "suite"


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
