"""What stands after ``key=``."""

from __future__ import annotations

import contextlib
import math
import random

import pytest

from ztxexp.configs.distributions import choice, integers, loguniform, uniform
from ztxexp.sweeps.values import as_text, as_word, quoted, read_call, read_one, read_values
from ztxexp_core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3,1e-2", [0.001, 0.01]),
        ("1e-4", [1e-4]),
        ("16", [16]),
        ("-3,+4,.5,5.,0x10,0o17", [-3, 4, 0.5, 5.0, 16, 15]),
        ("true,false,null,~,True,.inf,-.INF", [True, False, None, None, True, math.inf, -math.inf]),
        ("yes,on,1_000,1.2.3,1:30", ["yes", "on", "1_000", "1.2.3", "1:30"]),
        ("0..4", [0, 1, 2, 3, 4]),
        ("0..20:5", [0, 5, 10, 15, 20]),
        ("0..21:5", [0, 5, 10, 15, 20]),
        ("4..0:-2", [4, 2, 0]),
        ("-1..1,7", [-1, 0, 1, 7]),
        ("3..3", [3]),
        ("0..1:0.25", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("linspace(0,1,11)", [i / 10 for i in range(11)]),
        ("linspace(0,1,1)", [0.0]),
        ("logspace(1e-5,1e-1,5)", [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]),
        ("logspace(start=1, stop=100, num=3),7", [1.0, 10.0, 100.0, 7]),
        ("[64,64],[128]", [[64, 64], [128]]),
        ("[],{}", [[], {}]),
        ("{a: 1, b: [x, 'y, z']},{a:2}", [{"a": 1, "b": ["x", "y, z"]}, {"a": 2}]),
        ("[a b, {c: null}]", [["a b", {"c": None}]]),
        ('"1e-3"', ["1e-3"]),
        ("'a,b',\"c,d\",don't,'it''s'", ["a,b", "c,d", "don't", "it's"]),
        (r'"a\n\t\"\x41\u00e9\U0001f600\\"', ['a\n\t"A\u00e9\U0001f600\\']),
        ("http://host:80/a?b=c,../x.csv,a=b", ["http://host:80/a?b=c", "../x.csv", "a=b"]),
        ("{url: http://host:80/a}", [{"url": "http://host:80/a"}]),
        ("f(x),relu(a,b),:)", ["f(x)", "relu(a,b)", ":)"]),
        ("a[0],b{1,2}", ["a[0]", "b{1,2}"]),
        ("a@b,@", ["a@b", "@"]),
        (" a ,b ", ["a", "b"]),
        ("1e-3, 1e-2", [0.001, 0.01]),
    ],
)
def test_values(text, expected):
    values = read_values(text)
    assert values == expected
    assert list(map(type, values)) == list(map(type, expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uniform(0,1)", uniform(0, 1)),
        ("loguniform(1e-5, high=1e-1)", loguniform(1e-5, 1e-1)),
        ("integers(1,8)", integers(1, 8)),
        ("choice(a,b)", choice(["a", "b"])),
        ("choice([a,b], weights=[1,2])", choice(["a", "b"], [1, 2])),
        ("choice([64,64],[128])", choice([[64, 64], [128]])),
    ],
)
def test_distributions_have_the_names_of_python(text, expected):
    assert read_values(text) == expected
    assert read_values(as_text(expected)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no value; write null for nothing"),
        ("a,,b", "a value is missing beside a comma"),
        ("a,", "a value is missing beside a comma"),
        ("Hello, world", "one text in quotes: '\"Hello, world\"'"),
        ("[1,2", "the '[' of '[1,2' is never closed"),
        ("[1,2]x", "does not end where that closes; for the text write '\"[1,2]x\"'"),
        ("a(b,c", "is never closed"),
        ("'a", "is never closed"),
        ('"a"b', "something follows the closing quote"),
        ('"\\q"', "begins no escape"),
        ("{a}", "is no 'key: value'"),
        ("{a: 1, a: 2}", "is there twice"),
        ("None", "write null for nothing, and '\"None\"' for the text"),
        ("NaN", "write .nan"),
        ("1e999", "too large a number"),
        ("9" * 5000, "too many digits"),
        ("4..0", "write 0..4, or 4..0:-1 downwards"),
        ("0..4:0", "the step 0"),
        ("0..1000000000", "more than 1,000,000 values"),
        ("0..1e400:1", "more than 1,000,000 values"),
        ("0.5..1.5", "has no step; write 0.5..1.5:0.1, or linspace(0.5,1.5,5)"),
        ("linspace(0,1)", "other arguments than linspace(0,1,5)"),
        ("linspace(0,1,1000000000)", "how many, 1 to 100,000"),
        ("linspace(a,1,3)", "needs two numbers"),
        ("logspace(-5,-1,5)", "not exponents; write logspace(1e-5,1e-1,5)"),
        ("loguniform(0,1)", "starts at or below 0"),
        ("loguniform(1,2),3", "what is drawn stands alone"),
        ("lognuiform(1,2)", "did you mean 'loguniform'?"),
        ("normal(0,1)", "there is no normal(...)"),
        ("range(0,5)", "write 0..4, with both ends"),
        ("[0..4]", "stands for several values, and not inside of brackets"),
        ("@nothing.txt", "there is no file nothing.txt"),
        ("@\0", "there is no file"),
        ("[" * 60 + "]" * 60, "nested more than 50 levels deep"),
        ("[" * 5000, "does not end where that closes"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(text, message):
    with pytest.raises(ConfigError) as info:
        read_values(text)
    assert message in str(info.value)
    assert len(str(info.value)) < 400


def test_a_file_has_a_value_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["\ufeffHello, world", "", "42", '"42"', "[64, 64]", "[INST] hi", "'tis", "null"]
    (tmp_path / "prompts.txt").write_text("\n".join(lines), encoding="utf-8")
    expected = ["Hello, world", 42, "42", [64, 64], "[INST] hi", "'tis", None]
    assert read_values("@prompts.txt") == expected
    assert read_values("@prompts.txt,x") == [*expected, "x"]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ConfigError, match="holds no values; write one a line"):
        read_values("@empty.txt")
    (tmp_path / "bytes.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as a file of values"):
        read_values("@bytes.bin")


def test_calls():
    assert read_call("latin_hypercube(n=20, seed=1)") == (
        "latin_hypercube",
        [],
        {"n": 20, "seed": 1},
    )
    assert read_call("mlflow") == ("mlflow", [], {})
    assert read_call("x(space={lr: uniform(0,1)})") == ("x", [], {"space": {"lr": uniform(0, 1)}})
    with pytest.raises(ConfigError, match="is no NAME"):
        read_call("a b")
    with pytest.raises(ConfigError, match="n is there twice"):
        read_call("x(n=1, n=2)")


def test_one_value_of_a_cell_is_never_several():
    assert read_one("1,2") == "1,2"
    assert read_one(" 1e-3 ") == 0.001
    assert read_one("0..4") == "0..4"
    assert read_one("{a: 1}") == {"a": 1}


def test_words_are_read_as_the_value_they_were_made_of():
    assert as_word("lr", 1e-5) == "lr=1e-05"
    assert as_word("model.name", "a,b") == 'model.name="a,b"'
    assert as_word("+x", 1) == "++x=1"
    assert quoted("None") == '"None"' and quoted("0..4") == '"0..4"' and quoted("") == '""'
    for key in ("", "a=b", " a", "a\nb"):
        with pytest.raises(ConfigError, match="cannot be typed"):
            as_word(key, 1)
    with pytest.raises(ConfigError, match="cannot be written as text"):
        quoted(object())


_LETTERS = "ab1.,:[]{}()'\"\\@~+-=# \n\t\u00e9\ud800\x1b\u202e%0e"


def _hostile(rng: random.Random, depth: int = 0):
    kind = rng.random()
    text = "".join(rng.choices(_LETTERS, k=rng.randint(0, 8)))
    if depth < 3 and kind < 0.15:
        return [_hostile(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    if depth < 3 and kind < 0.3:
        return {text: _hostile(rng, depth + 1), "b": _hostile(rng, depth + 1)}
    return rng.choice([None, True, 1, -3, 1e-5, 1e22, 10**30]) if kind < 0.4 else text


def test_hostile_values_come_back_as_they_were():
    rng = random.Random(7)
    for _ in range(1000):
        values = [_hostile(rng) for _ in range(3)]
        assert read_values(as_text(values)) == values
        for value in values:
            text = quoted(value)
            assert read_values(text) == [value]
            assert text.isprintable()


def test_hostile_texts_are_read_or_refused():
    rng = random.Random(8)
    for _ in range(5_000):
        text = "".join(rng.choices(_LETTERS, k=rng.randint(0, 12)))
        with contextlib.suppress(ConfigError):
            read_values(text)
        read_one(text)
