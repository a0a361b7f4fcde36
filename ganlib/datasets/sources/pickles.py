"""Plain data out of a pickle, without unpickling it.

Only the opcodes that build dicts, lists, tuples, texts, bytes and numbers are
obeyed, by a machine of our own. What a pickle wants imported becomes a name;
the few calls that NumPy's arrays are saved as are recognised by these names
and nothing is ever imported or called for it.
"""

import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_PUSHED = re.compile("BININT[12]?|LONG[14]|BINFLOAT|(SHORT_)?BIN(STRING|UNICODE|BYTES)|BIN(UNICODE|BYTES)8|BYTEARRAY8")
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
# Larger numbers may take long to multiply.
_MAX_SIZE = 1 << 31
_RECONSTRUCT = frozenset({"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"})
_FROM_BUFFER = frozenset({"numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"})


@dataclass(frozen=True, slots=True)
class _Name:
    """What the pickle wanted imported."""

    text: str


@dataclass(slots=True)
class _Type:
    """A NumPy type: its code, such as `u1`; its byte order matters to none of one byte."""

    code: str


@dataclass(slots=True)
class _Array:
    """A NumPy array while it is put together."""

    shape: tuple[int, ...] = ()
    code: str = ""
    fortran: bool = False
    content: bytes | bytearray = b""


@dataclass(slots=True)
class _Machine:
    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def to_mark(self) -> list[Any]:
        top, self.stack = self.stack, self.below.pop()
        return top


def read_pickle(content: bytes) -> Any:
    """Read a pickle of plain data; byte strings of Python 2 become text of the same characters.

    Arrays of uint8 are returned as such.

    Raises:
        ValueError: it is damaged, or asks for anything else.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                return _finished(machine.stack.pop())
            _obey(machine, opcode.name, argument)
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a sound pickle ({type(error).__name__})") from None
    raise ValueError("a pickle without an end")


def _obey(machine: _Machine, name: str, argument: Any) -> None:
    stack = machine.stack
    match name:
        case _ if _PUSHED.fullmatch(name):
            stack.append(argument)
        case _ if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        case "BINPUT" | "LONG_BINPUT":
            machine.memo[argument] = stack[-1]
        case "MEMOIZE":
            machine.memo[len(machine.memo)] = stack[-1]
        case "BINGET" | "LONG_BINGET":
            stack.append(machine.memo[argument])
        case "MARK":
            machine.below.append(stack)
            machine.stack = []
        case "APPEND":
            value = stack.pop()
            _a_list(stack[-1]).append(value)
        case "APPENDS":
            values = machine.to_mark()
            _a_list(machine.stack[-1]).extend(values)
        case "SETITEM":
            value, key = stack.pop(), stack.pop()
            _set(stack[-1], key, value)
        case "SETITEMS":
            values = machine.to_mark()
            for key, value in zip(values[::2], values[1::2], strict=True):
                _set(machine.stack[-1], key, value)
        case "TUPLE":
            values = machine.to_mark()
            machine.stack.append(tuple(values))
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            values = [stack.pop() for _ in range(int(name[-1]))]
            stack.append(tuple(reversed(values)))
        case "GLOBAL":
            stack.append(_Name(argument))
        case "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_Name(f"{module:.100} {attribute:.100}"))
        case "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_instead_of_calling(function, arguments))
        case "BUILD":
            state = stack.pop()
            _complete(stack[-1], state)
        case "PROTO" | "FRAME":
            pass
        case _:
            raise ValueError(f"a pickle that uses {name}, which plain data do not need")


def _a_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _set(target: Any, key: Any, value: Any) -> None:
    # Other keys could take for ever to hash.
    if not isinstance(target, dict) or not isinstance(key, str | bytes | int):
        raise TypeError
    target[key] = value


def _instead_of_calling(function: Any, arguments: Any) -> Any:
    """What the call would have made, for the few that NumPy's arrays and Python 3's bytes are saved as."""
    match function, arguments:
        case _Name("_codecs encode"), (str() as text, "latin1" | "latin-1"):
            return text.encode("latin-1")
        case _Name("numpy dtype"), (str() as code, *_):
            return _Type(code)
        case _Name(text), (_Name("numpy ndarray"), *_) if text in _RECONSTRUCT:
            return _Array()
        case _Name(text), (bytes() | bytearray() as content, _Type() as of, tuple() as shape, order) if (
            text in _FROM_BUFFER
        ):
            return _Array(shape, of.code, order == "F", content)
        case _Name(text), _:
            raise ValueError(f"a pickle that would call {text.replace(' ', '.')}, which plain data do not need")
        case _:
            raise TypeError


def _complete(target: Any, state: Any) -> None:
    match target, state:
        case _Type(), tuple():
            pass
        case _Array(), (_, tuple() as shape, _Type(code), fortran, bytes() | bytearray() | str() as content):
            target.shape, target.code, target.fortran = shape, code, bool(fortran)
            target.content = content.encode("latin-1") if isinstance(content, str) else content
        case _:
            raise ValueError("a pickle that sets the state of something other than an array of numbers")


def _finished(value: Any) -> Any:
    """The arrays of a dict as such; they are nowhere else in plain data."""
    if not isinstance(value, dict):
        return value
    return {key: _as_array(entry) if isinstance(entry, _Array) else entry for key, entry in value.items()}


def _as_array(array: _Array) -> Any:
    whole = all(type(size) is int and 0 <= size <= _MAX_SIZE for size in array.shape)
    if array.code not in ("u1", "|u1", "uint8") or not whole or math.prod(array.shape) != len(array.content):
        raise ValueError(f"a pickled array of type {array.code:.20} whose bytes do not fit, expected u1")
    order = "F" if array.fortran else "C"
    return np.frombuffer(array.content, np.uint8).reshape(array.shape, order=order)  # type: ignore[call-overload]
