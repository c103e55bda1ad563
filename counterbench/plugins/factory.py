"""Makes a component from the options that a user wrote."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from counterbench.errors import ConfigError, CounterbenchError, short, suggestion

PINNED = ("weights", "sha256")
"""What a component must take that a card pins to a file."""


def options_of(component: Callable[..., Any], positional: int) -> dict[str, Any]:
    """keyword -> default of whatever a component takes after its first `positional` arguments."""
    parameters = list(inspect.signature(component).parameters.values())[positional:]
    named = (p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return {option.name: option.default for option in named}


def make(
    what: str,
    component: Callable[..., Any],
    positional: tuple[Any, ...],
    given: Mapping[str, Any],
    *,
    context: Any = None,
    needed: Sequence[str] = (),
) -> Any:
    """component(*positional, **given), where `given` comes from a user.

    Args:
        what: it is, for messages; e.g. "The metric 'realism'".
        component: a class or function.
        positional: what it takes beside its options.
        given: options by name.
        context: a dataclass of what the program gives to a component that has a parameter of that name; a user cannot set it.
        needed: names in the context that the component must have a parameter for.

    Raises:
        ConfigError: for an unknown option, a value of the wrong type, or values that it cannot be made with.
    """
    parameters = options_of(component, len(positional))
    circumstances = _circumstances(what, component, parameters, context)
    known = parameters.keys() - circumstances.keys()
    for option in given:
        if option not in known:
            raise ConfigError(f"{what} has no option {short(option)}.{suggestion(str(option), known)}")
    if idle := [name for name in needed if name not in circumstances]:
        raise ConfigError(f"{what} takes no {idle[0]!r}; leave it out, or name something that takes it.")
    hints = _hints(component)
    checked = {
        option: _checked(what, option, value, hints[option]) if option in hints else value
        for option, value in given.items()
    }
    try:
        return component(*positional, **checked, **circumstances)
    except CounterbenchError:
        raise
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        options = ", ".join(f"{key}={short(value)}" for key, value in given.items())
        raise ConfigError(f"{what} cannot be made with {options or 'its defaults'} ({error}).") from error


def _circumstances(
    what: str, component: Callable[..., Any], parameters: Mapping[str, Any], context: Any
) -> dict[str, Any]:
    """What a component asks for of a context, by the names of its parameters."""
    if context is None:
        return {}
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(component).parameters.values()):
        raise ConfigError(
            f"{what} takes **options, which do not say what it needs; its __init__ must name each option, and each of "
            f"{', '.join(one.name for one in fields(context))} that it uses."
        )
    return {one.name: getattr(context, one.name) for one in fields(context) if one.name in parameters}


def _hints(component: Callable[..., Any]) -> dict[str, Any]:
    """Types of the options, as far as they are declared; a plug-in need not."""
    function = getattr(component, "__init__") if isinstance(component, type) else component  # noqa: B009 - for mypy
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def _checked(what: str, option: str, value: Any, hint: Any) -> Any:
    """The value as its type wants it; numbers are finite."""
    try:
        return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except PydanticUserError:
        return value  # a type that says nothing about plain values
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
        raise ConfigError(
            f"{what}: the option {option}{place} is {short(first['input'])}; {_sentence(first['msg'])}."
        ) from error


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]
