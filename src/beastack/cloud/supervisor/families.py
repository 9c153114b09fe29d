"""The preloaded processes that services are forked from.

``base`` has the libraries that all projects share; ``nova`` and ``neutron`` are forked from it and import their
project on top. They are apart because both register options in oslo.config's one global object and clash
(DuplicateOptError), and because nova refuses to run when eventlet was imported, which neutron does.
"""

import contextlib
import gc
import importlib
import json
import os
import socket
import sys
import time
import warnings

from beastack.cloud.supervisor import child
from beastack.cloud.supervisor.spec import ServiceSpec

BASE = (
    "pymysql",
    "sqlalchemy.orm",
    "sqlalchemy.dialects.mysql.pymysql",
    "oslo_db.sqlalchemy.enginefacade",
    "oslo_messaging._drivers.impl_rabbit",
    "oslo_log.log",
    "oslo_cache",
    "oslo_policy.policy",
    "oslo_versionedobjects.base",
    "oslo_privsep.priv_context",
    "keystonemiddleware.auth_token",
    "keystoneauth1.session",
    "keystoneauth1.loading",
    "openstack.connection",
    "openstack.network.v2._proxy",
    "openstack.placement.v1._proxy",
    "openstack.compute.v2._proxy",
    "jsonschema",
    "paste.deploy",
    "routes",
    "stevedore",
    "waitress",
    "webob",
    "psutil",
)
PROJECT = {
    "base": (),
    "nova": (
        "nova.cmd.conductor",
        "nova.cmd.scheduler",
        "nova.cmd.compute",
        "nova.api.openstack.wsgi_app",
        "nova.api.openstack.compute.routes",
        "nova.api.metadata.handler",
        "nova.scheduler.manager",
        "nova.conductor.manager",
        "nova.compute.manager",
    ),
    "neutron": (
        "neutron.server",
        "neutron.objects.ports",
        "neutron.plugins.ml2.plugin",
        "neutron.api.v2.router",
    ),
}


def load_base() -> None:
    """Import what all share, without eventlet: nova's own guard keeps it out."""
    warnings.simplefilter("ignore")
    nova_guard = importlib.import_module("nova.monkey_patch")
    nova_guard.patch(backend="threading")
    for name in BASE:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def load_project(family: str) -> None:
    """Import one project on top of the base."""
    if family != "nova":
        # neutron imports eventlet without using it; the guard is nova's
        sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "PoisonEventletImport"]
    for name in PROJECT[family]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _adopted(parent: int) -> None:
    """Wait until ``parent`` has ended and the supervisor is ours: before, its end would count as our parent's."""
    deadline = time.monotonic() + 10
    while os.getppid() == parent and time.monotonic() < deadline:
        time.sleep(0.001)


def serve(family: str, channel: socket.socket) -> None:
    """Fork a service for each request line (a ServiceSpec as JSON); answer with its pid.

    Forked twice, so that the service becomes the supervisor's child (it is a subreaper) and not this process's.
    """
    child.die_with_parent()
    load_project(family)
    with channel.makefile("rwb", buffering=0) as lines:
        lines.write(b'{"ready": true}\n')
        for line in lines:
            data = json.loads(line)
            if data["listen"] is not None:
                data["listen"] = tuple(data["listen"])
            spec = ServiceSpec(**data)
            read, write = os.pipe()
            between = os.fork()
            if between == 0:
                between = os.getpid()
                pid = os.fork()
                if pid == 0:
                    _adopted(between)
                    for descriptor in (read, write, channel.fileno()):
                        with contextlib.suppress(OSError):
                            os.close(descriptor)
                    child.run(spec)
                os.write(write, str(pid).encode())
                os._exit(0)
            os.close(write)
            os.waitpid(between, 0)
            pid_text = os.read(read, 32)
            os.close(read)
            lines.write(json.dumps({"pid": int(pid_text)}).encode() + b"\n")
