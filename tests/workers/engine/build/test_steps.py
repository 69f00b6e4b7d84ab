from dataclasses import replace

from workers.engine.build.defaults import RunDefaults
from workers.engine.build.steps import (
    BindMount,
    CacheMount,
    ContextRoot,
    CopyStep,
    ImageRoot,
    PathSource,
    RunStep,
    SecretMount,
    StageRoot,
)
from workers.engine.dockerfile.locations import Location

HERE = Location("Dockerfile", 2, 2, "RUN true")
RUN = RunStep(
    location=HERE,
    instruction="RUN",
    name="[2/2] RUN true",
    created_by="RUN /bin/sh -c true # buildkit",
    empty_layer=False,
    defaults=RunDefaults(),
    argv=("/bin/sh", "-c", "true"),
    env=("PATH=/bin",),
    mounts=(
        BindMount("/src", StageRoot(1)),
        CacheMount("/cache", "pip"),
        BindMount("/tools", ImageRoot("busybox", "linux/amd64")),
        SecretMount("token", "/run/secrets/token"),
    ),
)


def test_a_step_needs_each_stage_it_reads_once() -> None:
    roots = (StageRoot(2), ContextRoot(), StageRoot(0), StageRoot(2))
    copy = CopyStep(
        HERE, "COPY", "", "", False, RunDefaults(), sources=tuple(PathSource(root, "/a") for root in roots)
    )
    assert copy.needs == (2, 0)
    assert RUN.needs == (1,)


def test_neither_place_nor_proxy_decides_a_step() -> None:
    moved = replace(RUN, location=replace(HERE, first_line=9), name="[9/9]", proxy_env=("http_proxy=p",))
    assert moved.key == RUN.key


def test_the_environment_decides_a_step() -> None:
    assert replace(RUN, env=("PATH=/bin", "A=1")).key != RUN.key
