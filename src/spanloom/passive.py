"""What objects say about themselves without a line of the user's code: no `repr`, no property, no metaclass.

Every read goes through the descriptors of `type` and `object` that CPython itself made, which a class cannot replace.
"""

from __future__ import annotations

import types
from typing import Any, Final, cast

_mro: Final = type.__dict__["__mro__"].__get__
_namespace: Final = type.__dict__["__dict__"].__get__
_name: Final = type.__dict__["__name__"].__get__
_module: Final = type.__dict__["__module__"].__get__
_qualname: Final = type.__dict__["__qualname__"].__get__

_FUNCTIONS: Final = (types.FunctionType, types.BuiltinFunctionType)
_OWN_DICT: Final = (types.GetSetDescriptorType, types.MemberDescriptorType)


def module_of(kind: type) -> str:
    """The module a class says it is from; empty where it says something that is no string."""
    try:
        module: object = _module(kind)
    except AttributeError:
        return ""
    return module if type(module) is str else ""


def ancestors(kind: type) -> tuple[type, ...]:
    """A class and what it inherits from, the nearest first."""
    return _mro(kind)


def type_name(kind: type) -> str:
    """`module.Qualified.Name` of a class."""
    return ".".join(filter(None, (module_of(kind), _qualname(kind))))


def label(value: Any) -> str | None:
    """`<function name>` and the like for classes, modules, functions and methods; None for anything else."""
    kind = cast("type[Any]", type(value))
    if issubclass(kind, type):
        own: object = _name(value)
    elif issubclass(kind, types.ModuleType):
        own = (instance_dict(value) or {}).get("__name__")
    elif issubclass(kind, _FUNCTIONS):
        own = value.__name__
    elif kind is types.MethodType:
        own = value.__func__.__name__ if issubclass(type(value.__func__), _FUNCTIONS) else None
    else:
        return None
    return f"<{_name(kind)} {own}>" if type(own) is str else f"<{_name(kind)}>"


def instance_dict(value: object) -> dict[str, Any] | None:
    """A copy of the attributes stored on an object; None where it stores none in a dict.

    A class may define `__dict__` itself (proxies do); that is not asked.
    """
    for base in _mro(type(value)):
        own: Any = _namespace(base).get("__dict__")
        if issubclass(type(own), _OWN_DICT):
            fields: Any = own.__get__(value)
            return cast("dict[str, Any]", fields).copy() if type(fields) is dict else None
    return None


def fields(value: object) -> dict[str, Any]:
    """The public attributes stored on an object (a dataclass, a pydantic model, a namespace), slots included."""
    found = instance_dict(value) or {}
    for base in _mro(type(value)):
        namespace = _namespace(base)
        if "__slots__" not in namespace:
            continue
        for name, member in namespace.items():
            if type(member) is types.MemberDescriptorType:
                try:
                    found.setdefault(name, member.__get__(value))
                except AttributeError:  # a slot that was never filled
                    continue
    return {name: item for name, item in found.items() if type(name) is str and not name.startswith("_")}
