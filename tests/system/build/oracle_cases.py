"""Small Dockerfiles in the language both builders speak, with their contexts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.system.build.rigs import Files, context, directory, file, link


@dataclass(frozen=True)
class Case:
    dockerfile: str
    files: Files = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    """Where newer builders than the classic one say something else."""
    fails: str = ""
    """Both refuse it; ours with this."""


def _tar(files: Files, compression: str = "") -> bytes:
    plain = context(files)
    if not compression:
        return plain
    output = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(plain)) as source,
        tarfile.open(fileobj=output, mode=f"w:{compression}") as target,  # type: ignore[call-overload]
    ):
        for member in source:
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
    return output.getvalue()


_TREE: Files = {
    "a.txt": "a\n",
    "b.txt": file("b\n", 0o600),
    "run.sh": file("#!/bin/sh\n", 0o755),
    "dir": directory(0o750),
    "dir/one": "1",
    "dir/two": file("2", 0o640),
    "dir/sub": directory(0o700),
    "dir/sub/deep": "deep",
    "dir/link": link("one"),
    "out": link("/etc/passwd"),
    "dangling": link("nowhere"),
}


def _copy(line: str, before: str = "", **more: Any) -> Case:
    return Case(f"FROM base\n{before}{line}\n", _TREE, **more)


CASES: dict[str, Case] = {
    # ---- config
    "env": Case("FROM base\nENV A=1 B='two words' C=\"q$A\"\nENV D old form\n"),
    "env_expansion": Case("FROM base\nENV A=x\nENV B=${A}y C=${Z:-dflt} D=${A:+set} E=\\$A\n"),
    "env_override": Case("FROM base\nENV A=1\nENV A=2\n"),
    "cmd_exec": Case('FROM base\nCMD ["a", "b"]\n'),
    "cmd_shell": Case("FROM base\nCMD echo hi $HOME\n"),
    "entrypoint_exec": Case('FROM base\nCMD ["x"]\nENTRYPOINT ["a", "b"]\n'),
    "entrypoint_keeps_later_cmd": Case('FROM base\nENTRYPOINT ["a"]\nCMD ["b"]\n'),
    "entrypoint_shell": Case("FROM base\nENTRYPOINT exec top -b\n"),
    "workdir_absolute": Case("FROM base\nWORKDIR /a/b/c\n"),
    "workdir_relative": Case("FROM base\nWORKDIR /a\nWORKDIR b\nWORKDIR ../c\n"),
    "workdir_env": Case("FROM base\nENV D=/deep\nWORKDIR $D/er\nRUN pwd > here\n"),
    "workdir_existing": Case("FROM base\nRUN mkdir -p /w && chmod 700 /w\nWORKDIR /w\n"),
    "user_name": Case("FROM base\nUSER bob\nRUN id -u > /tmp/id\n"),
    "user_and_group": Case("FROM base\nUSER 1000:44\nRUN id -g > /tmp/id\n"),
    "labels": Case('FROM base\nLABEL a=1 b="two words"\nLABEL a=3\n'),
    "maintainer": Case("FROM base\nMAINTAINER Some One <some@one.example>\n"),
    "expose": Case("FROM base\nEXPOSE 80 443/tcp 53/udp\nEXPOSE 8000-8002\n"),
    "volume_json": Case('FROM base\nVOLUME ["/data", "/more"]\n'),
    "volume_words": Case("FROM base\nVOLUME /data /other\n"),
    "stopsignal": Case("FROM base\nSTOPSIGNAL SIGUSR1\n"),
    "shell": Case('FROM base\nSHELL ["/bin/sh", "-ec"]\nRUN echo a > /a\nCMD echo x\n'),
    "healthcheck": Case("FROM base\nHEALTHCHECK --interval=5s --timeout=2s --retries=3 CMD echo ok\n"),
    "healthcheck_exec": Case('FROM base\nHEALTHCHECK --start-period=1m CMD ["a", "b"]\n'),
    "healthcheck_none": Case("FROM base\nHEALTHCHECK NONE\n"),
    "onbuild": Case("FROM base\nONBUILD RUN echo x\nONBUILD COPY . /x\n"),
    "arg": Case("FROM base\nARG A=dflt\nARG B\nRUN echo $A-$B > /ab\n", args={"B": "given"}),
    "arg_into_env": Case("FROM base\nARG V\nENV V=${V:-none}\n", args={"V": "9"}),
    "arg_before_from": Case("ARG BASE=base\nFROM $BASE\nRUN echo [$BASE] > /x\n"),
    "comments_and_continuations": Case(
        "# escape=\\\n# a comment\nFROM base\nRUN echo a \\\n# inside\n  b \\\n\n  c > /abc\n"
    ),
    "escape_directive": Case("# escape=`\nFROM base\nRUN echo a `\n b > /ab\n"),
    # ---- RUN
    "run_files": Case("FROM base\nRUN mkdir -p /d/e && echo x > /d/e/f && busybox chmod 4711 /d/e/f\n"),
    "run_exec_form": Case('FROM base\nRUN ["/bin/touch", "/made by exec"]\n'),
    "run_removes": Case("FROM base\nRUN busybox rm -rf /home/bob /bin/plain\n"),
    "run_replaces_directory": Case(
        "FROM base\nRUN mkdir /d && touch /d/a /d/b\nRUN busybox rm -r /d && mkdir /d && touch /d/c\n"
    ),
    "run_directory_to_file": Case(
        "FROM base\nRUN mkdir /d && touch /d/a\nRUN busybox rm -r /d && touch /d\n"
    ),
    "run_owner": Case("FROM base\nRUN touch /f && busybox chown 1000:44 /f\n"),
    "run_links": Case("FROM base\nRUN touch /f && busybox ln /f /g && busybox ln -s f /h\n"),
    "run_fifo": Case("FROM base\nRUN busybox mkfifo -m 640 /pipe\n"),
    # ---- COPY
    "copy_file_to_file": _copy("COPY a.txt /x"),
    "copy_file_to_directory": _copy("COPY a.txt /x/"),
    "copy_file_into_existing": _copy("COPY a.txt /tmp"),
    "copy_several": _copy("COPY a.txt run.sh /x/"),
    "copy_several_without_slash": _copy("COPY a.txt run.sh /x", fails="must be a directory and end with a /"),
    "copy_directory": _copy("COPY dir /x"),
    "copy_directory_slash": _copy("COPY dir/ /x/"),
    "copy_directory_into_existing": _copy("COPY dir /x", "RUN mkdir /x && touch /x/two /x/kept\n"),
    "copy_all": _copy("COPY . /all/"),
    "copy_all_relative": _copy("COPY . .", "WORKDIR /w\n"),
    "copy_to_relative": _copy("COPY a.txt sub/", "WORKDIR /w\n"),
    "copy_to_dot": _copy("COPY a.txt ./", "WORKDIR /w\n"),
    "copy_wildcard": _copy("COPY *.txt /x/"),
    "copy_question_mark": _copy("COPY ?.txt /x/"),
    "copy_class": _copy("COPY [ab].txt /x/"),
    "copy_wildcard_in_directory": _copy("COPY dir/t* /x/"),
    "copy_json": _copy('COPY ["a.txt", "/with space"]'),
    "copy_chown_name": _copy("COPY --chown=bob dir /x"),
    "copy_chown_names": _copy("COPY --chown=bob:video a.txt /x/y"),
    "copy_chown_numbers": _copy("COPY --chown=7:8 a.txt /x"),
    "copy_chown_number": _copy("COPY --chown=7 a.txt /x"),
    "copy_chown_unknown": _copy("COPY --chown=nobodyhere a.txt /x", fails="no user 'nobodyhere'"),
    "copy_over_file": _copy("COPY a.txt /x", "RUN echo old > /x && busybox chmod 777 /x\n"),
    "copy_through_link": _copy("COPY a.txt /l/f", "RUN mkdir /real && busybox ln -s real /l\n"),
    "copy_through_absolute_link": _copy("COPY a.txt /l/", "RUN mkdir /real && busybox ln -s /real /l\n"),
    "copy_through_escaping_link": _copy(
        "COPY a.txt /l/", "RUN mkdir -p /real && busybox ln -s ../../../../real /l\n"
    ),
    "copy_missing": _copy("COPY nowhere /x", fails="not found in the build context"),
    "copy_from_stage": Case(
        "FROM base AS one\nRUN mkdir /d && echo 1 > /d/f && busybox chown -R 1000:1000 /d\n"
        "FROM base\nCOPY --from=one /d /e\nCOPY --from=0 /d/f /g\n"
    ),
    "copy_from_unbuilt": Case("FROM base\nCOPY --from=nosuch /x /y\n", fails="nosuch"),
    "copy_environment": _copy("COPY $F $T", "ENV F=a.txt T=/target\n"),
    "copy_ignored": Case(
        "FROM base\nCOPY . /x/\n",
        {**_TREE, ".dockerignore": "*.txt\n!b.txt\ndir/sub\n# comment\nout\n"},
    ),
    "copy_ignored_all_but": Case(
        "FROM base\nCOPY . /x/\n", {**_TREE, "dir": directory(), ".dockerignore": "*\n!dir/one\n"}
    ),
    # ---- ADD
    "add_file": _copy("ADD a.txt /x"),
    "add_tar": Case("FROM base\nADD t.tar /x\n", {"t.tar": _tar({"d": directory(0o711), "d/f": "f"})}),
    "add_tar_gz": Case("FROM base\nADD t.tgz /x/\n", {"t.tgz": _tar({"f": "f", "l": link("f")}, "gz")}),
    "add_tar_bz2": Case("FROM base\nADD t.tbz /x/\n", {"t.tbz": _tar({"f": "f"}, "bz2")}),
    "add_tar_over": Case(
        "FROM base\nRUN mkdir -p /x/d && touch /x/d/kept\nADD t.tar /x/\n",
        {"t.tar": _tar({"d": directory(0o711), "d/f": "f"})},
    ),
    "add_tar_chown": Case("FROM base\nADD --chown=bob t.tar /x/\n", {"t.tar": _tar({"f": "f"})}),
    "add_zip_is_no_tar": Case("FROM base\nADD z.zip /x/\n", {"z.zip": b"PK\3\4 and more"}),
    "copy_tar_is_not_unpacked": Case("FROM base\nCOPY t.tar /x/\n", {"t.tar": _tar({"f": "f"})}),
    # ---- stages
    "stages": Case(
        "FROM base AS a\nENV X=1\nRUN echo a > /a\nFROM a AS b\nRUN echo $X > /b\n"
        "FROM base\nCOPY --from=b /b /c\n"
    ),
    "scratch": Case("FROM scratch\nCOPY a.txt /etc/only\n", _TREE),
    "onbuild_of_a_stage": Case(
        'FROM base AS a\nENV A=1\nLABEL l=1\nWORKDIR /w\nUSER bob\nFROM a\nCMD ["z"]\n'
    ),
}
