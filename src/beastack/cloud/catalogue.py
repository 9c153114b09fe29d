"""The service users and the catalogue in keystone, made through its API; what is there is left as it is."""

from typing import Any

import openstack

from beastack.cloud.config.common import url
from beastack.cloud.config.identity import ENDPOINTS, USERS
from beastack.cloud.layout import Layout


def connect(layout: Layout, password: str, user: str = "admin", project: str = "admin") -> Any:
    """An openstacksdk connection to this cloud and no other."""
    region = openstack.config.get_cloud_region(
        load_yaml_config=False,
        load_envvars=False,
        region_name="RegionOne",
        auth_type="password",
        auth={
            "auth_url": f"{url(layout, 'keystone')}/v3",
            "username": user,
            "password": password,
            "project_name": project,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
    )
    return openstack.connection.Connection(config=region)


def ensure(layout: Layout, secrets: dict[str, str]) -> str:
    """Create the project ``service``, its users with the role ``service``, and every endpoint."""
    cloud = connect(layout, secrets["admin"])
    identity = cloud.identity
    made = 0
    project = identity.find_project("service", domain_id="default")
    if project is None:
        project = identity.create_project(name="service", domain_id="default")
        made += 1
    roles = {role.name: role for role in identity.roles()}
    present = {user.name: user for user in identity.users(domain_id="default")}
    for name in USERS:
        user = present.get(name)
        if user is None:
            user = identity.create_user(
                name=name, password=secrets["service"], domain_id="default", default_project_id=project.id
            )
            made += 1
        for role in ("admin", "service"):
            identity.assign_project_role_to_user(project, user, roles[role])
    services = {service.type: service for service in identity.services()}
    endpoints = {(e.service_id, e.interface): e for e in identity.endpoints()}
    for name, kind, path in ENDPOINTS:
        service = services.get(kind)
        if service is None:
            service = identity.create_service(name=name, type=kind)
            made += 1
        address = url(layout, name) + path
        for interface in ("public", "internal", "admin"):
            endpoint = endpoints.get((service.id, interface))
            if endpoint is None:
                identity.create_endpoint(service_id=service.id, interface=interface, url=address, region_id="RegionOne")
                made += 1
            elif endpoint.url != address:
                identity.update_endpoint(endpoint, url=address)
                made += 1
    return f"{made} made" if made else "complete already"
