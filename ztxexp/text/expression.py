"""Conditions that users type, such as ``accuracy > 0.9 and opt in ("adam", "sgd")``.

Python parses them; what is not on the list here is refused, and nothing is evaluated by Python
itself. Numbers and nesting are bounded, so that no text keeps the machine busy.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.values.copying import flat, lookup

_LONGEST = 4_000  # characters
_DEEPEST = 60  # levels of nesting
_LARGEST = 4_096  # bits of a whole number
_SHOWN = 60  # characters to both sides of the place of an error
_NAMES_SHOWN = 20

_CONSTANTS = {"true": True, "false": False, "null": None}  # as YAML and JSON write them
_QUOTED_NAME = re.compile(r"`([^`]*)`")
_TEXT_OR_NAME = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`")
_HINTS = {"&&": "and", "||": "or", "<>": "!="}
_MISSING: Any = object()


@dataclass(frozen=True)
class Expression:
    """A condition on named values: numbers, texts, comparisons, ``and``, ``or``, ``not``.

    Names may have dots (``model.lr``); any other name stands in backquotes (```val/loss` < 0.3``).
    There are ``+ - * / // % **`` on numbers, chains (``0 < lr <= 0.1``), ``in`` and ``not in``,
    lists, ``True``, ``False``, ``None``, and ``true``, ``false``, ``null``. It can be called like a
    function of a configuration, compared, and sent to another process.

    Args:
        text: the condition.
        functions: what may stand before a name in brackets, ``std(loss)``: its value is looked up
            by this text, without spaces. With any there is ``abs(...)``, too.

    Attributes:
        names: all names in it, but for those in brackets.
        calls: functions and the names in their brackets, in their order.

    Raises:
        ConfigError: the text is no such condition; the message shows the place.

    Example:
        >>> Expression('lr < 0.1 and opt == "adam"').matches({"lr": 0.01, "opt": "adam"})
        True
        >>> sorted(Expression("model.lr > 0.1 and seed in (1, 2)").names)
        ['model.lr', 'seed']
        >>> Expression("std(loss) < 0.1", functions=("std",)).matches({"std(loss)": 0.05})
        True
    """

    text: str
    functions: tuple[str, ...] = ()
    calls: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)
    names: frozenset[str] = field(init=False, repr=False, compare=False)
    _evaluate: Callable[[_Lookup], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        compiler = _Compiler(self.text, self.functions)
        object.__setattr__(self, "_evaluate", compiler.compiled())
        object.__setattr__(self, "names", frozenset(compiler.names))
        object.__setattr__(self, "calls", tuple(compiler.calls))

    def __reduce__(self) -> tuple[type[Expression], tuple[Any, ...]]:
        return type(self), (self.text, self.functions)

    def __str__(self) -> str:
        return self.text

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Return whether the values meet the condition; :meth:`matches` says more."""
        return self.matches(values)

    def matches(self, values: Mapping[str, Any], missing: bool | None = None) -> bool:
        """Return whether some values meet the condition.

        Args:
            values: by name; a name with dots is looked up as it is, then in nested mappings.
            missing: ``False``: where the answer depends on a name that is not there, on values that
                cannot be compared (a text with a number) or on a division by zero, it is no.

        Raises:
            ConfigError: without ``missing=False``, one of these; the message names it.

        Example:
            >>> Expression("momentum > 0.5").matches({"opt": "adam"}, missing=False)
            False
        """
        try:
            return bool(self._evaluate(_Lookup(values, missing is False)))
        except _UnknownError as exc:
            if missing is False:
                return False
            raise ConfigError(f"{exc} in {self._shown()}") from None

    def check_names(self, known: Mapping[str, Any] | set[str], what: str = "the keys are") -> None:
        """Refuse names that nothing has.

        Raises:
            ConfigError: a name that is neither known nor part of a known one.
        """
        for name in sorted(self.names):
            if not any(f"{k}.".startswith(f"{name}.") or name.startswith(f"{k}.") for k in known):
                raise ConfigError(f"{_no_name(name, sorted(known), what)} in {self._shown()}")

    def _shown(self) -> str:
        text = self.text.strip()
        return repr(text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}...")


class _UnknownError(Exception):
    """The value of a part is not known: a missing name, values that cannot be compared."""


class _Lookup:
    """The values of one evaluation.

    ``and`` and ``or`` ask a part that is not known for nothing where ``lenient``: what the other
    parts say may decide.
    """

    __slots__ = ("lenient", "values")

    def __init__(self, values: Mapping[str, Any], lenient: bool):
        self.values = values
        self.lenient = lenient

    def get(self, name: str) -> Any:
        value = lookup(self.values, name, _MISSING)
        if value is not _MISSING:
            return value
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if self.lenient:
            raise _UnknownError
        raise _UnknownError(_no_name(name, [key for key, _ in flat(self.values)], "the names are"))


def _no_name(name: str, known: list[str], what: str) -> str:
    hint = closest(name, known)
    for key in known:
        if not hint and name in re.split(r"\W", key) and not key.replace(".", "_").isidentifier():
            hint = f" (did you mean `{key}`, in backquotes?)"
    listed = ", ".join(known[:_NAMES_SHOWN]) + (", ..." if len(known) > _NAMES_SHOWN else "")
    return f"there is no {name!r}{hint}; {what}: {listed or 'none'};"


# ---- from text to functions ------------------------------------------------------------------

_Part = Callable[[_Lookup], Any]

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, among: item in among,
    ast.NotIn: lambda item, among: item not in among,
    ast.Is: lambda one, other: one is other,
    ast.IsNot: lambda one, other: one is not other,
}


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and exponent > 0:
        _bounded(max(1, abs(base).bit_length()) * exponent if abs(base) > 1 else 0)
    result = base**exponent
    if isinstance(result, complex):
        raise _UnknownError(f"{base} ** {exponent} is no real number,")
    return result


def _product(one: Any, other: Any) -> Any:
    if isinstance(one, int) and isinstance(other, int):
        _bounded(one.bit_length() + other.bit_length())
    return one * other


def _bounded(bits: int) -> None:
    if bits > _LARGEST:
        raise OverflowError("a number of more than 1,200 digits")


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _product,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}


class _Compiler:
    """Makes functions of the parts of one text."""

    def __init__(self, text: str, functions: Sequence[str] = ()):
        if not isinstance(text, str) or not text.strip():
            raise ConfigError('a condition is a text such as "lr < 0.1", got nothing')
        if len(text) > _LONGEST:
            raise ConfigError(
                f"a condition of {len(text):,} characters; at most {_LONGEST:,} are read"
            )
        self.text = text.strip()
        self.functions = functions
        self.names: set[str] = set()
        self.calls: dict[tuple[str, str], None] = {}
        self._quoted: dict[str, str] = {}  # stand-in to name, of names in backquotes

    def compiled(self) -> _Part:
        # A stand-in is as long as what it stands for, so that places stay where they are.
        source = re.sub(r"\s", " ", _TEXT_OR_NAME.sub(self._stand_in, self.text))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in texts
                tree = ast.parse(source, mode="eval")
        except SyntaxError as exc:
            on_line = exc.lineno in (None, 1) and exc.offset
            column = min(int(exc.offset or 1) - 1, len(source)) if on_line else len(source)
            raise self._error(self._reason(exc, source, column), column) from None
        except (ValueError, MemoryError, RecursionError) as exc:
            raise self._error(f"it cannot be read ({exc or 'too deeply nested'})", 0) from None
        return self._part(tree.body, 0)

    def _stand_in(self, match: re.Match[str]) -> str:
        if not match[0].startswith("`"):
            return match[0]
        name = match[0][1:-1]
        if not name:
            raise self._error("the backquotes hold no name", match.start())
        stand_in = f"_{len(self._quoted)}_".rjust(len(match[0]), "_")
        while stand_in in self.text or stand_in in self._quoted:
            stand_in = f"_{stand_in}"
        self._quoted[stand_in] = name
        return stand_in

    def _reason(self, exc: SyntaxError, source: str, column: int) -> str:
        for wrong, right in _HINTS.items():
            if wrong in source[max(0, column - 1) : column + 3]:
                return f"write {right!r} for {wrong!r}"
        if re.search(r"(?<![=!<>])=(?!=)", source):
            return "write == to compare"
        if column >= len(source) and exc.msg == "invalid syntax":
            return "something is missing at the end"
        if source.count("`"):
            return "a backquote is never closed"
        return (exc.msg or "it cannot be read").replace(". Perhaps you forgot a comma?", "")

    def _error(self, reason: str, column: int) -> ConfigError:
        text = "".join(c if c.isprintable() else " " for c in self.text)
        column = min(max(column, 0), len(text))
        start = max(0, column - _SHOWN)
        shown = text[start : column + _SHOWN]
        dots = "..." if start else ""
        more = "..." if column + _SHOWN < len(text) else ""
        place = " " * (len(dots) + column - start)
        return ConfigError(f"the condition cannot be used: {reason}\n  {dots}{shown}{more}\n"
                           f"  {place}^")  # fmt: skip

    def _at(self, node: ast.AST) -> int:
        """Return the place of a node in characters; Python counts bytes."""
        column = getattr(node, "col_offset", 0)
        return len(self.text.encode()[:column].decode(errors="ignore"))

    def _part(self, node: ast.expr, depth: int) -> _Part:
        if depth > _DEEPEST:
            raise self._error(f"it is nested more than {_DEEPEST} levels deep", self._at(node))
        depth += 1
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._name(node)
        if isinstance(node, ast.BoolOp):
            parts = [self._part(value, depth) for value in node.values]
            return _either(parts, stop_at=isinstance(node.op, ast.Or))
        if isinstance(node, ast.UnaryOp):
            return self._unary(node, depth)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = self._part(node.left, depth), self._part(node.right, depth)
            return _calculation(_ARITHMETIC[type(node.op)], left, right)
        if isinstance(node, ast.Compare):
            parts = [self._part(part, depth) for part in (node.left, *node.comparators)]
            return _chain([_COMPARISONS[type(op)] for op in node.ops], parts)
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            items = [self._part(item, depth) for item in node.elts]
            return lambda values: [item(values) for item in items]
        if isinstance(node, ast.Call) and self.functions:
            return self._call(node, depth)
        kind = type(node.op if isinstance(node, ast.BinOp) else node).__name__
        what = {
            "Call": "no function can be called",
            "Subscript": "there are no brackets after a name; write `name.0` for an item",
            "Lambda": "there are no functions",
            "JoinedStr": "there are no f-strings",
            "BitAnd": "write 'and' for '&'",
            "BitOr": "write 'or' for '|'",
        }.get(kind, "there are names, numbers, texts, comparisons, and, or, not; nothing else")
        raise self._error(what, self._at(node))

    def _constant(self, node: ast.Constant) -> _Part:
        value = node.value
        if value is not None and type(value) not in (bool, int, float, str):
            raise self._error(f"a {type(value).__name__} is no value here", self._at(node))
        return lambda values: value

    def _call(self, node: ast.Call, depth: int) -> _Part:
        """Return the part for ``std(loss)``, which is looked up, or for ``abs(...)``."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if len(node.args) != 1 or node.keywords:
            raise self._error("a function takes one thing in its brackets", self._at(node))
        (inner,) = node.args
        if name == "abs":
            part = self._part(inner, depth)
            return lambda values: abs(_number(part(values)))
        if name not in self.functions:
            listed = ", ".join((*self.functions, "abs"))
            near = closest(name, self.functions)
            raise self._error(
                f"there is no such function{near}; there are {listed}", self._at(node)
            )
        if not isinstance(inner, (ast.Name, ast.Attribute)):
            raise self._error(f"{name} takes the name of a metric", self._at(inner))
        metric = self._dotted(inner)
        self.calls[name, metric] = None
        return lambda values: values.get(f"{name}({metric})")

    def _name(self, node: ast.expr) -> _Part:
        name = self._dotted(node)
        if name not in _CONSTANTS:
            self.names.add(name)
        return lambda values: values.get(name)

    def _dotted(self, node: ast.expr) -> str:
        """Return a name as the user has written it, ``model.lr``."""
        steps, at = [], node
        while isinstance(at, ast.Attribute):
            steps.append(at.attr)
            at = at.value
        if not isinstance(at, ast.Name):
            raise self._error("a dot follows something that is no name", self._at(node))
        steps.append(at.id)
        return ".".join(self._quoted.get(step, step) for step in reversed(steps))

    def _unary(self, node: ast.UnaryOp, depth: int) -> _Part:
        part = self._part(node.operand, depth)
        if isinstance(node.op, ast.Not):
            return lambda values: not part(values)
        if isinstance(node.op, ast.Invert):
            raise self._error("write 'not' for '~'", self._at(node))
        sign = -1 if isinstance(node.op, ast.USub) else 1
        return lambda values: sign * _number(part(values))


def _number(value: Any) -> Any:
    if not isinstance(value, (int, float)):
        kind = type(value).__name__
        raise _UnknownError(f"{_short(value)} is no number but a {kind}: it cannot be counted with")
    return value


def _calculation(function: Callable[[Any, Any], Any], left: _Part, right: _Part) -> _Part:
    def calculate(values: _Lookup) -> Any:
        one, other = _number(left(values)), _number(right(values))
        try:
            return function(one, other)
        except ZeroDivisionError:
            raise _UnknownError("a number is divided by zero") from None
        except OverflowError as exc:
            raise ConfigError(f"the condition makes too large a number ({exc})") from None

    return calculate


def _either(parts: list[_Part], stop_at: bool) -> _Part:
    """Return the function for ``or`` (``stop_at`` is true) or ``and`` of some parts."""

    def evaluate(values: _Lookup) -> Any:
        unknown: _UnknownError | None = None
        for part in parts:
            try:
                if bool(part(values)) is stop_at:
                    return stop_at
            except _UnknownError as exc:
                if not values.lenient:
                    raise
                unknown = exc
        if unknown is not None:
            raise unknown
        return not stop_at

    return evaluate


def _chain(comparisons: list[Callable[[Any, Any], Any]], parts: list[_Part]) -> _Part:
    def compare(values: _Lookup) -> bool:
        left = parts[0](values)
        for function, part in zip(comparisons, parts[1:], strict=True):
            right = part(values)
            try:
                if not function(left, right):
                    return False
            except (TypeError, ValueError):  # ValueError: arrays
                raise _UnknownError(
                    f"{_short(left)} and {_short(right)} cannot be compared so"
                ) from None
            left = right
        return True

    return compare


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
