"""Masks secrets in command lines and patches, by the name of a value or the shape of a token.

The patterns are our own: detect-secrets was measured in their place and loses more than it gives.
"""

from __future__ import annotations

import os
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
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY")
# Random base 64: long, both cases, several digits. Hashes and ids are all lower case, names of
# models have words and dashes. With a slash only in the length of an AWS key.
_RANDOM = re.compile(
    r"(?<![\w+/.-])(?=[^\W_]*[a-z])(?=[^\W_]*[A-Z])(?=(?:[^\W\d_]*\d){3})[A-Za-z0-9+]{32,}={0,2}"
    r"(?![\w+/.-])|(?<![\w+/.-])(?=\S{0,39}[a-z])(?=\S{0,39}[A-Z])(?=\S{0,39}\d)[A-Za-z0-9+][A-Za-z0-9+/]{39}"
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


_WITH_KEY = re.compile(r"[\w@%+=:./{}-]+", re.ASCII)


def _quoted(word: str) -> str:
    if "{" in word and ".." not in word and _WITH_KEY.fullmatch(word):  # {key}, of a command
        return word
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


def mask_text(text: str) -> str:
    """Return a text without passwords in URLs and without tokens that have the shape of one.

    It is for what programs have printed: names before values do not count, for ``key: 'lr'`` is no
    secret.

    Example:
        >>> mask_text("401 at https://me:secret1@host/x with Bearer abcdef123456")
        '401 at https://***@host/x with Bearer ***'
    """
    masker = _LineMasker("")
    text = _SPOKEN.sub(lambda m: f"{m['kind']} {MASK}", _LOGIN.sub(masker.login, text))
    return _TOKEN.sub(MASK, text)


def mask_value(name: str, value: str) -> str:
    """Return the value of a configuration, a tag or the like; a secret is masked.

    Example:
        >>> mask_value("api_key", "a1b2c3d4"), mask_value("sort_key", "date")
        ('***', 'date')
    """
    if sounds_secret(name, value) and (_PARTS.search(name) or _looks_random(value)):
        return MASK
    return mask_text(value)


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


# ---- in patches ------------------------------------------------------------------------------

_SECTION = re.compile(r"^(?=diff --git )", re.MULTILINE)
_HEADER = re.compile(r'diff --git "?a/(?P<path>.*?)"? "?b/(?P=path)"?')
_ADDED_LINE = re.compile(r"^\+(?!\+\+ )(.*)", re.MULTILINE)
_KEY_BLOCK = re.compile(
    r"(^\+.*-----BEGIN (?:[A-Z]+ )*PRIVATE KEY.*\n)((?:\+(?!.*-----END ).*\n)+)", re.MULTILINE
)
_CODE = re.compile(
    r"\.(?:pyi?|pyx|ipynb|c|h|cc|cpp|hpp|cuh?|m?js|jsx|tsx?|java|go|rs|jl|r|rb|php|scala|kt|swift|lua"
    r"|m|cs|pl)"
)
_PROSE = frozenset((".md", ".rst", ".txt", ".tex"))
_WHOLE_LINES = frozenset((".ini", ".cfg", ".conf", ".properties", ".env"))
_STRING = re.compile(r"""(\\?["'])((?:(?!\1)(?:\\.|.))*)""")
_COMMENT = re.compile(r"""#[^"']*$""")

_NAME = r"(?<![\w.-])(?P<name>[\w.-]{1,80})"
# key = "value", "key": "value", key: str = "value", environ["KEY"] = "value", ("KEY", "value");
# in the text of a notebook the quotes are escaped.
_QUOTED_VALUE = re.compile(
    _NAME + r"""(?P<between>(?:\\?["'])?\]?\s{0,9}(?::[^=:,"']{0,40}=|=>|:=|==|[:=,])\s{0,9}"""
    r"""[rbfuRBFU]{0,2}(?P<quote>\"\"\"|'''|\\?["']))"""
    r"""(?P<value>(?![\s,)\]}:;])(?:(?!(?P=quote))(?:\\.|.))+)"""
)
# A whole line, as of YAML or an .ini file; then one word, also with an end tag of XML after it.
_LINE_VALUE = re.compile(
    r"(?P<name>\s*(?:-\s+)?(?:export\s+)?[\w.-]{1,80})"
    r"(?P<between>\s*[:=]\s+|\s*(?P<tight>=))(?P<value>[^\s\"'{\[|>#].*?)(?P<rest>\s+#.*|\s*)"
)
_WORD_VALUE = re.compile(
    _NAME + r"""(?P<between>(?:\\?["'])?(?:\s{0,9}[:=]\s{0,9}|>))"""
    r"""(?P<value>(?:(?:Bearer|Basic|Token)\s+)?[^\s,"'`{}\[\]<>&;|\\]+)"""
)
_OPTION_VALUE = re.compile(
    r"(?<!\S)(?P<name>(?:--?|(?<=ENV )|(?<=setenv ))[A-Za-z][\w.-]{0,80})"
    r"(?P<between>\s+)(?P<value>[^\s\"'`|;&-][^\s\"'`|;&]*)"
)
_LOGIN = re.compile(
    r"""(?<![\w+.-])(?P<scheme>[A-Za-z][\w+.-]{0,30}://)(?P<login>[^/\s"'`<>\\]{1,400})@"""
)
_QUERY_VALUE = re.compile(
    r"""(?<=[?&])(?P<name>[\w.-]{1,80})(?P<between>=)(?P<value>[^\s&"'`#;<>{}\\]+)"""
)
_SPOKEN = re.compile(r"\b(?P<kind>Bearer|Basic)\s+(?P<value>(?=\S{0,99}\d)[\w.~+/=-]{8,})")
# What stands for a value that is elsewhere, or for none.
_REFERENCE = re.compile(
    r"(?:(?:Bearer|Basic|Token)\s+)?(?:\$?\{.*\}|\$.*|%\(?\w*\)?s?%?|`.*`|!.*|<[^>]*>|\[[A-Z_]*\]"
    r"|\*+|x{3,}|[.~-]+|null|none|nil|true|false|yes|no|on|off)[,;]?",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"[A-Z]+(?:_[A-Z]+)+")  # the name of one of the environment


def mask_patch(patch: bytes) -> tuple[bytes, int, list[str]]:
    """Return a patch without its secrets, how many were masked, and the files that were left out.

    Only added lines change, so that it can still be applied: the others are in the repository.
    Secrets are known by their names and shapes, as on a command line. In source code only what is
    written out in a string counts: ``key = len(tokens)`` stays. Files that are for secrets, such as
    ``.env``, are left out as a whole.
    """
    kept, left_out, count = [], list[str](), 0
    for section in _SECTION.split(patch.decode("utf-8", "surrogateescape")):
        header = _HEADER.fullmatch(section.partition("\n")[0])
        path = header["path"] if header else ""
        if is_secret_file(os.path.basename(path)):
            left_out.append(path)
            continue
        line_masker = _LineMasker(os.path.splitext(path)[1].lower())
        section = _KEY_BLOCK.sub(line_masker.key_block, section)
        kept.append(_ADDED_LINE.sub(line_masker.added_line, section))
        count += line_masker.count
    return "".join(kept).encode("utf-8", "surrogateescape"), count, left_out


class _LineMasker:
    """Masks the secrets in the lines of a file, and counts them.

    Args:
        suffix: of the file's name.
    """

    def __init__(self, suffix: str):
        self.count = 0
        self._is_code = _CODE.fullmatch(suffix) is not None
        self._is_strict = self._is_code or suffix in _PROSE
        self._takes_lines = suffix in _WHOLE_LINES

    def __call__(self, line: str) -> str:
        line = _LOGIN.sub(self.login, line)
        line = _SPOKEN.sub(lambda m: f"{m['kind']} {self._mask()}", line)
        line = _TOKEN.sub(lambda _: self._mask(), line)
        line = _QUERY_VALUE.sub(self._named, line)
        line = _QUOTED_VALUE.sub(self._quoted, line)
        if self._is_code:
            line = _STRING.sub(lambda m: m[1] + self._words(m[2]), line)
            line = _COMMENT.sub(lambda m: self._words(m[0]), line)
        else:
            whole = _LINE_VALUE.fullmatch(line)
            if whole and (self._takes_lines or not whole["tight"]):
                line = self._named(whole) + whole["rest"]
            line = self._words(line)
        return _RANDOM.sub(lambda _: self._mask(), line)

    def added_line(self, line: re.Match[str]) -> str:
        return f"+{self(line[1])}"

    def key_block(self, block: re.Match[str]) -> str:
        lines = block[2].count("\n")
        return block[1] + f"+{self._mask()}\n" + f"+{MASK}\n" * (lines - 1)

    def _mask(self) -> str:
        self.count += 1
        return MASK

    def _words(self, text: str) -> str:
        return _OPTION_VALUE.sub(self._named, _WORD_VALUE.sub(self._named, text))

    def login(self, login: re.Match[str]) -> str:
        user, colon, password = login["login"].partition(":")
        value = password if colon else user
        plain = not colon and not _looks_random(user)
        if plain or not value or _REFERENCE.fullmatch(value):
            return login[0]
        return f"{login['scheme']}{self._mask()}@"

    def _quoted(self, pair: re.Match[str]) -> str:
        name, value = pair["name"], pair["value"]
        if "," in pair["between"]:  # of a list, or of a call
            is_name = name.startswith("-") or name.isupper()
            if value.startswith("-") or not (is_name or _looks_random(value)):
                return pair[0]
        if self._is_code and value[0] in "+%.":  # after the string, not in it
            return pair[0]
        return self._named(pair)

    def _named(self, pair: re.Match[str]) -> str:
        name, value = pair["name"], pair["value"]
        if not self._is_secret(name, value, pair["between"]):
            return f"{name}{pair['between']}{value}"
        return f"{name}{pair['between']}{self._mask()}"

    def _is_secret(self, name: str, value: str, between: str) -> bool:
        if not sounds_secret(name, value) or _REFERENCE.fullmatch(value):
            return False
        if _VARIABLE.fullmatch(value):
            return False
        if _PARTS.search(
            name.replace("-", "_")
        ):  # in the middle of a sentence it is a word like any other
            quoted = between[-1:] in ("'", '"')
            return not self._is_strict or quoted or "=" in between or _looks_random(value)
        words = [word.lower() for word in _WORD.findall(name)]
        if self._is_strict or any(word.endswith(("key", *_COUNTED)) for word in words):
            return _looks_random(value)
        return not _NUMBER.fullmatch(value)


def _looks_random(value: str) -> bool:
    """Return whether a value has letters and digits, as few words that people write do."""
    return len(value) >= 6 and bool(re.search(r"[^\W\d_]", value) and re.search(r"\d", value))
