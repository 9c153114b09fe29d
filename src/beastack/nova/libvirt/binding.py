"""libvirt-python, loaded only when it is asked for.

It is in no lock file: from PyPI it compiles against libvirt's headers, and must fit the libvirt of the system. The
system's package is taken, also from within a virtual environment of the same Python.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PACKAGES = "FreeBSD: pkg install libvirt py311-libvirt; Debian: apt-get install python3-libvirt"
# Where the packages put it (Debian's policy; FreeBSD's python ports).
FOLDERS = (
    Path("/usr/lib/python3/dist-packages"),
    Path(f"/usr/local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"),
)


class NoLibvirt(Exception):
    """libvirt-python cannot be used; the text says what to install."""


def load(folders: tuple[Path, ...] = FOLDERS) -> ModuleType:
    """The module `libvirt`. Raises NoLibvirt."""
    if "libvirt" in sys.modules:
        return sys.modules["libvirt"]
    tried = []
    for folder in (None, *folders):
        try:
            return importlib.import_module("libvirt") if folder is None else _from(folder)
        except ImportError as error:
            tried.append(f"{folder or 'sys.path'}: {error}")
    raise NoLibvirt(f"libvirt-python cannot be used ({'; '.join(tried)}). {PACKAGES}")


def _from(folder: Path) -> ModuleType:
    """These two modules and nothing else of a folder, which is full of other packages. Raises ImportError."""
    found: dict[str, ModuleType] = {}
    try:
        for name in ("libvirtmod", "libvirt"):  # the second imports the first
            spec = importlib.machinery.PathFinder.find_spec(name, [str(folder)])
            if spec is None or spec.loader is None:
                raise ImportError(f"no {name} for Python {sys.version_info.major}.{sys.version_info.minor}")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = found[name] = module
            spec.loader.exec_module(module)
    except ImportError:
        for name in found:
            sys.modules.pop(name, None)
        raise
    return found["libvirt"]
