"""Git repositories as build contexts and sources of ADD.

git runs as an id of the project's own range, knows no configuration but ours, runs no hooks, and speaks
http and https only, to the very addresses that were judged. Credentials go by its environment: they are in
no argument, no URL and no file.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from workers.engine.build import addresses
from workers.engine.build.addresses import Allowed
from workers.engine.build.progress import Note, shown_bytes, silent
from workers.engine.build.redaction import patterns, redact
from workers.engine.runtime.spawn import ENVIRONMENT
from workers.engine.trees import remove_tree
from workers.errors import BuildUnsupported, FetchFailed, NodeError

_SETTINGS = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("init.templateDir", ""),
    ("init.defaultBranch", "main"),
    ("credential.helper", ""),
    ("protocol.allow", "never"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "100"),
    ("http.lowSpeedTime", "30"),
    ("submodule.recurse", "false"),
    ("gc.auto", "0"),
)
_DEPTH = 10
"""Submodules in submodules."""
_MAX_FILE = 8 << 30
_LOOK = 0.1
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{7,64}")
_AS = 1000
"""Of the project's range: nobody on the node."""


@dataclass(frozen=True)
class Repository:
    url: str
    ref: str = ""
    submodules: bool = True
    keep_git_dir: bool = False
    username: str | None = None
    password: str | None = None

    @classmethod
    def of(cls, url: str, **fields: object) -> Repository:
        """Credentials in the URL become ours; what follows a ``#`` is not part of it."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise BuildUnsupported(
                f"{_shown(url)}: git repositories are fetched by https or http, not by "
                f"{parts.scheme or 'ssh'}; for a private one give a user name and a token"
            )
        if not parts.hostname:
            raise FetchFailed(f"{_shown(url)}: the URL has no host")
        clean = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
        made = cls(clean, **fields)  # type: ignore[arg-type]  # named by the caller
        if parts.username and not made.username:
            made = replace(
                made, username=unquote(parts.username), password=unquote(parts.password or "") or None
            )
        return made


Account = tuple[str, str]
"""User name and password."""


def nobody(url: str) -> Account | None:
    return None


@dataclass
class Git:
    """``home`` is a directory that ids other than root's can reach."""

    home: Path
    uid: int
    allowed: Callable[[str], Allowed]
    check: Callable[[], None]
    deadline: float
    """Monotonic."""
    account: Callable[[str], Account | None] = nobody
    note: Note = silent
    """Told how much has come."""
    """Of a repository's URL, for one that brings none of its own."""
    pinned: dict[str, str] = field(default_factory=dict)
    """``host:port`` to the address judged."""

    def checkout(self, repository: Repository, target: Path) -> str:
        """The files are at ``target``, owned by root; the commit's id. Raise ``FetchFailed``."""
        if shutil.which("git", path=ENVIRONMENT["PATH"]) is None:
            raise NodeError("git is not installed on this node; on Debian: apt-get install git")
        repository = self._with_account(repository)
        work = self.home / secrets.token_hex(8)
        work.mkdir(mode=0o700)
        os.chown(work, self.uid, self.uid)
        try:
            commit = self._check_out(repository, work)
            if repository.submodules:
                self._submodules(repository, work, repository.url, 0)
            if not repository.keep_git_dir:
                _drop_git(work)
            _give_to_root(work)
            work.rename(target)
        finally:
            remove_tree(work)
        return commit

    def _with_account(self, repository: Repository) -> Repository:
        account = None if repository.username or repository.password else self.account(repository.url)
        if account is None:
            return repository
        return replace(repository, username=account[0], password=account[1])

    def _check_out(self, repository: Repository, work: Path) -> str:
        self._pin(repository.url)
        self._git(repository, work, "init", "--quiet", ".")
        self._git(repository, work, "remote", "add", "origin", repository.url)
        self._fetch(repository, work)
        self._git(repository, work, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        return self._git(repository, work, "rev-parse", "HEAD").strip()

    def _fetch(self, repository: Repository, work: Path) -> None:
        ref = repository.ref or "HEAD"
        if ref.startswith("-") or "\0" in ref or ".." in ref:
            raise FetchFailed(f"{repository.url}: {ref[:100]!r} is no name of a branch, tag or commit")
        try:
            self._git(repository, work, "fetch", "--quiet", "--depth=1", "--no-tags", "origin", ref)
        except FetchFailed:
            if not _SHORT.fullmatch(ref):
                raise
            # A server need not hand out single commits, and none knows the beginning of an id.
            everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
            self._git(repository, work, "fetch", "--quiet", "origin", *everything)
            commit = self._git(
                repository, work, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}"
            )
            (work / ".git" / "FETCH_HEAD").write_text(f"{commit.strip()}\t\t{repository.url}\n")

    def _submodules(self, repository: Repository, work: Path, base: str, depth: int) -> None:
        for name, path, url in self._listed(repository, work, base):
            if depth >= _DEPTH:
                raise FetchFailed(f"{repository.url}: submodules are nested deeper than {_DEPTH}")
            inner = Repository.of(url)
            self._pin(inner.url)
            self._git(repository, work, "config", f"submodule.{name}.url", inner.url)
            self._git(repository, work, "submodule", "--quiet", "update", "--init", "--depth=1", "--", path)
            self._submodules(repository, work / path, inner.url, depth + 1)

    def _listed(self, repository: Repository, work: Path, base: str) -> list[tuple[str, str, str]]:
        """Name, path and URL of each submodule; a relative URL counts from the repository's own."""
        modules = work / ".gitmodules"
        if modules.is_symlink() or not modules.is_file():
            return []
        text = self._git(repository, work, "config", "--file", ".gitmodules", "--null", "--list")
        paths: dict[str, str] = {}
        urls: dict[str, str] = {}
        for entry in filter(None, text.split("\0")):
            key, _, value = entry.partition("\n")
            name, _, member = key.removeprefix("submodule.").rpartition(".")
            if member in ("path", "url"):
                (paths if member == "path" else urls)[name] = value
        found = []
        for name, path in paths.items():
            url = urls.get(name, "")
            if url.startswith(("./", "../")):
                url = urljoin(base.rstrip("/") + "/", url)
            found.append((name, path, url))
        return found

    def _pin(self, url: str) -> None:
        parts = urlsplit(url)
        host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
        self.pinned[f"{host}:{port}"] = addresses.resolve(host, port, self.allowed(host), url)

    def _git(self, repository: Repository, work: Path, *arguments: str) -> str:
        limit = ["prlimit", f"--fsize={_MAX_FILE}", "--core=0", "--"]
        process = subprocess.Popen(
            [*limit, "git", *arguments],
            cwd=work,
            env=_environment(repository, work, self.pinned),
            user=self.uid,
            group=self.uid,
            extra_groups=(),
            umask=0o022,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if arguments[0] in ("fetch", "submodule") else subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, errors = self._await(process, repository, work)
        except BaseException:
            _kill_session(process)
            raise
        if process.returncode != 0:
            said = redact((errors or output or "").strip(), patterns(filter(None, [repository.password])))
            raise FetchFailed(f"git {arguments[0]} {repository.url}: {said[-600:]}", url=repository.url)
        return output

    def _await(self, process: subprocess.Popen[str], repository: Repository, work: Path) -> tuple[str, str]:
        while True:
            try:
                output, errors = process.communicate(timeout=_LOOK)
                return output, errors or ""
            except subprocess.TimeoutExpired:
                self.check()
                if came := _came(work):
                    self.note(shown_bytes(came, 0))
                if time.monotonic() > self.deadline:
                    raise FetchFailed(f"{repository.url}: git did not end in time") from None


def _environment(repository: Repository, work: Path, pinned: Mapping[str, str]) -> dict[str, str]:
    settings = list(_SETTINGS)
    settings += [
        ("http.curloptResolve", f"{place}:[{address}]" if ":" in address else f"{place}:{address}")
        for place, address in pinned.items()
    ]
    if repository.password or repository.username:
        pair = f"{repository.username or 'git'}:{repository.password or ''}".encode()
        header = f"Authorization: Basic {base64.b64encode(pair).decode()}"
        parts = urlsplit(repository.url)
        settings.append((f"http.{parts.scheme}://{parts.netloc}/.extraHeader", header))
    environment = {
        **ENVIRONMENT,
        "HOME": str(work),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_ALLOW_PROTOCOL": "http:https",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (key, value) in enumerate(settings):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


def _came(work: Path) -> int:
    """Bytes of packs that are there, or on their way."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(work / ".git" / "objects" / "pack") as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
    return total


def _kill_session(process: subprocess.Popen[str]) -> None:
    """git and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.communicate()


def _drop_git(work: Path) -> None:
    """The repository's own directory, and the files of submodules that point into it."""
    for directory, names, files in os.walk(work):
        if ".git" in names:
            names.remove(".git")
            remove_tree(Path(directory, ".git"))
        if ".git" in files:
            Path(directory, ".git").unlink()


def _give_to_root(work: Path) -> None:
    os.chown(work, 0, 0)
    work.chmod(0o755)
    for directory, names, files in os.walk(work):
        for name in (*names, *files):
            os.chown(os.path.join(directory, name), 0, 0, follow_symlinks=False)


def _shown(url: str) -> str:
    """Without what may be a password."""
    return re.sub(r"//[^/@]*@", "//", url)[:200]
