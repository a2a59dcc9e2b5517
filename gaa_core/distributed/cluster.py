"""Connecting to Ray: a small cluster of one's own, or one that is there. Here alone Ray is imported, when needed."""

import os
import sys
from types import ModuleType

from gaa_core.errors import GaaError

#: What Ray reads from the environment when it starts. Its workers run at the lowest priority otherwise, and it reports
#: usage to its makers.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

#: How often a start is tried. Ray gives its parts 30 s to appear, too little for a loaded machine.
_ATTEMPTS = 3


def import_ray() -> ModuleType:
    """Ray, or one clear sentence where it is missing."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise GaaError("Ray is not installed: pip install 'gaa-core[distributed]'.") from error
    return ray


def connect(address: str | None, cpus: int | None, object_store_bytes: int) -> bool:
    """Be connected: to `address` ("auto" or host:port), to what this process is connected to already, or, for None, to
    a cluster of its own on this machine. True where that was started here.

    A cluster that refuses (no or another token) or is not there raises GaaError.
    """
    ray = import_ray()
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if ray.is_initialized():
        return False
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except Exception as error:
            ray.shutdown()
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            told = f"No connection to the Ray cluster at '{address}' ({reason})."
            raise GaaError(f"{told} Is it running, and is RAY_AUTH_TOKEN the token of its nodes?") from error
        return False
    own = {"num_cpus": cpus or os.cpu_count(), "object_store_memory": object_store_bytes, "include_dashboard": False}
    if sys.platform == "linux":  # any 127.x is this machine alone; Ray replaces 127.0.0.1 by its outer address
        own["_node_ip_address"] = "127.0.0.2"
    for _ in range(_ATTEMPTS):
        try:
            ray.init(address="local", **own, **quiet)
            return True
        except Exception as error:
            reason = str(error)
            ray.shutdown()
    raise GaaError(f"Ray did not start on this machine in {_ATTEMPTS} attempts ({reason}).")
