"""From a Dockerfile to an image that says and holds what it should."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from dataclasses import replace

import pytest

from tests.system.build.rigs import BuildRig, directory, file, link
from workers.errors import (
    BuildExceeded,
    BuildFailed,
    BuildUnsupported,
    NoSuchImage,
    StepFailed,
)


def test_an_image_holds_what_its_steps_made_and_runs(builds: BuildRig) -> None:
    built = builds.build(
        """
FROM base
RUN echo made > /made && mkdir /data
WORKDIR /app
COPY hello.txt .
ENV COLOR=red
LABEL who=me
CMD ["cat", "/app/hello.txt"]
""",
        {"hello.txt": "hello\n"},
    )

    assert builds.text(built, "/made") == "made\n"
    config = json.loads(builds.image(built).config_text)
    assert config["config"]["Cmd"] == ["cat", "/app/hello.txt"]
    assert config["config"]["WorkingDir"] == "/app"
    assert "COLOR=red" in config["config"]["Env"]
    assert config["config"]["Labels"] == {"who": "me"}
    layers = [entry for entry in config["history"] if not entry.get("empty_layer")]
    assert len(layers) == len(config["rootfs"]["diff_ids"]) == 4
    rig = replace(builds.rig, image_id=builds.image(built).image_id)
    assert rig.result("cat", "hello.txt") == (0, ["hello"])


def test_a_run_leaves_nothing_of_its_mounts_in_the_layer(builds: BuildRig) -> None:
    built = builds.build(
        "FROM base\n"
        "RUN --mount=type=bind,target=/src/here --mount=type=cache,target=/var/cache/x "
        "--mount=type=secret,id=k,target=/run/secrets/k --mount=type=tmpfs,target=/t touch /var/cache/x/f\n",
        secrets={"k": "value-of-k"},
    )

    top = builds.rig.places.layer(builds.image(built).layers[-1].diff_id)
    assert [path.name for path in top.rglob("*")] == []


def test_a_step_prints_into_the_log_of_the_build(builds: BuildRig) -> None:
    builds.build("FROM base\nRUN echo one; echo two >&2; printf three\n")

    lines = builds.log.joinpath("active.log").read_text().splitlines()
    step = builds.step("RUN").id
    assert [(line.split(" ")[1], line.split(" ", 3)[3]) for line in lines] == [
        (f"{step}:stdout", "one"),
        (f"{step}:stderr", "two"),
        (f"{step}:stdout", "three"),
    ]


def test_what_ran_beside_a_failing_step_is_cancelled(builds: BuildRig) -> None:
    with pytest.raises(StepFailed):
        builds.build(
            "FROM base AS a\nRUN --mount=type=cache,id=m,target=/m touch /m/up; sleep 100\n"
            "FROM base AS b\nRUN --mount=type=cache,id=m,target=/m "
            "while [ ! -e /m/up ]; do sleep 0.05; done; exit 3\n"
            "FROM a\nCOPY --from=b /etc /x\n"
        )
    states = {step.name.partition("]")[0]: step.state for step in builds.steps}
    assert (states["[a 2/2"], states["[b 2/2"], states["[stage-2 1/1"]) == (
        "cancelled",
        "failed",
        "cancelled",
    )
    assert "exit code: 3" in builds.step("[b 2/2]").reason


def test_stages_that_are_not_needed_are_skipped(builds: BuildRig) -> None:
    built = builds.build(
        "FROM base AS unused\nRUN exit 1\nFROM base AS tool\nRUN echo t > /t\n"
        "FROM scratch\nCOPY --from=tool /t /t\n"
    )

    assert builds.state("[unused]") == "skipped"
    assert builds.text(built, "/t") == "t\n"
    assert len(builds.image(built).layers) == 1


def test_independent_stages_run_at_once(builds: BuildRig) -> None:
    """Each waits for the other, by a cache mount both see."""
    meet = (
        "RUN --mount=type=cache,id=meet,target=/m touch /m/{0}; n=0; "
        "while [ ! -e /m/{1} ]; do n=$((n+1)); [ $n -gt 200 ] && exit 1; sleep 0.05; done\n"
    )
    builds.build(
        f"FROM base AS a\n{meet.format('a', 'b')}FROM base AS b\n{meet.format('b', 'a')}"
        "FROM scratch\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\n"
    )


def test_secrets_are_given_and_kept_nowhere(builds: BuildRig) -> None:
    canary = "canary-5f0e9a/+=x"
    built = builds.build(
        "FROM base\n"
        "RUN --mount=type=secret,id=k,uid=1000,mode=0440,env=KEY,target=/run/secrets/k "
        'cat /run/secrets/k; echo " $KEY"; ls -ln /run/secrets/k; [ "$(cat /run/secrets/k)" = "$KEY" ]\n',
        secrets={"k": canary},
    )

    assert "***" in builds.said()
    assert "-r--r-----    1 1000" in builds.said()
    image = builds.image(built)
    kept = [image.config_text, image.manifest, built.provenance, builds.said(), str(builds.steps)]
    assert all(canary not in text for text in kept)
    for path in builds.rig.places.data.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert canary.encode() not in path.read_bytes(), path


def test_a_missing_secret_is_refused_by_name(builds: BuildRig) -> None:
    with pytest.raises(BuildFailed, match="secret 'k' is needed"):
        builds.build("FROM base\nRUN --mount=type=secret,id=k,required=true true\n")


def test_a_failing_command_says_where_it_is(builds: BuildRig) -> None:
    with pytest.raises(StepFailed, match="exit code: 7") as raised:
        builds.build("FROM base\n\nRUN exit 7\n")

    assert raised.value.facts["line"] == 3
    assert raised.value.facts["file"] == "Dockerfile"
    assert "RUN exit 7" in str(raised.value.facts["step"])
    assert builds.state("RUN exit 7") == "failed"


def test_a_program_that_is_not_there_is_exit_code_127(builds: BuildRig) -> None:
    with pytest.raises(StepFailed, match="127"):
        builds.build('FROM base\nRUN ["/no/such"]\n')


def test_too_much_time_is_said_so(builds: BuildRig) -> None:
    with pytest.raises(BuildExceeded, match="build exceeded its time at step 2/2"):
        builds.build("FROM base\nRUN sleep 100\n", timeout=0.3)


def test_a_cancelled_step_is_killed_with_all_it_started(builds: BuildRig) -> None:
    class Ended(Exception):
        pass

    def cancelled() -> None:
        if "up" in builds.said():
            raise Ended

    builds.cancelled = cancelled
    with pytest.raises(Ended):
        builds.build("FROM base\nRUN (trap '' TERM; sleep 100) & echo up; sleep 100\n")

    assert builds.state("RUN") == "cancelled"


@pytest.mark.parametrize("line", ["--network=host", "--security=insecure"])
def test_what_is_closed_to_builds_is_refused_by_name(builds: BuildRig, line: str) -> None:
    with pytest.raises(BuildUnsupported):
        builds.build(f"FROM base\nRUN {line} true\n")


def test_squash_is_refused_by_name(builds: BuildRig) -> None:
    with pytest.raises(BuildUnsupported, match="squash"):
        builds.build("FROM base\n", squash=True)


def test_without_a_network_there_is_none(builds: BuildRig) -> None:
    built = builds.build("FROM base\nRUN --network=none ls /sys/class/net > /nets\n")
    assert builds.text(built, "/nets").split() == ["lo"]


def test_an_unknown_base_is_named_with_its_line(builds: BuildRig) -> None:
    with pytest.raises(NoSuchImage, match="nosuch") as raised:
        builds.build("FROM nosuch\n")
    assert raised.value.facts["line"] == 1


def test_extra_hosts_and_the_user_of_the_image_count(builds: BuildRig) -> None:
    built = builds.build(
        "FROM base\nUSER bob\nWORKDIR /tmp\nRUN id -u > u; cat /etc/hosts > h; echo x > /dev/stdout\n",
        extra_hosts=("db:10.1.2.3",),
    )
    assert builds.text(built, "/tmp/u") == "1000\n"
    assert "10.1.2.3\tdb" in builds.text(built, "/tmp/h")


def test_bind_mounts_show_contexts_and_stages_and_discard_what_is_written(builds: BuildRig) -> None:
    built = builds.build(
        "FROM base AS a\nRUN mkdir /d && echo deep > /d/f\n"
        "FROM base\n"
        "RUN --mount=type=bind,target=/c,rw --mount=type=bind,from=a,source=/d,target=/d "
        "cat /c/x /d/f > /got; echo new > /c/x; touch /d/no 2>/dev/null && exit 1; cat /c/x >> /got\n"
        "RUN --mount=type=bind,target=/c cat /c/x >> /got\n",
        {"x": "ctx\n"},
    )
    assert builds.text(built, "/got") == "ctx\ndeep\nnew\nctx\n"


def test_a_cache_mount_stays_from_build_to_build_but_not_in_the_image(builds: BuildRig) -> None:
    run = (
        "FROM base\nARG N\nRUN --mount=type=cache,target=/c,uid=1000,mode=0700 "
        "echo $N >> /c/log; cat /c/log > /log; ls -lnd /c > /ls\n"
    )
    builds.build(run, args={"N": "1"})
    built = builds.build(run, args={"N": "2"})

    assert builds.text(built, "/log") == "1\n2\n"
    assert builds.text(built, "/ls").startswith("drwx------    2 1000")
    assert builds.node(built, "/c") is None


def test_locked_cache_mounts_are_one_after_the_other(builds: BuildRig) -> None:
    step = (
        "RUN --mount=type=cache,id=l,sharing=locked,target=/c [ ! -e /c/busy ] && touch /c/busy && "
        "sleep 0.3 && rm /c/busy && echo {0} > /done\n"
    )
    built = builds.build(
        f"FROM base AS a\n{step.format('a')}FROM base AS b\n{step.format('b')}"
        "FROM scratch\nCOPY --from=a /done /a\nCOPY --from=b /done /b\n"
    )
    assert (builds.text(built, "/a"), builds.text(built, "/b")) == ("a\n", "b\n")


@pytest.mark.parametrize(
    ("sharing", "a", "b", "after"),
    [("shared", ["a", "b"], ["a", "b"], [["a", "b"]]), ("private", ["a"], ["b"], [["a"], ["b"]])],
)
def test_writers_at_once_see_one_another_or_have_their_own(
    builds: BuildRig, sharing: str, a: list[str], b: list[str], after: list[list[str]]
) -> None:
    mount = f"--mount=type=cache,id=s,sharing={sharing},target=/c"
    step = f"RUN {mount} echo {{0}} > /c/{{0}}; sleep 1; ls /c > /seen\n"
    built = builds.build(
        f"FROM base AS a\n{step.format('a')}FROM base AS b\n{step.format('b')}"
        "FROM scratch\nCOPY --from=a /seen /a\nCOPY --from=b /seen /b\n"
    )
    assert (builds.text(built, "/a").split(), builds.text(built, "/b").split()) == (a, b)
    again = builds.build(f"FROM base\nRUN {mount} ls /c > /seen\n")
    assert builds.text(again, "/seen").split() in after  # one of them is found again


def test_equal_steps_of_builds_at_once_are_done_once(builds: BuildRig) -> None:
    text = "FROM base\nRUN --mount=type=cache,id=n,target=/c echo x >> /c/log; sleep 0.3; cat /c/log > /log\n"
    commands = [builds.command(text) for _ in range(3)]
    failures: list[BaseException] = []

    def build(number: int) -> None:
        try:
            builds.run(commands[number])
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=build, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert builds.text(builds.build(text), "/log") == "x\n"


def test_files_instead_of_an_image(builds: BuildRig) -> None:

    built = builds.build(
        "FROM scratch\nCOPY . /\n", {"a": "1", "d": directory(0o700), "d/l": link("../a")}, output="tar"
    )

    assert built.image is None
    with tarfile.open(fileobj=io.BytesIO(builds.output)) as tar:
        assert tar.getnames() == ["Dockerfile", "a", "d", "d/l"]
        assert tar.getmember("d").mode == 0o700
        assert tar.getmember("d/l").linkname == "../a"


def test_the_same_digest_twice_from_a_cold_cache(builds: BuildRig) -> None:
    text = "FROM base\nRUN mkdir /d && echo x > /d/x\nCOPY f /f\nENV A=b\n"
    first = builds.build(text, {"f": file("y", 0o600)}, source_date_epoch=1_700_000_000)
    again = builds.build(text, {"f": file("y", 0o600)}, source_date_epoch=1_700_000_000, no_cache=True)

    assert builds.image(first).manifest_digest == builds.image(again).manifest_digest
    assert json.loads(builds.image(first).config_text)["created"] == "2023-11-14T22:13:20Z"


def test_the_same_digest_also_where_the_cache_has_later_times(builds: BuildRig) -> None:
    text = "FROM base\nRUN mkdir /d && echo x > /d/x\nCOPY f /f\n"
    cold = builds.build(text, {"f": "y"}, source_date_epoch=1_500_000_000)
    builds.builder.cache.sweep(max_bytes=0, max_age=0)
    plain = builds.build(text, {"f": "y"})

    warm = builds.build(text, {"f": "y"}, source_date_epoch=1_500_000_000)

    assert builds.state("RUN") == "cached"
    assert builds.image(warm).layers == builds.image(cold).layers
    assert builds.image(plain).layers != builds.image(cold).layers
    again = builds.build(text, {"f": "y"})
    assert builds.image(again).image_id == builds.image(plain).image_id


def test_where_an_image_came_from_is_stated(builds: BuildRig) -> None:
    built = builds.build("FROM base\nARG V\nRUN true\n", args={"V": "7"}, tags=("web:1",))

    statement = json.loads(built.provenance)
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    algorithm, _, digits = builds.image(built).manifest_digest.partition(":")
    assert statement["subject"] == [{"name": "web:1", "digest": {algorithm: digits}}]
    assert statement["predicate"]["buildDefinition"]["externalParameters"]["args"] == {"V": "7"}
    assert len(statement["predicate"]["buildDefinition"]["resolvedDependencies"]) == 1


def test_a_commands_limits_and_host_name_are_as_asked_for(builds: BuildRig) -> None:
    text = "FROM base\nRUN ulimit -n > /soft; ulimit -Hn > /hard; hostname > /name\n"
    built = builds.build(
        text, ulimits=("nofile=64:128",), args={"BUILDKIT_SANDBOX_HOSTNAME": "builder"}, network="bridge"
    )
    assert [builds.text(built, path) for path in ("/soft", "/hard", "/name")] == [
        "64\n",
        "128\n",
        "builder\n",
    ]
