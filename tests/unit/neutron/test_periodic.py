"""The periodic workers: in a process of its own, as neutron.service registers options that clash with nova's."""

import subprocess
import sys

CODE = """
import types, warnings
warnings.simplefilter("ignore")
from beastack.neutron import periodic
from neutron import service

class Periodic:
    pass

class Plugin:
    def __init__(self, *workers):
        self.get_workers = lambda: workers

class Group:
    def __init__(self, workers):
        self.workers = workers

class Launcher:
    def __init__(self, conf, restart_method):
        self.launched = []
    def launch_service(self, group, processes):
        self.launched.append((group.workers, processes))
    def wait(self):
        assert self.launched == [([one, two], 1)], self.launched
        assert told == ["dispose", "spawned"], told
        print("as wanted")

one, two, told = Periodic(), Periodic(), []
plugins = [Plugin(one), Plugin(service.RpcWorker.__new__(service.RpcWorker), two), object()]
periodic.manager.init = lambda: None
found = types.SimpleNamespace(extend_resources=lambda *a: None)
periodic.extensions.PluginAwareExtensionManager.get_instance = lambda: found
periodic.directory.get_unique_plugins = lambda: plugins
periodic.service.AllServicesNeutronWorker = Group
periodic.launching.ProcessLauncher = Launcher
periodic.db.get_context_manager = lambda: types.SimpleNamespace(dispose_pool=lambda: told.append("dispose"))
periodic.registry.publish = lambda *a: told.append("spawned")
periodic.serve()
"""


def test_rpc_is_left_to_the_process_that_serves_it() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "as wanted"
