"""A way into this cloud's own APIs."""

from typing import Any

import openstack

from beastack.cloud.config.common import url
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
