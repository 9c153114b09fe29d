"""The system packages, as a step of ``up``: the environment may be older than what the cloud needs by now."""

import threading
import time
from functools import partial

from beastack.cloud.errors import CloudError
from beastack.cloud.graph import Progress
from beastack.cloud.platform import packages


def ensure_packages(progress: Progress, stop: threading.Event, manager: packages.PackageManager | None = None) -> None:
    """Install what is missing and say it beforehand; CloudError with the cause and the remedy."""
    try:
        manager = manager or packages.detect(partial(packages.run, stopped=stop.is_set))
        missing = manager.missing()
        if not missing:
            return
        began = time.monotonic()
        progress.start("system packages", ", ".join(missing))
        manager.install(missing)
        progress.done("system packages", time.monotonic() - began, f"installed {', '.join(missing)}")
    except packages.PackageError as e:
        raise CloudError(e.words, remedy=e.remedy) from e
