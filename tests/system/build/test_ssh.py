"""RUN --mount=type=ssh with OpenSSH's own programs in the step: they sign with a key they never see."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path

import pytest

from tests.system.build.rigs import BuildRig, Files, file
from workers.errors import BuildFailed

SHELL = "PATH=/ssh:$PATH LD_LIBRARY_PATH=/ssh HOME=/tmp"


def programs(*names: str) -> dict[str, object]:
    """Of this machine, with the libraries they need, for the directory ``ssh`` of a context."""
    found: dict[str, object] = {}
    for name in names:
        path = Path("/usr/bin", name)
        found[f"ssh/{name}"] = file(path.read_bytes(), 0o755)
        said = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+)", said):
            place = library.lstrip("/") if "ld-linux" in library else f"ssh/{Path(library).name}"
            found[place] = file(Path(library).read_bytes(), 0o755)
    return found


@pytest.fixture(scope="module")
def context() -> Files:
    return {
        **programs("ssh-add", "ssh-keygen"),
        "passwd": "root:x:0:0::/tmp:/bin/sh\nada:x:1000:1000::/tmp:/bin/sh\n",
    }  # type: ignore[dict-item]  # files are tuples


TOOLS = "FROM base\nCOPY ssh /ssh\nCOPY lib64 /lib64\nCOPY passwd /etc/passwd\n"


def made(directory: Path, kind: str = "ed25519", *more: str) -> tuple[str, Path]:
    """A private key's text, and the file of the public one."""
    path = directory / f"id_{kind}"
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "canary", "-f", path, *more]
    subprocess.run(command, check=True)
    return path.read_text(), path.with_suffix(".pub")


def fingerprint(public: Path) -> str:
    said = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True).stdout
    return said.split()[1]


@pytest.mark.parametrize(
    ("kind", "more"), [("ed25519", ()), ("ecdsa", ("-b", "384")), ("rsa", ("-b", "2048"))]
)
def test_a_step_signs_with_a_key_it_never_sees(
    builds: BuildRig, context: Files, tmp_path: Path, kind: str, more: tuple[str, ...]
) -> None:
    key, public = made(tmp_path, kind, *more)
    built = builds.build(
        f"{TOOLS}COPY key.pub /key.pub\nRUN --mount=type=ssh {SHELL} ssh-add -l\n"
        f"RUN --mount=type=ssh,required=true echo words > /words && {SHELL} "
        "ssh-keygen -Y sign -n file -f /key.pub /words\n",
        {**context, "key.pub": public.read_text()},
        secrets={"ssh:default": key},
    )
    assert fingerprint(public) in builds.said()
    signature, allowed = tmp_path / "words.sig", tmp_path / "allowed"
    signature.write_text(builds.text(built, "/words.sig"))
    allowed.write_text(f"me {public.read_text()}")
    checked = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "me", "-n", "file", "-s", signature],
        input=b"words\n", capture_output=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked
    assert builds.node(built, "/run/buildkit") is None
    nowhere(builds, key, public.read_text())


def nowhere(builds: BuildRig, key: str, public: str) -> None:
    """No line of the key lies in any file of the node: layers, cache, log, index.

    Lines of an RSA key that the public one has as well do not count.
    """
    lines = [line.encode() for line in key.splitlines()[1:-1] if line not in public]
    assert len(lines) > 2
    for path in (*builds.rig.places.data.rglob("*"), *builds.log.glob("*")):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            assert not any(line in data for line in lines), path


def test_the_key_is_in_no_cache_key_and_not_to_be_had_as_a_secret(builds: BuildRig, tmp_path: Path) -> None:
    first, _ = made(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = made(tmp_path / "other")
    text = "FROM base\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK\n"
    builds.build(text, secrets={"ssh:default": first})
    builds.build(text, secrets={"ssh:default": other})
    assert builds.state("RUN") == "cached"
    for name in ("ssh:default", "default"):
        with pytest.raises(BuildFailed, match="is needed and was not given"):
            builds.build(
                f"FROM base\nRUN --mount=type=secret,id={name},required=true true\n",
                secrets={"ssh:default": first},
            )


def test_ids_targets_owners_and_what_is_missing(builds: BuildRig, context: Files, tmp_path: Path) -> None:
    key, public = made(tmp_path)
    (tmp_path / "more").mkdir()
    more, another = made(tmp_path / "more")
    builds.build(
        f"{TOOLS}USER ada\n"
        f"RUN --mount=type=ssh,id=git,target=/s/agent,uid=1000,mode=0600 {SHELL} SSH_AUTH_SOCK=/s/agent "
        "ssh-add -l; ls -ln /s/agent\n"
        f"RUN --mount=type=ssh,id=git {SHELL} ssh-add -l || echo not let in\n"
        'RUN --mount=type=ssh [ -z "$SSH_AUTH_SOCK" ] && echo nothing\n',
        context,
        secrets={"ssh:git": key + more},
    )
    said = builds.said()
    assert (fingerprint(public) in said, fingerprint(another) in said) == (True, True)
    assert re.search(r"srw-------\s+1 1000\s", said)
    assert ("not let in" in said, "nothing" in said) == (True, True)
    with pytest.raises(BuildFailed, match="--ssh other=FILE"):
        builds.build(
            "FROM base\nRUN --mount=type=ssh,id=other,required=true true\n", secrets={"ssh:git": key}
        )


def test_a_step_adds_and_removes_nothing_and_its_agent_ends_with_it(
    builds: BuildRig, context: Files, tmp_path: Path
) -> None:
    key, public = made(tmp_path)
    before, open_files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    builds.build(
        f"{TOOLS}RUN --mount=type=ssh {SHELL}; ssh-keygen -q -t ed25519 -N '' -f /k; ssh-add /k; ssh-add -D; "
        "ssh-add -x -q < /dev/null; ssh-add -l\n".replace(f"{SHELL};", f"export {SHELL};"),
        context,
        secrets={"ssh:default": key},
    )
    assert fingerprint(public) in builds.said()
    assert builds.said().count("SHA256:") == 1
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (before, open_files)


@pytest.mark.parametrize(
    "words", ["nothing of the kind", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_what_is_no_key_is_refused_before_anything_runs(builds: BuildRig, words: str) -> None:
    with pytest.raises(BuildFailed, match="--ssh default") as raised:
        builds.build("FROM base\nRUN exit 1\n", secrets={"ssh:default": words})
    assert words not in str(raised.value)


def test_a_key_with_a_passphrase_is_refused_by_name(builds: BuildRig, tmp_path: Path) -> None:
    key, _ = made(tmp_path, "ed25519", "-N", "a passphrase")
    with pytest.raises(BuildFailed, match="has a passphrase"):
        builds.build("FROM base\nRUN true\n", secrets={"ssh:default": key})
