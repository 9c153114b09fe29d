"""The periodic workers: in a process of its own, as neutron.service registers options that clash with nova's."""

import subprocess
import sys

CODE = """
import warnings
warnings.simplefilter("ignore")
from beastack.neutron import periodic
from neutron import service

class Periodic:
    pass

class Plugin:
    def __init__(self, *workers):
        self.get_workers = lambda: workers

launched = []

class Launcher:
    def __init__(self, conf):
        pass
    def wait(self):
        print([type(w).__name__ for w in launched])

one, two = Periodic(), Periodic()
periodic.manager.init = lambda: None
periodic.extensions.PluginAwareExtensionManager.get_instance = lambda: type("E", (), {"extend_resources": print})()
plugins = [Plugin(one), Plugin(service.RpcWorker.__new__(service.RpcWorker), two), object()]
periodic.directory.get_unique_plugins = lambda: plugins
periodic.launching.ServiceLauncher = Launcher
Launcher.launch_service = lambda self, worker: launched.append(worker)
periodic.serve()
assert launched == [one, two], launched
"""


def test_rpc_is_left_to_the_process_that_serves_it() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['Periodic', 'Periodic']"
