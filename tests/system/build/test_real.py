"""Real Dockerfiles, built, looked into and run; every feature of the language is in one of them."""

from __future__ import annotations

import http.server
import json
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.system.build import features
from tests.system.build.expected import CERTIFICATES, Real, every
from tests.system.build.rigs import BuildRig
from tests.system.build.test_git import commit, git, serving
from tests.system.rigs import SCOPE, Rig
from workers.engine import containers, importing, recipes
from workers.engine.build.builder import Built
from workers.engine.build.stacks import Node
from workers.engine.dockerfile import reading
from workers.engine.dockerfile.parser import FORMS
from workers.errors import SlipwayError
from workers.messages import BuildImage, BuildOptions, ContainerStarted, Limits, RegistryAccess

REAL = every()


@pytest.mark.parametrize("real", [each for each in REAL if not each.network], ids=lambda real: real.name)
def test_a_build(real: Real, builds: BuildRig) -> None:
    _prove(real, builds)


@pytest.mark.soak
@pytest.mark.parametrize("real", [each for each in REAL if each.network], ids=lambda real: real.name)
def test_a_build_with_packages(real: Real, builds: BuildRig, debian: str) -> None:
    builds.images["debian:latest"] = debian
    _prove(real, builds)


@pytest.fixture(scope="session")
def busybox(builder_rig: Rig) -> str:
    return _bake(builder_rig, "busybox")


@pytest.fixture(scope="session")
def debian(builder_rig: Rig) -> str:
    return _bake(builder_rig, "debian")


@pytest.fixture(autouse=True)
def bases(builds: BuildRig, busybox: str) -> None:
    builds.images["busybox:latest"] = busybox


def _bake(rig: Rig, recipe: str) -> str:
    path = rig.places.data / f"{recipe}.tar"
    with path.open("w+b") as file:
        recipes.bake(recipe, file, lambda *_: None)
        file.seek(0)
        imported = importing.import_archive(rig.engine.images, file, scope=SCOPE, references=(recipe,))
    path.unlink()
    return imported.image_id


# --------------------------------------------------------------------------- one after the other


def _prove(real: Real, builds: BuildRig) -> None:
    expect = real.expect
    with _served(real, builds) as arguments, _repository(real, builds) as more:
        arguments = arguments | more
        command = _command(real, builds, arguments)
        if "fails" in expect:
            _fails(expect["fails"], builds, command)
            assert all(word in builds.said() for word in expect.get("log", ()))
            return
        built = builds.run(command)
        _looks_right(expect, builds, built)
        for run in expect.get("run", ()):
            _runs(run, builds, built)
        if expect.get("reproducible"):
            _is_reproducible(builds, built, command)
        elif not expect.get("options", {}).get("secrets"):
            _is_cached(builds, built, command)


def _command(real: Real, builds: BuildRig, arguments: dict[str, str]) -> BuildImage:
    options = dict(real.expect.get("options", {}))
    options["args"] = options.get("args", {}) | arguments
    options["extra_hosts"] = tuple(options.get("extra_hosts", ()))
    contexts = options.get("contexts", {})
    options["contexts"] = {name: _context(real, builds, text) for name, text in contexts.items()}
    secrets = {name: _secret(text) for name, text in options.get("secrets", {}).items()}
    options["secrets"] = {name: text for name, text in secrets.items() if text}
    wide: dict[str, Any] = {}
    if real.network:
        wide = {"limits": Limits(memory_bytes=2 << 30, cpu_millis=2000), "timeout": 900.0}
    command = builds.command("", real.context(), **wide)
    return replace(command, options=BuildOptions(**options))


def _context(real: Real, builds: BuildRig, text: str) -> str:
    if not text.startswith("@"):
        return text
    digest = f"sha256:{text[1:].encode().hex():0>64}"
    builds.uploads[digest] = real.named(text[1:])
    return digest


def _secret(text: str) -> str:
    if text == "@ssh":
        return _private_key()
    if text != "@ca":
        return text
    return CERTIFICATES.read_text() if CERTIFICATES.exists() else ""


def _private_key() -> str:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        return path.read_text()


@contextmanager
def _repository(real: Real, builds: BuildRig) -> Iterator[dict[str, str]]:
    """A git repository behind ``$REPOSITORY``, with the branch main and the tag v1."""
    files = real.expect.get("repository")
    if not files:
        yield {}
        return
    builds.access["*"] = RegistryAccess(allow_private=True)
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root, "app.git")
        directory.mkdir()
        git(directory, "init", "--quiet")
        commit(directory, files)
        git(directory, "tag", "v1")
        with serving(Path(root)) as url:
            yield {"REPOSITORY": f"{url}/app.git"}


@contextmanager
def _served(real: Real, builds: BuildRig) -> Iterator[dict[str, str]]:
    """A server on the loopback, and the build arguments that tell of it."""
    files = real.served()
    if not files:
        yield {}
        return

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path.lstrip("/"))
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def do_HEAD(self) -> None:
            self.send_response(200 if self.path.lstrip("/") in files else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    builds.access["*"] = RegistryAccess(allow_private=True)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield {"SERVER": f"http://127.0.0.1:{server.server_port}"}
        finally:
            server.shutdown()
            thread.join()


def _fails(fails: dict[str, Any], builds: BuildRig, command: BuildImage) -> None:
    with pytest.raises(SlipwayError) as caught:
        builds.run(command)
    assert fails["message"] in caught.value.message
    assert caught.value.facts["line"] == fails["line"]
    assert caught.value.code == fails.get("code", caught.value.code)


def _looks_right(expect: dict[str, Any], builds: BuildRig, built: Built) -> None:
    image = builds.image(built)
    config = json.loads(image.config_text)
    for name, value in expect.get("config", {}).items():
        found = config["config"].get(name)
        if name == "Labels":  # the base has some of its own
            found = {label: text for label, text in found.items() if label in value}
        assert found == value, name
    for name in ("author", "created"):
        if name in expect:
            assert config[name] == expect[name]
    written = [entry for entry in config["history"] if not entry.get("empty_layer")]
    assert len(written) == len(config["rootfs"]["diff_ids"]) == expect.get("layers", len(written))
    for path, wanted in expect.get("files", {}).items():
        node = builds.node(built, path)
        assert node is not None, f"{path} is not in the image"
        _matches(path, node, wanted)
    for path in expect.get("absent", ()):
        assert builds.node(built, path) is None, f"{path} is in the image"
    _tells_right(expect, builds, built)


def _tells_right(expect: dict[str, Any], builds: BuildRig, built: Built) -> None:
    for name, state in expect.get("steps", {}).items():
        assert builds.state(name) == state
    for word in expect.get("log", ()):
        assert word in builds.said()
    for text in expect.get("hidden", ()):
        _is_nowhere(text, builds, built)
    for rule in expect.get("warnings", ()):
        assert any(warning.startswith(f"{rule}: ") for warning in built.warnings), built.warnings


def _matches(path: str, node: Node, wanted: dict[str, Any]) -> None:
    status = node.status
    kinds = {"directory": node.is_directory, "file": node.is_file, "link": node.is_link}
    assert kinds.get(wanted.get("kind", ""), True), f"{path} is of another kind"
    if "link" in wanted:
        assert Path(node.place).readlink() == Path(wanted["link"])
    if "owner" in wanted:
        assert f"{status.st_uid}:{status.st_gid}" == wanted["owner"], path
    if "mode" in wanted:
        assert f"{stat.S_IMODE(status.st_mode):04o}" == wanted["mode"], path
    if "text" in wanted:
        assert Path(node.place).read_text() == wanted["text"], path
    for word in wanted.get("has", ()):
        assert word in Path(node.place).read_text(), path


def _is_nowhere(text: str, builds: BuildRig, built: Built) -> None:
    image = builds.image(built)
    kept = [image.config_text, image.manifest, built.provenance, builds.said(), str(builds.steps)]
    assert all(text not in each for each in kept)
    for path in builds.rig.places.data.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert text.encode() not in path.read_bytes(), path


def _runs(run: dict[str, Any], builds: BuildRig, built: Built) -> None:
    rig = replace(builds.rig, image_id=builds.image(built).image_id)
    limits = Limits(memory_bytes=256 << 20)
    command = rig.command(*(run["command"] or ()), limits=limits)
    if run["command"] is None:
        command = replace(command, spec=replace(command.spec, command=None))
    containers.run(rig.engine, command, rig.events.append)
    assert isinstance(rig.events[-1], ContainerStarted), rig.events[-1]
    assert rig.end(command.container).exit_code == run.get("code", 0), rig.lines(command.container)
    lines = rig.lines(command.container)
    assert lines == run.get("output", lines)
    assert not any(word in line for line in lines for word in run.get("without", ()))


def _is_reproducible(builds: BuildRig, built: Built, command: BuildImage) -> None:
    builds.builder.cache.sweep(max_bytes=0, max_age=0)
    again = builds.run(_repeated(builds, command))
    assert builds.image(again).manifest_digest == builds.image(built).manifest_digest


def _is_cached(builds: BuildRig, built: Built, command: BuildImage) -> None:
    again = builds.run(_repeated(builds, command))
    done = [step.name for step in builds.steps if step.state == "done" and step.name.startswith("[")]
    assert [name for name in done if "] FROM " not in name and not name.startswith("[internal]")] == []
    layers = [layer.diff_id for layer in builds.image(built).layers]
    assert [layer.diff_id for layer in builds.image(again).layers] == layers


def _repeated(builds: BuildRig, command: BuildImage) -> BuildImage:
    return replace(command, build=command.job, job=command.build)


# --------------------------------------------------------------------------- the language


@pytest.mark.parametrize("real", REAL, ids=lambda real: real.name)
def test_a_golden_cites_the_sections_of_the_reference_that_it_is_about(real: Real) -> None:
    assert real.expect["reference"] == sorted(features.sections(real.dockerfile()))


def test_each_feature_of_the_language_is_in_a_build() -> None:
    """By the text of the Dockerfiles that are built, not by what is said of them."""
    parsed = [features.sections(real.dockerfile()) for real in REAL]
    assert sorted(features.wanted() - set().union(*parsed)) == []
    assert len(REAL) >= 25


def test_no_instruction_and_no_flag_that_is_read_is_forgotten() -> None:
    assert set(features.INSTRUCTIONS) == set(FORMS)
    refused = {"RUN": {"device"}}
    read = {name: set(flags) - refused.get(name, set()) for name, flags in reading.FLAGS.items()}
    assert {name: set(flags) for name, flags in features.FLAGS.items()} == read
