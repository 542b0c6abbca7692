"""Conditions that users type: what they mean, and what is refused."""

from __future__ import annotations

import pickle

import pytest

from ztxexp.text.expression import Expression
from ztxexp_core.errors import ConfigError

VALUES = {
    "lr": 0.01,
    "opt": "sgd",
    "seed": 3,
    "flag": True,
    "nothing": None,
    "tags": ["a", "b"],
    "model": {"lr": 0.1, "name": "tiny"},
    "val/loss": 0.5,
    "a.b": 7,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr < 0.1", True),
        ("lr == 1e-2", True),
        ('not (opt=="sgd" and lr<1e-3)', True),
        ("0 < lr <= 0.01 < 1", True),
        ("seed in (1, 2)", False),
        ("seed not in [1, 2]", True),
        ("'a' in tags", True),
        ("'tin' in model.name", True),
        ("model.lr > lr", True),
        ("a.b == 7", True),
        ("`val/loss` < 0.6", True),
        ("`a.b` == 7", True),
        ("model.`name` == 'tiny'", True),
        ("nothing is None and nothing == null", True),
        ("flag == true and flag == True and not false", True),
        ("seed * 2 + 1 == 7 and -seed == -3 and seed // 2 == 1 and seed % 2 == 1", True),
        ("2 ** seed == 8 and seed / 2 == 1.5 and seed - 1 == +2", True),
        ("lr == '0.01'", False),
        ("opt != 'adam' or missing > 1", True),
        ("lr <\n 0.1", True),
        ("opt == 'a`b`'", False),
    ],
)
def test_conditions_mean_what_python_says(text, expected):
    assert Expression(text).matches(VALUES) is expected
    assert Expression(text)(VALUES) is expected


def test_an_expression_can_be_compared_and_sent_and_shown():
    expression = Expression("model.lr > 0.1 and `val/loss` < 2")
    assert expression.names == {"model.lr", "val/loss"}
    assert str(expression) == "model.lr > 0.1 and `val/loss` < 2"
    copy = pickle.loads(pickle.dumps(expression))
    assert copy == expression and hash(copy) == hash(expression)
    assert copy.matches({"model": {"lr": 1}, "val/loss": 1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("momentum > 0.5", False),
        ("not momentum > 0.5", False),  # not known either way
        ("momentum > 0.5 or opt == 'sgd'", True),
        ("not (opt == 'adam' and momentum > 0.5)", True),
        ("momentum > 0.5 and opt == 'sgd'", False),
        ("opt < 3", False),
        ("not opt < 3", False),
        ("lr / 0 > 1", False),
        ("opt + 1 > 1", False),
    ],
)
def test_what_is_not_known_is_no_where_that_is_asked_for(text, expected):
    assert Expression(text).matches(VALUES, missing=False) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrr < 1", "there is no 'lrr' (did you mean 'lr'?); the names are: lr, opt, seed"),
        ("val/loss < 1", "did you mean `val/loss`, in backquotes?"),
        ("opt < 3", "'sgd' and 3 cannot be compared so in 'opt < 3'"),
        ("opt * 3 == 1", "'sgd' is no number but a str"),
        ("1 / (seed - 3) > 0", "a number is divided by zero in"),
        ("(-1) ** 0.5 > 0", "is no real number"),
        ("9 ** 9 ** 9 > 1", "too large a number"),
        ("9**1000 * 9**1000 > 1", "too large a number"),
        ("10**400 * 1.0 > 1", "too large a number"),
        ("'a' * 10000000000 == 'b'", "it cannot be counted with"),
        ("'%1000000000d' % 1 == 'b'", "it cannot be counted with"),
        ("tags * 1000000000 == 1", "it cannot be counted with"),
    ],
)
def test_what_cannot_be_answered_says_why(text, message):
    with pytest.raises(ConfigError) as info:
        Expression(text).matches(VALUES)
    assert message in str(info.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got nothing"),
        ("lr = 3", "write == to compare\n  lr = 3\n     ^"),
        ("a && b", "write 'and' for '&&'"),
        ("a | b", "write 'or' for '|'"),
        ("~a", "write 'not' for '~'"),
        ("lr <", "something is missing at the end\n  lr <\n      ^"),
        ("a and (b or", "never closed"),
        ("(lr < 1", "'(' was never closed\n  (lr < 1\n  ^"),
        ("é == 1 and f(x)", "no function can be called\n  é == 1 and f(x)\n             ^"),
        ("x[0] > 1", "write `name.0`"),
        ("lambda: 1", "there are no functions"),
        ("f'{a}'", "f-strings"),
        ("().__class__", "a dot follows something that is no name"),
        ("__import__('os').system('x')", "no function"),
        ("[a for a in b]", "nothing else"),
        ("b'x'", "a bytes is no value here"),
        ("` ", "a backquote is never closed"),
        ("`` < 1", "hold no name"),
        ("\x00", "cannot be used"),
        ("(" * 3000, "cannot be used"),
        ("-" * 1000 + "1", "levels deep"),
        ("a+" * 1000 + "a", "levels deep"),
        ("a" * 5000, "at most 4,000"),
    ],
)
def test_other_texts_are_refused_at_their_place(text, message):
    with pytest.raises(ConfigError) as info:
        Expression(text)
    assert message in str(info.value)
    assert len(str(info.value)) < 600


def test_nothing_hostile_reaches_the_terminal():
    with pytest.raises(ConfigError) as info:
        Expression("lr < \x1b[31m 3")
    assert "\x1b" not in str(info.value)


def test_names_are_checked_against_those_that_there_are():
    expression = Expression("model.lr < 1 and lr < 2")
    expression.check_names({"lr", "model"})
    expression.check_names({"lr", "model.lr"})
    with pytest.raises(ConfigError, match=r"there is no 'model.lr' \(did you mean 'modl.lr'\?\)"):
        expression.check_names({"lr", "modl.lr"})


def test_no_attribute_of_an_object_is_read():
    with pytest.raises(ConfigError, match="there is no"):
        Expression("lr.real == 0.01").matches(VALUES)
