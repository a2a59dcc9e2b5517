"""Several Ray nodes on one machine, with a shared token: to see and test what several machines do."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from gaa_core.distributed.cluster import import_ray
from gaa_core.errors import GaaError

#: The `ray` command, ended by the kernel when the process that called it dies, so that no node outlives its notebook.
_RAY = (
    f"import ctypes, runpy; ctypes.CDLL(None).prctl(1, {signal.SIGTERM:d}); "
    "runpy.run_module('ray.scripts.scripts', run_name='__main__')"
)

#: What `ray start` says when a node is up.
_UP = "Ray runtime started"


@dataclass
class _Node:
    process: subprocess.Popen
    log: Path
    processes: list  # everything it started, once it is up

    def everybody(self) -> list:
        """All of its processes, those that came later too."""
        return list({*self.processes, *_family(self.process)})

    def is_up(self) -> bool:
        return _UP in self.log.read_text(errors="replace")


class LocalCluster:
    """A head and further nodes at 127.0.0.2, 127.0.0.3, ... (Linux), each its own `ray start --block`.

    Used as `with LocalCluster(nodes=2) as cluster: run(..., engine=RayEngine(4, address=cluster.address))`. Within the
    block the environment holds the token, without which nobody gets in. Every process is gone afterwards. A machine
    that is busy may need minutes; `seconds` is the limit for each node.
    """

    def __init__(self, nodes: int = 2, cpus: int = 1, object_store_bytes: int = 200_000_000, seconds: float = 240.0):
        if nodes < 1:
            raise GaaError(f"LocalCluster needs nodes >= 1; found {nodes}.")
        self.count, self.cpus, self.object_store_bytes, self.seconds = nodes, cpus, object_store_bytes, seconds
        self.nodes: list[_Node] = []
        self.address = ""
        self.token = secrets.token_hex(32)

    def __enter__(self) -> LocalCluster:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> LocalCluster:
        """Start the nodes and put the token into the environment. Returns itself; `close` it."""
        self._folder = Path(tempfile.mkdtemp(prefix="ray"))  # short: sockets lie in it
        mine = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        self._before = {name: os.environ.get(name) for name in mine}
        os.environ.update(mine)
        import_ray()._raylet.Config.initialize("")  # Ray reads the mode once, at its import, which may have been before
        try:
            for _ in range(self.count):
                self.add_node()
        except BaseException:
            self.close()
            raise
        return self

    def add_node(self) -> None:
        """Start one more node and wait for it; the first is the head."""
        self.nodes.append(self._node(len(self.nodes)))

    def replace_node(self, number: int) -> None:
        """End a node, or what is left of it, and start another in its place."""
        _end(self.nodes[number])
        self.nodes[number] = self._node(number)

    def _node(self, number: int) -> _Node:
        for _ in range(5):  # parts of Ray that do not appear within its own limits make it give up
            node = self._start(number)
            deadline = time.monotonic() + self.seconds
            while node.process.poll() is None and not node.is_up() and time.monotonic() < deadline:
                time.sleep(0.1)
            node.processes = _family(node.process)
            if node.process.poll() is None and node.is_up():
                return node
            _end(node)
        raise GaaError(f"A Ray node did not start: {node.log.read_text(errors='replace')[-500:]}")

    def kill_raylet(self, number: int) -> None:
        """Kill -9 the raylet of a node, as if its machine had lost power; its workers go with it."""
        for process in self.nodes[number].processes:
            if process.is_running() and process.name() == "raylet":
                process.kill()

    def close(self) -> None:
        """Disconnect this process and end every node."""
        ray = import_ray()
        if ray.is_initialized():
            ray.shutdown()
        for node in reversed(self.nodes):
            _end(node)
        self.nodes = []
        shutil.rmtree(self._folder, ignore_errors=True)
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def _start(self, number: int) -> _Node:
        host = f"127.0.0.{2 + number}"
        port, *ports = _free_ports(host, 7)
        names = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "runtime-env-agent-port")
        names += ("metrics-export-port", "node-manager-port", "object-manager-port")
        command = [sys.executable, "-c", _RAY, "start", "--block", f"--node-ip-address={host}"]
        command += [
            "--include-log-monitor=false",
            f"--num-cpus={self.cpus}",
            f"--object-store-memory={self.object_store_bytes}",
        ]
        command += [
            f"--{name}={value}" for name, value in zip(names, ports, strict=True)
        ]  # Ray waits for those it picks
        if number == 0:
            self.address = f"{host}:{port}"
            command += [
                "--head",
                f"--port={port}",
                "--include-dashboard=false",
                "--no-monitor",
                f"--temp-dir={self._folder}",
            ]
        else:
            command += [f"--address={self.address}"]
        log = self._folder / f"node-{number}-{time.monotonic_ns()}.log"
        with log.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        return _Node(process, log, [])


def _free_ports(host: str, count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind((host, 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _family(process: subprocess.Popen) -> list:
    """The processes that descend from one, and itself."""
    import psutil

    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _end(node: _Node) -> None:
    """End a node: politely, then surely."""
    import psutil

    everybody = set(node.everybody())
    node.process.terminate()
    try:
        node.process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        node.process.kill()
        node.process.wait()
    for process in everybody:
        try:
            everybody |= set(process.children(recursive=True))
        except psutil.NoSuchProcess:
            continue
    for process in everybody:
        if process.is_running():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
    psutil.wait_procs(list(everybody), timeout=20)
