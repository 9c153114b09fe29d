"""nova.monkey_patch wants to run before anything of nova, as in nova's own programs (plugpoints.md,
section 2).
"""

import os

os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "true")
