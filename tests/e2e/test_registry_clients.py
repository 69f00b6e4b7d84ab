"""The clients people have, against the registry of a running process set: signed in and anonymously."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.dockerd import Dockerd, dockerd
from tests.environment import scratch
from tests.rest import Rest
from tests.stacks import RunningStack


@pytest.fixture(scope="module")
def host(stack: RunningStack) -> str:
    return urlsplit(stack.url).netloc


@pytest.fixture(scope="module")
def docker(stack: RunningStack) -> Iterator[Dockerd]:
    with dockerd(scratch() / "docker", urlsplit(stack.url).port or 0) as running:
        yield running


def run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command[0]} {command[1]}: {done.stdout}{done.stderr}"
    return done.stdout


def refused(*command: str, stdin: str | None = None) -> str:
    """What it complained of, in small letters."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr.lower()


def rootfs(directory: Path, size: int = 200_000) -> Path:
    """A tar of one file of chance."""
    archive = directory / f"rootfs-{secrets.token_hex(4)}.tar"
    with tarfile.open(archive, "w") as target:
        member = tarfile.TarInfo("data")
        member.size = size
        target.addfile(member, io.BytesIO(secrets.token_bytes(size)))
    return archive


def publish(rest: Rest, name: str) -> None:
    rest.call("PATCH", f"/projects/{rest.project}/repositories/{name}", {"visibility": "public"})


def layout(directory: Path) -> tuple[Path, str]:
    """An OCI layout with the image ``v1``, and its manifest's digest."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{name}",
            "size": len(data),
        }

    tar = rootfs(directory).read_bytes()
    layer = gzip.compress(tar, 1)  # plain ones clients compress on their way
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": [put(layer, "layer.v1.tar+gzip")],
    }
    named = put(json.dumps(manifest).encode(), "manifest.v1+json")
    index = {
        "schemaVersion": 2,
        "manifests": [{**named, "annotations": {"org.opencontainers.image.ref.name": "v1"}}],
    }
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps(index))
    return directory, str(named["digest"])


# --------------------------------------------------------------------------- docker


def test_docker_logs_in_pushes_and_pulls(
    docker: Dockerd, stack: RunningStack, rest: Rest, host: str, tmp_path: Path
) -> None:
    image = f"{host}/{stack.project}/docker-{secrets.token_hex(4)}"
    name = image.rpartition("/")[2]
    docker.docker("import", str(rootfs(tmp_path)), f"{image}:v1")
    assert "unauthorized" in docker.fails("push", f"{image}:v1", config="nobody").lower()
    docker.docker("login", host, "-u", stack.admin, "--password-stdin", stdin=stack.token)
    assert "digest: sha256:" in docker.docker("push", f"{image}:v1")
    docker.docker("tag", f"{image}:v1", f"{image}:v2")
    assert "Layer already exists" in docker.docker("push", f"{image}:v2")
    before = docker.docker("image", "inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", f"{image}:v1")
    docker.docker("rmi", f"{image}:v1", f"{image}:v2")
    docker.docker("pull", f"{image}:v2")
    assert docker.docker("image", "inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", f"{image}:v2") == before

    other = f"{host}/{stack.project}/copy-{secrets.token_hex(4)}"
    docker.docker("tag", f"{image}:v2", f"{other}:v1")
    assert "Mounted from" in docker.docker("push", f"{other}:v1")

    docker.docker("rmi", f"{image}:v2", f"{other}:v1")
    complaint = docker.fails("pull", f"{image}:v1", config="nobody")
    assert "unauthorized" in complaint.lower() or "denied" in complaint.lower()
    publish(rest, name)
    docker.docker("pull", f"{image}:v1", config="nobody")
    refusal = docker.fails("push", f"{image}:v1", config="nobody").lower()
    assert "unauthorized" in refusal or "denied" in refusal
    docker.docker("logout", host)
    assert "unauthorized" in docker.fails("push", f"{image}:v1").lower()
    wrong = docker.fails("login", host, "-u", "admin", "-p", "slp_wrong", config="nobody")
    assert "unauthorized" in wrong.lower()


# --------------------------------------------------------------------------- skopeo, podman, buildah, oras


def test_skopeo_copies_there_and_back_byte_for_byte(
    stack: RunningStack, rest: Rest, host: str, tmp_path: Path
) -> None:
    source, digest = layout(tmp_path / "source")
    name = f"skopeo-{secrets.token_hex(4)}"
    image = f"docker://{host}/{stack.project}/{name}:v1"
    known = ["--authfile", str(tmp_path / "auth.json")]
    login = ["skopeo", "login", "--tls-verify=false", *known, "-u", stack.admin, "--password-stdin", host]
    there = ["skopeo", "copy", "--dest-tls-verify=false"]
    back = ["skopeo", "copy", "--src-tls-verify=false"]
    assert "invalid username/password" in refused(*login, stdin="slp_wrong")
    run(*login, stdin=stack.token)
    run(*there, *known, f"oci:{source}:v1", image)
    found = json.loads(run("skopeo", "inspect", "--tls-verify=false", *known, image))
    assert (found["Digest"], found["RepoTags"]) == (digest, ["v1"])
    tags = run("skopeo", "list-tags", "--tls-verify=false", *known, image.removesuffix(":v1"))
    assert json.loads(tags)["Tags"] == ["v1"]
    run(*back, *known, image, f"oci:{tmp_path / 'known'}:v1")
    assert blobs(tmp_path / "known") == blobs(source)

    assert "unauthorized" in refused(*back, "--src-no-creds", image, f"oci:{tmp_path / 'none'}:v1")
    publish(rest, name)
    run(*back, "--src-no-creds", image, f"oci:{tmp_path / 'copy'}:v1")
    assert blobs(tmp_path / "copy") == blobs(source)
    assert "unauthorized" in refused(*there, "--dest-no-creds", f"oci:{source}:v1", f"{image}-mine")

    assert "unauthorized" in refused("skopeo", "delete", "--tls-verify=false", "--no-creds", image)
    run("skopeo", "delete", "--tls-verify=false", *known, image)
    assert "manifest unknown" in refused("skopeo", "inspect", "--tls-verify=false", *known, image)
    run("skopeo", "logout", *known, host)


def blobs(directory: Path) -> set[str]:
    """Of an OCI layout."""
    return {path.name for path in (directory / "blobs" / "sha256").iterdir()}


@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_podman_and_buildah_push_and_pull(
    stack: RunningStack, rest: Rest, host: str, tmp_path: Path, tool: str
) -> None:
    name = f"{tool}-{secrets.token_hex(4)}"
    image = f"{host}/{stack.project}/{name}:v1"
    plain = ["--authfile", str(tmp_path / "auth.json"), "--tls-verify=false"]
    (tmp_path / "none.json").write_text("{}")
    nobody = ["--authfile", str(tmp_path / "none.json"), "--tls-verify=false"]
    short = scratch()  # podman wants paths of 50 characters at most
    storage = ["--root", str(short / "root"), "--runroot", str(short / "run"), "--storage-driver", "vfs"]
    login = [tool, *storage, "login", *plain, "-u", stack.admin, "--password-stdin", host]
    identity = ["podman", *storage, "image", "inspect", "--format", "{{.Id}}", image]
    run("podman", *storage, "import", str(rootfs(tmp_path)), image)
    before = run(*identity)

    assert "invalid username/password" in refused(*login, stdin="slp_wrong")
    assert "unauthorized" in refused(tool, *storage, "push", *nobody, image)
    run(*login, stdin=stack.token)
    run(tool, *storage, "push", *plain, image)
    run(tool, *storage, "push", *plain, image, f"docker://{image.replace(':v1', ':v2')}")
    tags = rest.call("GET", f"/projects/{stack.project}/repositories/{name}/tags")["items"]
    assert {tag["name"] for tag in tags} == {"v1", "v2"}
    run("podman", *storage, "rmi", "--all", "--force")
    run(tool, *storage, "pull", *plain, image)
    assert run(*identity) == before

    run("podman", *storage, "rmi", "--all", "--force")
    assert "unauthorized" in refused(tool, *storage, "pull", *nobody, image)
    publish(rest, name)
    run(tool, *storage, "pull", *nobody, image)
    assert run(*identity) == before
    assert "unauthorized" in refused(tool, *storage, "push", *nobody, image)
    run(tool, *storage, "logout", "--authfile", str(tmp_path / "auth.json"), host)
    assert "unauthorized" in refused(tool, *storage, "push", *plain, image)


def test_oras_pushes_an_artifact_and_pulls_it(
    stack: RunningStack, rest: Rest, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oras.client import OrasClient

    monkeypatch.setenv("HOME", str(tmp_path / "known"))  # it asks for no other place
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("what an artifact holds\n")
    name = f"oras-{secrets.token_hex(4)}"
    target = f"{host}/{stack.project}/{name}:v1"
    nobody = OrasClient(hostname=host, insecure=True, auth_backend="token")
    with pytest.raises(Exception, match=r"(?i)unauthori[sz]ed|401|anonymous"):
        nobody.push(target=target, files=["notes.txt"])
    client = OrasClient(hostname=host, insecure=True, auth_backend="token")
    client.login(hostname=host, username=stack.admin, password=stack.token)
    pushed = client.push(target=target, files=["notes.txt"])
    assert pushed.status_code == 201
    (path,) = client.pull(target=target, outdir=str(tmp_path / "out"))
    assert Path(path).read_text() == "what an artifact holds\n"
    assert client.get_tags(target) == ["v1"]

    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    nobody = OrasClient(hostname=host, insecure=True, auth_backend="token")
    with pytest.raises(Exception, match=r"(?i)unauthori[sz]ed|401|anonymous"):
        nobody.pull(target=target, outdir=str(tmp_path / "none"))
    publish(rest, name)
    (path,) = nobody.pull(target=target, outdir=str(tmp_path / "theirs"))
    assert Path(path).read_text() == "what an artifact holds\n"
