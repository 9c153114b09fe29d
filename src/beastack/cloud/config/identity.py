"""keystone, glance and placement."""

from beastack.cloud.config.common import PORTS, Sections, base, database, token_auth
from beastack.cloud.layout import Layout


def keystone(layout: Layout, secrets: dict[str, str]) -> Sections:
    """keystone.conf"""
    keys = layout.data("keystone")
    return {
        "DEFAULT": {"use_stderr": True},
        "database": {"connection": database(layout, secrets, "keystone"), "max_pool_size": 5},
        "token": {"provider": "fernet"},
        "fernet_tokens": {"key_repository": str(keys / "fernet-keys")},
        "credential": {"key_repository": str(keys / "credential-keys")},
        "fernet_receipts": {"key_repository": str(keys / "fernet-keys")},
        # the bootstrap runs while memcached may still be down, and pymemcache then raises (control-plane.md)
        "cache": {"enabled": False},
    }


def glance(layout: Layout, secrets: dict[str, str]) -> Sections:
    """glance-api.conf"""
    sections = base(layout, secrets, "glance", "glance")
    sections["DEFAULT"] |= {
        "enabled_backends": "file:file",
        "enabled_import_methods": "[glance-direct]",
        "node_staging_uri": f"file://{layout.data('glance')}/staging",
        "image_cache_dir": str(layout.data("glance") / "cache"),
    }
    sections["paste_deploy"] = {"flavor": "keystone"}
    sections["glance_store"] = {"default_backend": "file"}
    sections["file"] = {"filesystem_store_datadir": str(layout.data("glance") / "images")}
    sections["os_glance_staging_store"] = {"filesystem_store_datadir": str(layout.data("glance") / "staging")}
    sections["os_glance_tasks_store"] = {"filesystem_store_datadir": str(layout.data("glance") / "tasks")}
    return sections


def placement(layout: Layout, secrets: dict[str, str]) -> Sections:
    """placement.conf"""
    return {
        "DEFAULT": {"use_stderr": True},
        "placement_database": {"connection": database(layout, secrets, "placement"), "max_pool_size": 5},
        "api": {"auth_strategy": "keystone"},
        "keystone_authtoken": token_auth(layout, secrets, "placement"),
    }


# The catalogue: service type, path below the service's address.
ENDPOINTS = (
    ("keystone", "identity", "/v3"),
    ("glance", "image", ""),
    ("placement", "placement", ""),
    ("nova", "compute", "/v2.1"),
    ("neutron", "network", ""),
)
USERS = ("glance", "placement", "nova", "neutron")

__all__ = ["ENDPOINTS", "PORTS", "USERS", "glance", "keystone", "placement"]
