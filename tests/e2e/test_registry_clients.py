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
    wrong = docker.fails("login", host, "-u", "admin", "-p", "slp_wrong", config="nobody")
    assert "unauthorized" in wrong.lower()


# --------------------------------------------------------------------------- skopeo, podman, buildah, oras


def test_skopeo_copies_there_and_back_byte_for_byte(
    stack: RunningStack, rest: Rest, host: str, tmp_path: Path
) -> None:
    source, digest = layout(tmp_path / "source")
    name = f"skopeo-{secrets.token_hex(4)}"
    image = f"docker://{host}/{stack.project}/{name}:v1"
    credentials = f"{stack.admin}:{stack.token}"
    run("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", credentials, f"oci:{source}:v1", image)
    found = json.loads(run("skopeo", "inspect", "--tls-verify=false", "--creds", credentials, image))
    assert (found["Digest"], found["RepoTags"]) == (digest, ["v1"])
    publish(rest, name)
    run("skopeo", "copy", "--src-tls-verify=false", "--src-no-creds", image, f"oci:{tmp_path / 'copy'}:v1")
    blobs = {path.name for path in (tmp_path / "copy" / "blobs" / "sha256").iterdir()}
    assert blobs == {path.name for path in (source / "blobs" / "sha256").iterdir()}
    run("skopeo", "delete", "--tls-verify=false", "--creds", credentials, image)


def test_podman_and_buildah_push_and_pull(stack: RunningStack, rest: Rest, host: str, tmp_path: Path) -> None:
    image = f"{host}/{stack.project}/podman-{secrets.token_hex(4)}:v1"
    auth = ["--authfile", str(tmp_path / "auth.json"), "--tls-verify=false"]
    short = scratch()  # podman wants paths of 50 characters at most
    storage = ["--root", str(short / "root"), "--runroot", str(short / "run"), "--storage-driver", "vfs"]
    run("podman", *storage, "login", *auth, "-u", stack.admin, "--password-stdin", host, stdin=stack.token)
    run("podman", *storage, "import", str(rootfs(tmp_path)), image)
    run("podman", *storage, "push", *auth, image)
    before = run("podman", *storage, "image", "inspect", "--format", "{{.Id}}", image)
    run("podman", *storage, "rmi", image)
    run("buildah", *storage, "pull", *auth, image)
    assert run("podman", *storage, "image", "inspect", "--format", "{{.Id}}", image) == before
    second = image.replace(":v1", ":v2")
    run("buildah", *storage, "push", *auth, image, f"docker://{second}")
    name = image.rpartition("/")[2].partition(":")[0]
    tags = rest.call("GET", f"/projects/{stack.project}/repositories/{name}/tags")["items"]
    assert {tag["name"] for tag in tags} == {"v1", "v2"}
    publish(rest, name)
    run("podman", *storage, "rmi", "--all", "--force")
    (tmp_path / "none.json").write_text("{}")
    run("podman", *storage, "pull", "--authfile", str(tmp_path / "none.json"), "--tls-verify=false", second)


def test_oras_pushes_an_artifact_and_pulls_it(
    stack: RunningStack, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import oras.client

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("what an artifact holds\n")
    target = f"{host}/{stack.project}/oras-{secrets.token_hex(4)}:v1"
    client = oras.client.OrasClient(hostname=host, insecure=True, auth_backend="token")
    client.login(hostname=host, username=stack.admin, password=stack.token)
    pushed = client.push(target=target, files=["notes.txt"])
    assert pushed.status_code == 201
    (path,) = client.pull(target=target, outdir=str(tmp_path / "out"))
    assert Path(path).read_text() == "what an artifact holds\n"
    assert client.get_tags(target) == ["v1"]
