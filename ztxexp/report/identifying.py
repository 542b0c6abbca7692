"""What says who has made runs, and where: gathered from records, texts, git and this machine."""

from __future__ import annotations

import contextlib
import getpass
import ipaddress
import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ztxexp.analysis.run_table import RunTable
from ztxexp.provenance.people import people_of
from ztxexp.report.origins import origins_of
from ztxexp.results.launches import read_launches

HOST, DOMAIN, USER, HOME, FOLDER = "host name", "domain", "user name", "home folder", "folder"
REMOTE, COMMIT, AUTHOR, EMAIL = "git remote", "commit", "author", "e-mail address"
ADDRESS, MACHINE = "network address", "machine id"

_WORDS = {
    HOST: "host-{}",
    DOMAIN: "domain-{}",
    USER: "user-{}",
    HOME: "~",
    FOLDER: "{}",
    REMOTE: "remote-{}",
    COMMIT: "commit-{}",
    AUTHOR: "author-{}",
    EMAIL: "email-{}",
    ADDRESS: "address-{}",
    MACHINE: "machine-{}",
}

# What says nothing of anybody: accounts, hosts of mail, the words that stand for what was taken.
_ACCOUNTS = """
    root user users admin administrator ubuntu debian centos fedora ec2-user jovyan runner vagrant
    docker nobody home test tests dev data work app guest default public shared python conda git
    github gitlab codespace vscode noreply no-reply mail email info
"""
_PLACES = """
    localhost localdomain local www org com net edu gmail.com outlook.com hotmail.com yahoo.com
    qq.com 163.com 126.com users.noreply.github.com example.com example.org
"""
_WORDS_OF_OURS = """
    host domain remote commit author address machine folder results run runs env none null true
    false unknown
"""
_NOBODY = frozenset(f"{_ACCOUNTS} {_PLACES} {_WORDS_OF_OURS}".split())
_CERTAIN = 5  # letters: a shorter name of somebody may be that of a thing: adam, max

_SEP = r"(?:\\{0,4}/|%(?:25)?2F|\\{1,4}|%(?:25)?5C)"  # of a path, also escaped or in a URL
_NAME = r"[^/\\\s\"'<>:;,|(){}\[\]&?*=#%]+"
_ENCODED_NAME = (
    r"(?:[^/\\\s\"'<>:;,|(){}\[\]&?*=#%]|%(?!(?:25)?(?:2F|5C|20|22|27|2C|3A))[0-9A-F]{2})+"
)
_HOME = re.compile(
    rf"(?P<path>(?:[A-Za-z](?::|%3A))?{_SEP}(?:home|Users|Documents and Settings){_SEP}"
    rf"(?P<name>{_ENCODED_NAME}))",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"(?<![\w.+-])(?P<name>[\w.+-]{1,64})(?:@|%40)(?P<host>[\w-]+(?:\.[\w-]+)+)")
_FORGE = r"[\w.-]*(?:github|gitlab|bitbucket|gitee|codeberg|gitea|sr\.ht)[\w.-]*"
_REMOTE = re.compile(
    rf"(?:(?:ssh|git|https?)://(?:[^\s/@\"']+@)?{_FORGE}(?::\d+)?/|git@[\w.-]+:|"
    rf"(?<![\w.-]){_FORGE}\.(?:com|org|io|net|cn|ht)[:/])[\w.~+-]+(?:/[\w.~+-]+)*",
    re.IGNORECASE,
)
_IPV4 = re.compile(r"(?<![\w.=-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_PATH_OF_REMOTE = re.compile(r"(?:^[\w+]+://[^/]*/|^[^/:]*:)(?P<path>.+?)(?:\.git)?/?$")
_KEYS = {
    **dict.fromkeys(("user", "username", "user_name", "login", "owner"), USER),
    **dict.fromkeys(("author", "authors", "full_name", "fullname"), AUTHOR),
    **dict.fromkeys(("email", "mail", "e_mail"), EMAIL),
    **dict.fromkeys(("host", "hostname", "host_name", "fqdn"), HOST),
}


@dataclass
class Secrets:
    """What is taken out, each with the word that stands for it.

    Attributes:
        word_of: by what is taken, its kind and its word.
    """

    word_of: dict[str, tuple[str, str]] = field(default_factory=dict)
    _words: dict[str, str] = field(default_factory=dict)  # by what is taken, in small letters
    _count: Counter[str] = field(default_factory=Counter)  # of each kind

    def add(self, kind: str, text: Any, word: str | None = None) -> str | None:
        """Add one, unless it says nothing of anybody; return its word.

        Args:
            kind: such as :data:`HOST`.
            text: what is taken; anything but a text is nothing.
            word: what stands for it; the next one of its kind by default.
        """
        if not isinstance(text, str) or not (text := text.strip()):
            return None
        plain = text.lower()
        if plain in _NOBODY or len(text) < 2 or plain.isdigit():
            return None
        if plain in self._words:
            return self._words[plain]
        if word is None:
            self._count[kind] += 1
            word = _WORDS[kind].format(self._count[kind])
        self.word_of[text], self._words[plain] = (kind, word), word
        return word

    def add_host(self, name: Any) -> None:
        """Add a host with and without its domain, and the domain."""
        if not isinstance(name, str) or _is_address(name):
            self.add(ADDRESS, name)
            return
        short, _, domain = name.partition(".")
        word = self.add(HOST, name) if domain else None
        self.add(HOST, short, word)
        if "." in domain:
            self.add(DOMAIN, domain)

    def add_home(self, path: str, name: str) -> None:
        """Add a home folder and whose it is."""
        self.add(HOME, path)
        self.add(USER, name)
        if "%" in name:
            self.add(USER, unquote(unquote(name)))

    def add_email(self, address: str) -> None:
        """Add an e-mail address, its user and its domain."""
        name, _, host = address.partition("@")
        if name.lower() != "git":
            self.add(EMAIL, address)
            self.add_name(name)
            self.add(DOMAIN, host)

    def add_name(self, name: str) -> None:
        """Add the name of an account somewhere, unless it is too short to be nothing else."""
        if len(name) >= _CERTAIN:
            self.add(USER, name)

    def add_remote(self, address: str) -> None:
        """Add the address of a repository of the user's, with its owner."""
        self.add(REMOTE, address)
        match = _PATH_OF_REMOTE.search(address)
        parts = match["path"].strip("/").split("/") if match else []
        if len(parts) > 1:
            self.add(REMOTE, "/".join(parts))
            self.add_name(parts[0])

    def add_author(self, name: str) -> None:
        """Add a person's name, as it is written in texts, in file names and in accounts."""
        if "@" in name:
            self.add_email(name)
            return
        parts = name.split()
        if len(parts) < 2:
            self.add_name(name)
            return
        word = self.add(AUTHOR, name)
        if word is not None:
            for sign in ("_", "-", ".", ""):
                self.add(AUTHOR, sign.join(parts), word)
            self.add(AUTHOR, f"{parts[-1]}, {' '.join(parts[:-1])}", word)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def secrets_of(table: RunTable, texts: Iterable[str]) -> Secrets:
    """Return what has to be taken out of what is said about some runs.

    Args:
        table: the runs.
        texts: all that is said; hosts, people and folders that only these name count, too.
    """
    secrets = Secrets()
    origins = origins_of(table)
    for host in (*_different(origins.column("hostname")), platform.node()):
        secrets.add_host(host)
    for owner in _different_owners(table):
        secrets.add_host(owner.get("host"))
        secrets.add(MACHINE, owner.get("boot"))
        secrets.add(MACHINE, owner.get("pid_namespace"))
    folders = _of_this_machine(secrets)
    for place in (table.runs.root, *table.runs.folders()[-1:]):
        with contextlib.suppress(Exception):  # whatever the system raises that does not know
            secrets.add(USER, Path(place).owner())
    launches = read_launches(table.runs.root)
    for launch in launches:
        secrets.add_host(launch.owner.get("host"))
    secrets.add(FOLDER, table.runs.root, "results")
    for launch in launches:
        secrets.add(FOLDER, launch.cwd.rstrip("/"), ".")
    for commit in _different(origins.column("git_commit")):
        secrets.add(COMMIT, commit)
    for key in (*table.config.names(), "tags"):
        _of_key(secrets, table, key)
    places = [table.runs.root, os.getcwd(), *(launch.cwd for launch in launches[-20:])]
    for folder in dict.fromkeys(place for place in places if os.path.isdir(place)):
        people = people_of(folder)
        for remote in people.remotes:
            secrets.add_remote(remote)
        for author in people.authors:
            secrets.add_author(author)
    for text in texts:
        _of_text(secrets, text)
    for folder, word in folders:
        secrets.add(FOLDER, folder, word)
    return secrets


def _different(cells: Iterable[Any]) -> Iterator[str]:
    yield from dict.fromkeys(cell for cell in cells if isinstance(cell, str))


def _different_owners(table: RunTable) -> Iterator[Mapping[str, Any]]:
    seen = set()
    for owner in table.runs.run.column("owner"):
        if isinstance(owner, dict):
            key = str([owner.get(name) for name in ("host", "boot", "pid_namespace")])
            if key not in seen:
                seen.add(key)
                yield owner


def _of_this_machine(secrets: Secrets) -> list[tuple[str, str]]:
    """Add the user of this machine; return folders that are his, each with its word."""
    with contextlib.suppress(Exception):  # whatever the system raises that does not know
        secrets.add(USER, getpass.getuser())
    for variable in ("USER", "LOGNAME", "USERNAME", "SUDO_USER"):
        secrets.add(USER, os.environ.get(variable))
    with contextlib.suppress(RuntimeError):
        home = Path.home()
        if len(home.parts) > 1:
            secrets.add_home(str(home), home.name)
            secrets.add(HOME, os.path.realpath(home))
    with contextlib.suppress(ImportError, KeyError, OSError):
        import pwd

        for part in pwd.getpwuid(os.getuid()).pw_gecos.split(",")[:1]:
            if len(part.split()) > 1:
                secrets.add_author(part)
    return [(sys.prefix, "env")] if sys.prefix != sys.base_prefix else []


def _of_key(secrets: Secrets, table: RunTable, key: str) -> None:
    """Add the values of a key that is called a user or the like; those of all tags."""
    if key == "tags":
        for tags in table.runs.run.column("tags"):
            for name, value in tags.items() if isinstance(tags, dict) else ():
                _named(secrets, str(name), value)
        return
    if key.rpartition(".")[2].lower() in _KEYS:
        for value in _different(table.config.column(key)):
            _named(secrets, key, value)


def _named(secrets: Secrets, key: str, value: Any) -> None:
    kind = _KEYS.get(key.rpartition(".")[2].lower())
    if kind == HOST:
        secrets.add_host(value)
    elif kind in (AUTHOR, EMAIL) and isinstance(value, str):
        secrets.add_author(value)
    elif kind is not None:
        secrets.add(kind, value)


def _of_text(secrets: Secrets, text: str) -> None:
    """Add the people and places that a text names."""
    for match in _HOME.finditer(text):
        secrets.add_home(match["path"], match["name"])
    for match in _REMOTE.finditer(text):
        secrets.add(REMOTE, match[0])
    for match in _EMAIL.finditer(text):
        secrets.add_email(f"{match['name']}@{match['host']}")
    for match in _IPV4.finditer(text):
        if _is_address(match[0]) and not ipaddress.ip_address(match[0]).is_loopback:
            secrets.add(ADDRESS, match[0])
