"""Service users and endpoints in keystone, by its own managers, as ``keystone-manage bootstrap`` makes the first ones.

In the process that has just run that command: through the API the same takes five seconds. What is there is left as
it is, but for an endpoint's address, which follows the cloud's.
"""

import uuid
from typing import Any


def _service_project(providers: Any) -> str:
    for project in providers.resource_api.list_projects_in_domain("default"):
        if project["name"] == "service":
            return str(project["id"])
    new = uuid.uuid4().hex
    ref = {"id": new, "name": "service", "domain_id": "default", "enabled": True, "description": "OpenStack's own"}
    providers.resource_api.create_project(new, ref)
    return new


def users(providers: Any, names: list[str], password: str) -> None:
    """The project ``service``, its users, and their roles ``admin`` and ``service`` in it."""
    project = _service_project(providers)
    roles = {role["name"]: role["id"] for role in providers.role_api.list_roles()}
    present = {user["name"]: user["id"] for user in providers.identity_api.list_users(domain_scope="default")}
    for name in names:
        if name not in present:
            ref = {"name": name, "password": password, "domain_id": "default", "enabled": True}
            present[name] = providers.identity_api.create_user(ref)["id"]
        held = providers.assignment_api.get_roles_for_user_and_project(present[name], project)
        for role in ("admin", "service"):
            if roles[role] not in held:
                providers.assignment_api.add_role_to_user_and_project(present[name], project, roles[role])


def endpoints(providers: Any, wanted: list[tuple[str, str, str]], region: str) -> None:
    """Services and their endpoints; ``wanted`` is (name, type, URL)."""
    catalog = providers.catalog_api
    services = {service["type"]: service["id"] for service in catalog.list_services()}
    present = {(e["service_id"], e["interface"]): e for e in catalog.list_endpoints()}
    for name, kind, url in wanted:
        if kind not in services:
            services[kind] = uuid.uuid4().hex
            ref = {"id": services[kind], "name": name, "type": kind, "enabled": True}
            catalog.create_service(services[kind], ref)
        for interface in ("public", "internal", "admin"):
            endpoint = present.get((services[kind], interface))
            if endpoint is None:
                new = uuid.uuid4().hex
                ref = {"id": new, "service_id": services[kind], "interface": interface, "url": url, "enabled": True}
                catalog.create_endpoint(new, ref | {"region_id": region})
            elif endpoint["url"] != url:
                catalog.update_endpoint(endpoint["id"], {"url": url})
