"""A pcscd of one's own with virtual readers (vpcd), in namespaces where nobody else reaches it.

vpcd listens on every address, and pcscd's socket has one fixed place: so pcscd runs in a network namespace that
has only a loopback, and in a mount namespace whose /run is a directory of ours. The socket of pcscd lies in that
directory, where `PCSCLITE_CSOCK_NAME` lets a PC/SC client find it. A card needs a connection to vpcd: the
process in the namespaces makes it and hands it out over a Unix socket.

Needs Debian's `pcscd` and `vsmartcard-vpcd`, and root or unprivileged user namespaces.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, Self

from edge.errors import HardwareError

#: The variable that libpcsclite reads before it looks at its fixed place; it does so once a process.
SOCKET_VARIABLE: Final = "PCSCLITE_CSOCK_NAME"

#: vpcd has two slots, which are two readers to PC/SC, on ports that follow each other. (It keeps its state by slot,
#: so that a second entry of its own in pcscd's configuration would take the first one's place.)
SLOTS: Final = 2
_FIRST_PORT: Final = 0x8C7B

_DRIVER: Final = "serial/libifdvpcd.so"
_DRIVER_ROOTS: Final = (Path("/usr/lib/pcsc/drivers"), Path("/usr/lib/aarch64-linux-gnu/pcsc/drivers"))

#: pcscd takes a tenth of a second to start; a busy computer takes longer.
START_MAX_S: Final = 20.0

#: vpcd takes a card's connection when it looks the next time, 0.4 s later.
_HAND_OUT_MAX_S: Final = 5.0

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1


class PcscdMissing(HardwareError):
    """What virtual PC/SC readers need is not installed, or not allowed."""

    code = "virtual.pcscd_missing"
    hint = "apt install pcscd vsmartcard-vpcd; as an ordinary user also unprivileged user namespaces"
    retryable = False


class Pcscd:
    """pcscd with two virtual readers, named `<name> 00 00` and `<name> 00 01`.

    `with Pcscd() as pcscd: ...`; `pcscd.connect(0)` is a connection of a card to the first of them.
    """

    def __init__(self, name: str = "Virtual PCD") -> None:
        self._name = name
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where PC/SC clients find it: the value of `PCSCLITE_CSOCK_NAME`."""
        assert self._directory is not None
        return str(self._directory / "run/pcscd/pcscd.comm")

    def start(self) -> None:
        """Start it and wait until it listens. Raises PcscdMissing, HardwareError."""
        driver = next((root / _DRIVER for root in _DRIVER_ROOTS if (root / _DRIVER).exists()), None)
        if driver is None or shutil.which("pcscd", path=_path()) is None or shutil.which("unshare") is None:
            raise PcscdMissing("no virtual PC/SC readers")
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="chargetill-pcscd-"))
            (self._directory / "run/pcscd").mkdir(parents=True)
            (self._directory / "readers").mkdir()
            (self._directory / "readers/vpcd").write_text(
                f'FRIENDLYNAME "{self._name}"\nDEVICENAME /dev/null:{_FIRST_PORT:#x}\n'
                f"LIBPATH {driver}\nCHANNELID {_FIRST_PORT:#x}\n"
            )
        own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            ["unshare", *own, "--mount", "--net", "--pid", "--fork", "--kill-child",  # noqa: S607
             sys.executable, "-m", "hw.virtual.pcscd", str(self._directory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": _root()},
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self.stop()
            raise PcscdMissing("pcscd did not start in its namespaces")

    def stop(self) -> None:
        """Stop it; `start` starts another one at the same place."""
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(START_MAX_S)
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def close(self) -> None:
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def connect(self, reader: int = 0) -> socket.socket:
        """A connection to one of the readers, made inside the namespace. Raises HardwareError."""
        assert self._directory is not None
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            asking.settimeout(START_MAX_S)
            try:
                asking.connect(str(self._directory / "cards"))
                asking.send(struct.pack(">H", _FIRST_PORT + reader))
                _, files, _, _ = socket.recv_fds(asking, 1, 1)
            except OSError as e:
                raise HardwareError(f"the virtual reader {reader} takes no card: {e}") from e
        if not files:
            raise HardwareError(f"the virtual reader {reader} takes no card")
        return socket.socket(fileno=files[0])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _root() -> str:
    return str(Path(__file__).resolve().parents[2])


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _inside(directory: Path) -> None:
    """Runs in the namespaces until standard input ends."""
    _loopback_up()
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)  # noqa: S607
    subprocess.run(["mount", "--bind", str(directory / "run"), "/run"], check=True)  # noqa: S603, S607
    daemon = shutil.which("pcscd", path=_path())
    assert daemon is not None
    words = [daemon, "--foreground", "--critical", "--config", str(directory / "readers")]
    known = subprocess.run([daemon, "--help"], capture_output=True, check=False).stdout  # noqa: S603
    if b"--disable-polkit" in known:  # its authority is outside the namespaces
        words.append("--disable-polkit")
    pcscd = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        asyncio.run(_serve(directory))
    finally:
        pcscd.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            pcscd.wait(2)
        pcscd.kill()
        pcscd.wait()


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = bytearray(struct.pack("16sh14x", b"lo", 0))
        fcntl.ioctl(s, _SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("h", request, 16)
        struct.pack_into("h", request, 16, flags | _IFF_UP)
        fcntl.ioctl(s, _SIOCSIFFLAGS, request)


async def _serve(directory: Path) -> None:
    """Say when pcscd and its readers listen, then hand out connections."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(START_MAX_S):
        while not await loop.run_in_executor(None, _listening, directory):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    place = directory / "cards"
    place.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(str(place))
        door.listen()
        door.setblocking(False)
        loop.add_reader(door, _hand_out, door)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await loop.run_in_executor(None, sys.stdin.read)
        loop.remove_reader(door)


def _listening(directory: Path) -> bool:
    """True once the socket of pcscd is there and the kernel lists every reader's port as listening."""
    if not (directory / "run/pcscd/pcscd.comm").exists():
        return False
    ports = {
        int(line.split()[1].rpartition(":")[2], 16)
        for name in ("tcp", "tcp6")
        for line in _lines(Path("/proc/net") / name)
        if line.split()[3] == "0A"
    }
    return all(_FIRST_PORT + i in ports for i in range(SLOTS))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()[1:]
    except OSError:
        return []


def _hand_out(door: socket.socket) -> None:
    asking, _ = door.accept()
    with asking:
        asking.settimeout(_HAND_OUT_MAX_S)
        try:
            (port,) = struct.unpack(">H", asking.recv(2))
            with socket.create_connection(("127.0.0.1", port), timeout=_HAND_OUT_MAX_S) as card:
                files = array.array("i", [card.fileno()])
                asking.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
        except (OSError, struct.error):
            return


if __name__ == "__main__":
    _inside(Path(sys.argv[1]))
