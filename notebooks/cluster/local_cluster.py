"""Several Ray nodes on this machine, with a shared token: what notebook 09 and the tests use in place of machines."""

from __future__ import annotations

import contextlib
import os
import secrets

import psutil

from gaa_core.distributed.cluster import import_ray
from gaa_core.errors import GaaError

#: Ray replaces 127.0.0.1 by the machine's outer address; any other 127.x is this machine alone (Linux).
_HOST = "127.0.0.{}"

#: How often a node is tried to be started: Ray gives its parts 30 s to appear, too little for a loaded machine.
_ATTEMPTS = 6


class LocalCluster:
    """A head at 127.0.0.2 and further nodes at 127.0.0.3, ..., by Ray's own `cluster_utils`.

    Used as `with LocalCluster(nodes=2) as cluster: run(..., engine=RayEngine(4, address=cluster.address))`. Within the
    block the environment holds the token, without which no client gets in. Every process is gone afterwards.
    """

    def __init__(self, nodes: int = 2, cpus: int = 1, object_store_bytes: int = 200_000_000):
        self.count, self.options = nodes, {"num_cpus": cpus, "object_store_memory": object_store_bytes}

    def __enter__(self) -> LocalCluster:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> LocalCluster:
        """Start the nodes. Returns itself; `close` it."""
        ray = import_ray()
        from ray.cluster_utils import Cluster

        self._children = ray_processes()
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._before = {name: os.environ.get(name) for name in token}
        os.environ.update(token)
        ray._raylet.Config.initialize("")  # Ray reads the mode once, at its import, which may have been before
        self._cluster, self.nodes = Cluster(), []
        try:
            for number in range(self.count):
                self.nodes.append(self._add(number))
        except BaseException:
            self.close()
            raise
        self.address = self._cluster.address
        return self

    def _add(self, number: int) -> object:
        address = _HOST.format(2 + number)
        for _ in range(_ATTEMPTS):
            before = ray_processes()
            try:
                return self._cluster.add_node(node_ip_address=address, include_dashboard=False, **self.options)
            except Exception as error:  # what Ray raises differs by the part that was late
                reason = f"{type(error).__name__}: {error}"
                _kill(ray_processes() - before)
        raise GaaError(f"The Ray node at {address} did not start in {_ATTEMPTS} attempts ({reason}).")

    def kill_node(self, number: int) -> None:
        """Kill -9 every process of a node, as if its machine had lost power; its workers go with it."""
        self._cluster.remove_node(self.nodes[number], allow_graceful=False)

    def restart_node(self, number: int) -> None:
        """Start another node in the place of one that was killed."""
        self.nodes[number] = self._add(number)

    def close(self) -> None:
        """Disconnect this process, end every node, and what attempts to start one have left."""
        import_ray().shutdown()
        self._cluster.shutdown()
        _kill(ray_processes() - self._children)
        for name, value in self._before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def ray_processes() -> set[psutil.Process]:
    """The processes of Ray that descend from this one."""
    found = set()
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = " ".join(each.cmdline())
            found |= {each} if "/ray/" in command or command.startswith("ray::") else set()
    return found


def _kill(processes: set[psutil.Process]) -> None:
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(list(processes), timeout=20)
