"""Masks secrets in command lines and patches, by the name of a value or the shape of a token.

The patterns are our own: detect-secrets was measured in their place and loses more than it gives.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

MASK = "***"

# ---- by name ---------------------------------------------------------------------------------

# The words of a name: "--hfToken" is hf and Token, "db.api_key" is db, api and key.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+")
_ENDINGS = ("key", "keys", "token", "tokens", "auth", "pwd")
_PARTS = re.compile(
    r"passw|passphrase|secret|credential|api_?key|authoriz|cookie|密钥|密码|口令|令牌",
    re.IGNORECASE,
)
_COUNTED = ("keys", "tokens")  # of max_tokens=512 the number is no secret
_NUMBER = re.compile(r"[+-]?[\d.,_]+")


def sounds_secret(name: str, value: str = "") -> bool:
    """Return whether the value of that name is probably a secret.

    Example:
        >>> [sounds_secret(name) for name in ("--api-key", "hfToken", "tokenizer")]
        [True, True, False]
        >>> sounds_secret("--max-tokens", "512")
        False
    """
    if _PARTS.search(name):
        return True
    words = [word.lower() for word in _WORD.findall(name)]
    secret = [word for word in words if word.endswith(_ENDINGS) or word == "pass"]
    if value and all(word.endswith(_COUNTED) for word in secret) and _NUMBER.fullmatch(value):
        return False
    return bool(secret)


# ---- by shape --------------------------------------------------------------------------------

# As their issuers shape them: GitHub, GitLab, Hugging Face, OpenAI and its like, Slack, AWS,
# Google, npm, PyPI, Docker, Replicate, Stripe, JSON web tokens.
_TOKEN = re.compile(
    r"(?<!\w)(?:gh[opusr]_[A-Za-z0-9]{16,}|hf_[A-Za-z0-9]{16,}"
    r"|(?:github_pat_|glpat-|dckr_pat_|sk-|ya29\.)[\w-]{16,}|A[KS]IA[0-9A-Z]{16}"
    r"|(?:npm_|r8_|pypi-|AIza)[\w-]{30,}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|xox[abeoprs]-[\w-]{10,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*)",
    re.ASCII,
)
_ADDED_LINE = re.compile(r"^\+(?!\+\+ ).*", re.MULTILINE)
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY")
# Random base 64: long, both cases, several digits. Hashes and ids are all lower case, names of
# models have words and dashes. With a slash only in the length of an AWS key.
_RANDOM = re.compile(
    r"(?<![\w+/.-])(?=[^\W_]*[a-z])(?=[^\W_]*[A-Z])(?=(?:[^\W\d_]*\d){3})[A-Za-z0-9+]{32,}={0,2}"
    r"(?![\w+/.-])|(?<![\w+/.-])(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)[A-Za-z0-9+][A-Za-z0-9+/]{39}"
    r"(?![\w+/=.-])",
    re.ASCII,
)

_URL_LOGIN = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)[^/\s]+@")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+\S+", re.IGNORECASE)
# A pair as in JSON, in a Python dict, in YAML, in a header: its name, what is between, its value.
_PAIR = re.compile(
    r"""(?P<name>[\w.-]+)(?P<between>["']?\s*:\s*)"""
    r"""(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,"'{}\[\]/]+)"""
)


def mask_command(argv: Iterable[str]) -> str:
    """Return a command line with its secrets masked.

    Masked are values with the name of a secret (``--api-key X``, ``db.password=X``, and the same
    inside of JSON or a header), logins in URLs, and tokens by their shape. A value without either,
    as in ``-p X``, is not recognised.

    Example:
        >>> mask_command(["train.py", "--api-key", "abc", "--db=postgres://u:pw@host/db"])
        "train.py --api-key *** '--db=postgres://***@host/db'"
    """
    words: list[str] = []
    name: str | None = None  # of an option whose value is the next word
    for word in argv:
        if name is not None and not word.startswith("-") and sounds_secret(name, word):
            words.append(MASK)
        else:
            words.append(_mask_word(word))
        name = word if word.startswith("-") and "=" not in word else None
    return " ".join(map(_quoted, words))


def _mask_word(word: str) -> str:
    for at in (i for i, sign in enumerate(word) if sign == "="):
        if sounds_secret(word[:at].rpartition("=")[2], word[at + 1 :]):
            return f"{_mask_word(word[:at])}={MASK}"
    word = _URL_LOGIN.sub(rf"\g<scheme>{MASK}@", word)
    word = _BEARER.sub(rf"\g<1> {MASK}", word)
    word = _PAIR.sub(_mask_pair, word)
    return _RANDOM.sub(MASK, _TOKEN.sub(MASK, word))


def _mask_pair(pair: re.Match[str]) -> str:
    value = pair["value"]
    if not sounds_secret(pair["name"], value):
        return pair[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{pair['name']}{pair['between']}{quote}{MASK}{quote}"


def _quoted(word: str) -> str:
    begin = word.removesuffix(MASK)  # whose stars need no quotes
    plain = begin != word and (not begin or shlex.quote(begin) == begin)
    return word if plain else shlex.quote(word)


def command_line(orig_argv: Sequence[str]) -> str | None:
    """Return the line of :data:`sys.orig_argv`, masked, and without a program after ``-c``.

    Example:
        >>> command_line(["python", "-m", "train", "--lr", "0.1"])
        'python -m train --lr 0.1'
    """
    words = list(orig_argv)
    at = 1
    while at < len(words) and words[at].startswith("-"):
        option = _OPTION.fullmatch(words[at])
        if option and option["program"] == "c":
            words[at : at + 1 + (not option["given"])] = [f"{option['flags']}c", "..."]
        if option and option["program"]:
            break  # what follows is the program's
        at += 2 if option and option["argument"] and not option["given"] else 1
    return mask_command(words) if words else None


# An option of the interpreter: several letters may share a dash, the last one takes the rest.
_OPTION = re.compile(
    r"(?P<flags>-[bBdEhiIOPqRsStuvVx?]*)(?:(?P<program>[cm])|(?P<argument>[WX]))(?P<given>.*)",
    re.DOTALL,
)


# ---- in files --------------------------------------------------------------------------------

_SECRET_FILE = re.compile(
    r"\.env(?:\..*)?|\.netrc|\.pypirc|\.npmrc|\.pgpass|\.htpasswd|id_(?:rsa|dsa|ecdsa|ed25519).*"
    r"|.*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ppk)"
    r"|(?:.*[._-])?(?:secrets?|credentials?|passwords?|tokens?|api[_-]?keys?)(?:[._-].*)?",
    re.IGNORECASE,
)


def is_secret_file(name: str, data: bytes = b"") -> bool:
    """Return whether a file holds secrets, by its name or a private key in it.

    Example:
        >>> [is_secret_file(name) for name in (".env", "api_keys.yaml", "tokenizer.py")]
        [True, True, False]
    """
    return bool(_SECRET_FILE.fullmatch(name) or _PRIVATE_KEY.search(data))


def mask_patch(patch: bytes) -> tuple[bytes, int]:
    """Return a patch with its tokens masked, and how many it had.

    Only added lines change, so that it can still be applied.
    """
    text = patch.decode("latin-1")  # byte for byte
    if not _TOKEN.search(text):
        return patch, 0
    masked = _ADDED_LINE.sub(lambda line: _TOKEN.sub(MASK, line[0]), text)
    return masked.encode("latin-1"), masked.count(MASK) - text.count(MASK)
