"""Installing on a base image, with a package manager of ours in the place of Debian's: no network."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.archives import DIRECTORY, SYMLINK, E, tar
from tests.system.storage.rigs import OTHER, SCOPE
from workers.engine import changesets, images, importing, recipes
from workers.engine.images import Image, ImageStore
from workers.engine.layers import lease
from workers.errors import NodeError, NoSuchImage
from workers.tasks.jobs import Cancelled

APT = b"""#!/bin/sh
echo "apt-get $@"
case "$*" in
  *update*) echo lists > /var/lib/apt/lists/mirror_lists ;;
  *install*)
    printf 'Package: other\\nVersion: 9\\n\\nPackage: thing\\n' > /var/lib/dpkg/status
    printf 'Status: ok\\nVersion: 1:2.34.5-1+b1\\n' >> /var/lib/dpkg/status
    echo program > /usr/bin/thing
    grep CapBnd /proc/self/status
    cat /proc/sys/kernel/hostname
    test -x /usr/sbin/policy-rc.d && echo no daemons
    rm /etc/old
    ;;
esac
"""
BROKEN = b"""#!/bin/sh
echo "Reading lists"
echo "E: Unable to locate package thing"
exit 100
"""
THING = recipes.Install(
    title="Thing",
    packages=("thing",),
    command=("thing", "--major={major}"),
    entrypoint=("/start",),
    env=("THING={version}",),
    ports=("80/tcp",),
    volumes=("/data",),
    stop_signal="SIGINT",
    after=(
        {"write": "/start", "text": "#!/bin/sh\n", "mode": 0o755},
        {"link": "/var/log/thing", "to": "/dev/stdout"},
    ),
    depth=2,
)


def base(store: ImageStore, apt: bytes = APT) -> Image:
    directories = [
        E(name, kind=DIRECTORY, mode=0o755)
        for name in ("bin", "etc", "tmp", "usr/sbin", "usr/bin", "var/lib/apt/lists", "var/lib/dpkg",
                     "var/log", "var/cache/debconf")
    ]  # fmt: skip
    applets = [E(f"bin/{name}", kind=SYMLINK, link="busybox") for name in ("sh", "cat", "grep", "rm", "sed")]
    files = [
        E("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755),
        E("usr/bin/apt-get", apt, mode=0o755),
        E("etc/old", b"old"),
        E("etc/resolv.conf", b""),
        E("var/cache/debconf/config.dat", b"NEW = /tmp/thing.x1Y\n"),
    ]
    archive = io.BytesIO(tar([*directories, *applets, *files]))
    imported = importing.import_archive(
        store, archive, scope=SCOPE, references=["base"], changes=["ENV KEPT=1", "CMD sh"]
    )
    return images.get(store, SCOPE, imported.image_id)


def install(store: ImageStore, below: Image, said: list[str], tag: str = "latest") -> importing.Imported:
    return recipes.install(
        store, THING, below, scope=SCOPE, repository="thing", tag=tag, say=said.append, check=lambda: None
    )


def test_what_was_installed_is_one_layer_on_the_bases_own(store: ImageStore) -> None:
    said: list[str] = []
    below = base(store)
    made = install(store, below, said)
    assert made.references == ("thing:latest", "thing:2", "thing:2.34")
    assert made.layers[:-1] == below.layers
    layer = store.places.layer(made.layers[-1].diff_id)
    assert (layer / "usr/bin/thing").read_text() == "program\n"
    assert (layer / "var/log/thing").readlink() == Path("/dev/stdout")
    assert (layer / "etc/old").is_char_device()  # a whiteout
    assert [*(layer / "var/lib/apt/lists").iterdir()] == []
    assert not (layer / "usr/sbin/policy-rc.d").exists()
    assert said[1].endswith(" install --yes --no-install-recommends thing")
    assert said[2:5] == ["CapBnd:\t00000000a00405fb", "localhost", "no daemons"]
    assert [*store.places.layer_ingest.iterdir()] == []


def test_the_image_is_run_as_the_recipe_says(store: ImageStore) -> None:
    made = install(store, base(store), [])
    config = images.get(store, SCOPE, made.image_id).config
    assert (config.entrypoint, config.command) == (("/start",), ("thing", "--major=2"))
    assert config.env == ("KEPT=1", "THING=2.34.5")
    assert (config.exposed_ports, config.volumes, config.stop_signal) == (("80/tcp",), ("/data",), "SIGINT")
    assert config.labels["org.opencontainers.image.version"] == "2.34.5"
    assert [line.created_by for line in config.history if not line.empty_layer][-1] == (
        "apt-get install --no-install-recommends thing"
    )
    with pytest.raises(NoSuchImage):
        images.get(store, OTHER, made.image_id)


def test_the_same_packages_on_the_same_base_are_the_same_image(store: ImageStore) -> None:
    below = base(store)
    assert install(store, below, []) == install(store, below, [])


def test_the_layer_can_be_given_away(store: ImageStore) -> None:
    made = install(store, base(store), [])
    with lease(store.places):
        size = sum(len(piece) for piece in changesets.stream_layer(store.places, made.layers[-1].diff_id))
    assert size == made.layers[-1].size


def test_a_tag_of_ones_own_stands_alone(store: ImageStore) -> None:
    assert install(store, base(store), [], tag="mine").references == ("thing:mine",)


def test_packages_that_cannot_be_installed_say_why_and_leave_nothing(store: ImageStore) -> None:
    below = base(store, BROKEN)
    with pytest.raises(NodeError, match="E: Unable to locate package thing"):
        install(store, below, [])
    assert [*store.places.layer_ingest.iterdir()] == []
    assert images.image_ids(store, SCOPE) == (below.image_id,)


def test_a_cancelled_installation_ends_with_all_its_programs(store: ImageStore) -> None:
    below = base(store, b"#!/bin/sh\necho begun\nwhile :; do :; done\n")
    begun: list[str] = []

    def check() -> None:
        if begun:
            raise Cancelled("j")

    with pytest.raises(Cancelled):
        recipes.install(
            store, THING, below, scope=SCOPE, repository="t", tag="t", say=begun.append, check=check
        )
    assert [*store.places.layer_ingest.iterdir()] == []
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(store.places.layer_ingest) not in mounts
