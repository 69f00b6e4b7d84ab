"""moby's default profile: what holds when, and the compiled filter on disk."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from workers.engine.runtime import seccomp
from workers.engine.runtime.spec import CAPABILITIES
from workers.errors import RuntimeFailed


def rules(*capabilities: str, machine: str = "x86_64", release: str = "6.18.4-1-amd64") -> dict[str, Any]:
    return seccomp.resolve(seccomp.default_profile(), capabilities, machine=machine, release=release)


def actions(resolved: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [rule for rule in resolved["syscalls"] if name in rule["names"]]


@pytest.mark.parametrize(
    "name", ["mount", "umount2", "unshare", "setns", "bpf", "open_tree", "fsopen", "quotactl"]
)
def test_administrators_calls_need_the_administrators_capability(name: str) -> None:
    assert actions(rules(*CAPABILITIES), name) == []
    assert actions(rules("CAP_SYS_ADMIN"), name) != []


@pytest.mark.parametrize("name", ["keyctl", "add_key", "kexec_load", "init_module", "userfaultfd"])
def test_calls_no_container_needs_are_refused(name: str) -> None:
    assert actions(rules(*CAPABILITIES), name) == []


def test_clone_may_not_make_namespaces_and_clone3_says_it_does_not_exist() -> None:
    [clone] = actions(rules(*CAPABILITIES), "clone")
    assert clone["args"] == [{"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ"}]
    [clone3] = actions(rules(*CAPABILITIES), "clone3")
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


def test_an_old_kernel_has_no_ptrace() -> None:
    assert actions(rules(release="4.7.0"), "ptrace") == []
    assert actions(rules(release="4.8"), "ptrace") != []
    assert actions(rules(release="5.10.0-28"), "ptrace") != []


def test_rules_follow_the_machine() -> None:
    assert rules()["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert rules(machine="aarch64")["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert actions(rules(machine="aarch64"), "arch_prctl") == []
    with pytest.raises(RuntimeFailed, match="vax"):
        rules(machine="vax")


def test_the_filter_is_whole_instructions_and_ends_by_returning() -> None:
    compiled = seccomp.compile_filter(rules(*CAPABILITIES))
    assert len(compiled) % 8 == 0
    code, _, _, _ = struct.unpack("HBBI", compiled[-8:])
    assert code == 0x06  # BPF_RET | BPF_K


def test_capabilities_change_the_filter() -> None:
    assert seccomp.compile_filter(rules()) != seccomp.compile_filter(rules("CAP_SYS_ADMIN"))


def test_a_filter_is_compiled_once_and_kept(tmp_path: Path) -> None:
    first = seccomp.Filters(tmp_path).encoded(CAPABILITIES)
    [kept] = tmp_path.iterdir()
    stamp = kept.stat().st_mtime_ns
    assert seccomp.Filters(tmp_path).encoded(CAPABILITIES) == first
    assert [path.stat().st_mtime_ns for path in tmp_path.iterdir()] == [stamp]


def test_several_conditions_on_one_argument_are_alternatives() -> None:
    resolved = rules()
    resolved["syscalls"] = [
        {
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (0, 8)],
        }
    ]
    alone = rules()
    alone["syscalls"] = [
        {
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}],
        }
        for value in (0, 8)
    ]
    assert seccomp.compile_filter(resolved) == seccomp.compile_filter(alone)
