"""The files with which a person reaches the cloud: clouds.yaml and openrc, mode 0600."""

import json

from beastack.cloud.config.common import url
from beastack.cloud.layout import Layout, write_private


def clouds_yaml(layout: Layout, secrets: dict[str, str]) -> str:
    """openstacksdk's clouds.yaml, written as JSON, which YAML contains."""
    auth = {
        "auth_url": f"{url(layout, 'keystone')}/v3",
        "username": "admin",
        "password": secrets["admin"],
        "project_name": "admin",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    return json.dumps({"clouds": {layout.name: {"auth": auth, "region_name": "RegionOne"}}}, indent=2) + "\n"


def openrc(layout: Layout, secrets: dict[str, str]) -> str:
    """Variables for a shell; every value is quoted."""
    values = {
        "OS_AUTH_URL": f"{url(layout, 'keystone')}/v3",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": secrets["admin"],
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": "RegionOne",
        "OS_IDENTITY_API_VERSION": "3",
    }
    return "".join(f"export {name}='{value}'\n" for name, value in values.items())


def write(layout: Layout, secrets: dict[str, str]) -> str:
    """Write both; a note for the summary."""
    write_private(layout.credentials / "clouds.yaml", clouds_yaml(layout, secrets))
    write_private(layout.credentials / "openrc", openrc(layout, secrets))
    layout.credentials.chmod(0o700)
    return str(layout.credentials)
