"""From what was given to what is used, key by key: a complaint names the key, the value and what is allowed.

A ``Given`` is a value with the place it came from. ``build`` makes a section of a table of them: msgspec checks plain
types and ranges, a ``Rule`` in the annotation reads everything richer. Text (from the command line or ``--set``) may
stand for numbers, booleans and lists; in the file a number is a number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect

from vxswitch.config.rules import Rule, did_you_mean, mask
from vxswitch.config.sections import Section
from vxswitch.errors import UsageError
from vxswitch.model import Vtep

S = TypeVar("S", bound=Section)


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given.

    ``text``: by a command line, where "5" may stand for 5 and "a,b" for a list. ``exposed``: in a file that others than
    its owner may read.
    """

    value: Any
    origin: str
    text: bool = False
    exposed: bool = False


def keys_of(section: type[Section]) -> list[str]:
    """The keys that a section has."""
    return [field.name for field in msgspec.structs.fields(section)]


def build(section: type[S], name: str, table: dict[str, Given], /, **fixed: Any) -> S:
    """The section made of the table; keys that are left out keep their default. UsageError at the first wrong one.

    ``fixed`` are fields that the user has no key for.
    """
    annotations = {field.name: field.type for field in msgspec.structs.fields(section) if field.name not in fixed}
    values = dict(fixed)
    for key, given in table.items():
        if key not in annotations:
            raise unknown_key(f"{name}.{key}", key, annotations, given.origin)
        values[key] = value_of(f"{name}.{key}", given, annotations[key])
    return section(**values)


def unknown_key(full: str, key: str, known: Iterable[str], origin: str, hint: str = "") -> UsageError:
    """The complaint about a key that does not exist (its value is not shown: it might be a secret)."""
    known = list(known)
    return UsageError(f"unknown key {full} ({origin}){did_you_mean(key, known)}; want one of {', '.join(known)}{hint}")


def value_of(full: str, given: Given, annotation: Any) -> Any:
    """One key's value; UsageError names the key, the value, where it came from and what is allowed."""
    rule, plain = _split(annotation)
    if given.text and given.value == "" and type(None) in get_args(plain):
        return None
    try:
        if rule is not None:
            value = _by_rule(rule, given)
        else:
            value = msgspec.convert(given.value, annotation, strict=not given.text)
    except UsageError as error:
        raise UsageError(f"{full}: {error} ({given.origin})") from None
    except (ValueError, msgspec.ValidationError):
        allowed = rule.allowed if rule is not None else _describe(annotation)
        raise wrong_value(full, given, allowed) from None
    return value


def wrong_value(full: str, given: Given, allowed: str) -> UsageError:
    """The complaint about a value."""
    return UsageError(f"{full} = {mask(repr(given.value))} ({given.origin}): want {allowed}")


def vteps(full: str, given: Given, port: int) -> Given:
    """The same with its texts read as VTEPs; those without a port of their own get ``port``."""
    texts = _items(given)
    if texts is None or not all(isinstance(text, str) for text in texts):
        raise wrong_value(full, given, "a list of ADDR, ADDR:PORT or [ADDR6]:PORT")
    try:
        return Given(tuple(Vtep.parse(text, port) for text in texts), given.origin)
    except UsageError as error:
        raise UsageError(f"{full}: {error} ({given.origin})") from None
    except ValueError:  # digits without end
        raise wrong_value(full, given, "ports from 1 to 65535") from None


def _split(annotation: Any) -> tuple[Rule | None, Any]:
    """The rule in the annotation, if there is one, and the type without its annotations."""
    if get_origin(annotation) is not Annotated:
        return None, annotation
    plain, *notes = get_args(annotation)
    return next((note for note in notes if isinstance(note, Rule)), None), plain


def _by_rule(rule: Rule, given: Given) -> Any:
    if not rule.many:
        return rule.parse(given.value)
    items = _items(given)
    if items is None:
        raise ValueError
    return tuple(rule.parse(item) for item in items)


def _items(given: Given) -> list[Any] | None:
    """The items of a list, or of its text; None when it is neither."""
    if given.text and isinstance(given.value, str):
        return [item.strip() for item in given.value.split(",")] if given.value else []
    return list(given.value) if isinstance(given.value, list | tuple) else None


def _describe(annotation: Any) -> str:
    """What a type without a rule allows, in words."""
    annotation = next((part for part in get_args(annotation) if get_origin(part) is Literal), annotation)
    if get_origin(annotation) is Literal:
        return " or ".join(f'"{value}"' for value in get_args(annotation))
    info = inspect.type_info(annotation)
    if isinstance(info, inspect.BoolType):
        return "true or false"
    if isinstance(info, inspect.IntType | inspect.FloatType):
        return f"a {'whole ' if isinstance(info, inspect.IntType) else ''}number from {info.ge} to {info.le}"
    return "text"
