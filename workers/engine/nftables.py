"""The kernel's packet filter through libnftables in this process: 0.2 ms where a fork of ``nft`` takes 3."""

from __future__ import annotations

import ctypes
import functools
import json
import socket
import struct
import threading
import weakref
from dataclasses import dataclass

from workers.errors import NetworkFailed

_TERSE, _JSON = 1 << 11, 1 << 4
# linux/netfilter/nfnetlink.h, nf_tables.h
_NETFILTER, _GET_GENERATION, _GENERATION_ID = 12, (10 << 8) | 16, 1


@dataclass(frozen=True)
class BaseChain:
    """A chain that hangs in one of the kernel's hooks."""

    family: str
    table: str
    name: str
    hook: str
    policy: str


class Nftables:
    """One libnftables context, used by one thread at a time. The table is that of the caller's namespace."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._library = _library()
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        self._socket.bind((0, 0))
        self._release = weakref.finalize(self, _release, self._library, self._context, self._socket)

    def close(self) -> None:
        """Also done when nobody refers to this any more."""
        with self._lock:
            self._release()

    def run(self, commands: str) -> str:
        """Carry out commands as one transaction and return what they print.

        Raise ``NetworkFailed`` with nft's own words; then nothing was changed.
        """
        return self._run(commands, 0)

    def listing(self, table: str) -> str | None:
        """An inet table without the elements of its sets; None when there is none."""
        try:
            return self._run(f"list table inet {table}", _TERSE)
        except NetworkFailed as error:
            if "No such file or directory" in error.message:
                return None
            raise

    def base_chains(self) -> list[BaseChain]:
        """The base chains of all tables of IPv4 and inet, other programs' included."""
        found = json.loads(self._run("list chains", _JSON))["nftables"]
        return [
            BaseChain(chain["family"], chain["table"], chain["name"], chain["hook"], chain.get("policy", ""))
            for chain in (item["chain"] for item in found if "chain" in item)
            if "hook" in chain and chain["family"] in ("ip", "inet")
        ]

    def generation(self) -> int:
        """A number that changes with every change of the rules, whoever makes it. Costs microseconds."""
        with self._lock:
            self._socket.send(struct.pack("=IHHIIBBH", 20, _GET_GENERATION, 1, 1, 0, 0, 0, 0))
            return decode_generation(self._socket.recv(4096))

    def _run(self, commands: str, flags: int) -> str:
        with self._lock:
            self._library.nft_ctx_output_set_flags(self._context, flags)
            failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
            printed = self._library.nft_ctx_get_output_buffer(self._context)
            complaint = self._library.nft_ctx_get_error_buffer(self._context)
        if failed:
            raise NetworkFailed(f"nftables refused: {_first_line(complaint)}")
        return str(printed.decode(errors="replace"))


def decode_generation(answer: bytes) -> int:
    """The generation id of a NEWGEN message: its first attribute, big-endian."""
    length, kind = struct.unpack_from("=HH", answer, 20) if len(answer) >= 28 else (0, 0)
    if kind != _GENERATION_ID or length != 8:
        raise NetworkFailed("The kernel does not know nf_tables; load the module nf_tables")
    return int(struct.unpack_from(">I", answer, 24)[0])


def _release(library: ctypes.CDLL, context: ctypes.c_void_p, generations: socket.socket) -> None:
    library.nft_ctx_free(context)
    generations.close()


def _first_line(complaint: bytes) -> str:
    text = complaint.decode(errors="replace").strip()
    return text.splitlines()[0].removeprefix("/dev/stdin:") if text else "no reason given"


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise NetworkFailed("libnftables.so.1 is missing; install the package nftables") from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    return library
