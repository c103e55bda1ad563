"""Making a component from the options that a user wrote."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from counterbench.errors import ConfigError, CounterbenchError, suggestion


def options_of(component: Callable[..., Any], positional: int) -> dict[str, Any]:
    """keyword -> default of whatever a component takes after its first `positional` arguments."""
    parameters = list(inspect.signature(component).parameters.values())[positional:]
    named = (p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return {option.name: option.default for option in named}


def make(what: str, component: Callable[..., Any], positional: tuple[Any, ...], given: Mapping[str, Any]) -> Any:
    """component(*positional, **given), where `given` comes from a user.

    Args:
        what: it is, for messages; e.g. "The metric 'realism'".
        component: a class or function.
        positional: what it takes beside its options.
        given: options by name.

    Raises:
        ConfigError: for an unknown option, a value of the wrong type, or values that it cannot be made with.
    """
    known = options_of(component, len(positional))
    for option in given:
        if option not in known:
            raise ConfigError(f"{what} has no option {option!r}.{suggestion(option, known)}")
    hints = _hints(component)
    checked = {
        option: _checked(what, option, value, hints[option]) if option in hints else value
        for option, value in given.items()
    }
    try:
        return component(*positional, **checked)
    except CounterbenchError:
        raise
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        options = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise ConfigError(f"{what} cannot be made with {options or 'its defaults'} ({error}).") from error


def _hints(component: Callable[..., Any]) -> dict[str, Any]:
    """Types of the options, as far as they are declared; a plug-in need not."""
    function = getattr(component, "__init__") if isinstance(component, type) else component  # noqa: B009 - for mypy
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def _checked(what: str, option: str, value: Any, hint: Any) -> Any:
    """The value as its type wants it: YAML reads 2e-2 as a word."""
    try:
        return TypeAdapter(hint).validate_python(value)
    except PydanticUserError:
        return value  # a type that says nothing about plain values
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
        raise ConfigError(
            f"{what}: the option {option}{place} is {first['input']!r}; {_sentence(first['msg'])}."
        ) from error


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]
