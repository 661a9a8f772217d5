"""Safe reader of pickle files: no name in them is ever imported.

A pickle is a program. This interpreter runs the opcodes that build values, and represents each call
as an inert `Node`: a name with arguments. A file with other names than those of arrays is refused.
"""

from __future__ import annotations

import codecs
import io
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["MOST_STEPS", "SPARSE_NAMES", "Name", "Node", "read_nodes"]

MOST_STEPS = 2_000_000  # a body file has some hundreds; lists of numbers have one a number

_NUMPY = re.compile(r"numpy(\._?core\.(multiarray|numeric))?")
_NUMPY_NAMES = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})
_SPARSE = re.compile(r"scipy\.sparse(\.\w+)?")
#: Classes of scipy's sparse matrices that a file may name.
SPARSE_NAMES = frozenset(
    f"{form}_{kind}" for form in ("csc", "csr", "coo") for kind in ("matrix", "array")
)
_PLAIN = frozenset(
    {
        ("__builtin__", "object"),
        ("builtins", "object"),
        *(
            (module, name)
            for module in ("__builtin__", "builtins")
            for name in ("bytes", "set", "frozenset")
        ),
        ("copy_reg", "_reconstructor"),
        ("copyreg", "_reconstructor"),
        ("_codecs", "encode"),
        ("collections", "OrderedDict"),
    }
)
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}


@dataclass(frozen=True)
class Name:
    """Name of a callable in a file, its last part; ``chumpy`` for all of chumpy."""

    name: str


@dataclass
class Node:
    """Call in a file: inert, and not inspected before it is needed."""

    name: str
    args: tuple[Any, ...]
    state: Any = None


def read_nodes(content: bytes) -> Any:
    """Object of a pickle of protocol 0 to 5.

    Args:
        content: Content of the file, written by Python 2 or 3.

    Returns:
        Numbers, text, bytes, lists, tuples and dicts as they are, sets as lists, and `Node` for
        the result of each call.

    Raises:
        ValueError: The file is damaged or too long, or has names that no array needs.
    """
    return _Machine(content).run()


class _Machine:
    """Runs the opcodes of a pickle on a stack of inert values."""

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}
        self._left = MOST_STEPS

    def run(self) -> Any:
        while True:
            self._spend(1)
            code = self._stream.read(1)
            opcode = _OPCODES.get(code.decode("latin-1"))
            if opcode is None:
                at = self._stream.tell()
                raise ValueError(f"damaged pickle file: no step of a pickle at byte {at}")
            name = opcode.name
            if name == "STRING":
                argument: Any = _python2_text(self._stream.readline())
            else:
                argument = None if opcode.arg is None else opcode.arg.reader(self._stream)
            if name == "STOP":
                return self._pop()
            if name in _VALUES:
                self._stack.append(argument)
            elif name in _STEPS:
                _STEPS[name](self, argument)
            else:
                raise ValueError(f"refused: the file needs {name}, which no array needs")

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise ValueError(f"must describe its arrays in at most {MOST_STEPS} steps")

    def _pop(self) -> Any:
        if not self._stack:
            raise ValueError("damaged pickle file: a value is missing")
        return self._stack.pop()

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _marked(self) -> list[Any]:
        if not self._outer:
            raise ValueError("damaged pickle file: a mark is missing")
        values, self._stack = self._stack, self._outer.pop()
        return values

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self, _: Any) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _discard(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._marked()

    def _discard_marked(self, _: Any) -> None:
        self._marked()

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(values)))

    def _extend(self, values: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise ValueError("damaged pickle file: items for what is no list")
        target.extend(values)

    def _set(self, values: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError("damaged pickle file: entries for what is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # The hash of nested tuples, and of long numbers, can take for ever.
            long = isinstance(key, int) and key.bit_length() > 64
            if long or not isinstance(key, str | int | float | bytes | None):
                raise ValueError(f"must have names as keys; got {type(key).__name__}")
            target[key] = value

    def _dict(self, values: list[Any]) -> None:
        self._push({})
        self._set(values)

    def _memoize(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._top()

    def _recall(self, index: int) -> None:
        if index not in self._memo:
            raise ValueError(f"damaged pickle file: value {index} is not known yet")
        self._push(self._memo[index])

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push(_lookup(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("damaged pickle file: a name is no text")
        self._push(_lookup(module, name))

    def _make(self, what: Any, args: Any) -> None:
        if not isinstance(what, Name) or not isinstance(args, tuple):
            raise ValueError("refused: the file wants to call what is no name of an array's parts")
        if what.name != "OrderedDict":
            self._push(Node(what.name, args))
            return
        pairs = args[0] if args else []
        if not isinstance(pairs, list | tuple):
            raise ValueError("damaged pickle file: entries that are no list")
        self._spend(len(pairs))
        if any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs):
            raise ValueError("damaged pickle file: entries that are no pairs")
        self._dict([value for pair in pairs for value in pair])

    def _reduce(self, _: Any) -> None:
        args = self._pop()
        self._make(self._pop(), args)

    def _new_with_names(self, _: Any) -> None:
        self._pop()
        self._reduce(None)

    def _instance(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._make(_lookup(module, name), tuple(self._marked()))

    def _object(self, _: Any) -> None:
        what, *args = self._marked() or [None]
        self._make(what, tuple(args))

    def _build(self, _: Any) -> None:
        state = self._pop()
        target = self._top()
        if not isinstance(target, Node):
            raise ValueError("damaged pickle file: a state for what has none")
        target.state = state


_VALUES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT "
    "BINFLOAT".split()
)
_M = _Machine
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "NONE": lambda m, _: m._push(None),
    "NEWTRUE": lambda m, _: m._push(True),
    "NEWFALSE": lambda m, _: m._push(False),
    "EMPTY_LIST": lambda m, _: m._push([]),
    "EMPTY_SET": lambda m, _: m._push([]),
    "EMPTY_TUPLE": lambda m, _: m._push(()),
    "EMPTY_DICT": lambda m, _: m._push({}),
    "LIST": lambda m, _: m._push(m._marked()),
    "FROZENSET": lambda m, _: m._push(m._marked()),
    "TUPLE": lambda m, _: m._push(tuple(m._marked())),
    "TUPLE1": lambda m, _: m._tuple(1),
    "TUPLE2": lambda m, _: m._tuple(2),
    "TUPLE3": lambda m, _: m._tuple(3),
    "DICT": lambda m, _: m._dict(m._marked()),
    "APPEND": lambda m, _: m._extend([m._pop()]),
    "APPENDS": lambda m, _: m._extend(m._marked()),
    "ADDITEMS": lambda m, _: m._extend(m._marked()),
    "SETITEM": lambda m, _: m._set([m._pop(), m._pop()][::-1]),
    "SETITEMS": lambda m, _: m._set(m._marked()),
    "MARK": _M._mark,
    "POP": _M._discard,
    "POP_MARK": _M._discard_marked,
    "DUP": lambda m, _: m._push(m._top()),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _M._recall),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _M._memoize),
    "GLOBAL": _M._global,
    "STACK_GLOBAL": _M._stack_global,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _M._reduce),
    "NEWOBJ_EX": _M._new_with_names,
    "INST": _M._instance,
    "OBJ": _M._object,
    "BUILD": _M._build,
}


def _lookup(module: str, name: str) -> Name:
    if _NUMPY.fullmatch(module) and name in _NUMPY_NAMES:
        return Name(name)
    if _SPARSE.fullmatch(module) and name in SPARSE_NAMES:
        return Name(name)
    if (module, name) in _PLAIN:
        return Name(name)
    if module.partition(".")[0] == "chumpy":
        return Name("chumpy")
    wanted = ascii(f"{module[:80]}.{name[:80]}")[1:-1]
    raise ValueError(f"refused: the file wants to run {wanted}; a body file may hold arrays only")


def _python2_text(line: bytes) -> str:
    """Text of protocol 0, with any bytes, escaped."""
    text = line.rstrip(b"\r\n")
    if not line.endswith(b"\n") or len(text) < 2 or text[:1] not in b"'\"" or text[-1:] != text[:1]:
        raise ValueError("damaged pickle file: text without quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("latin-1")
