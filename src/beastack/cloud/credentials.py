"""The files with which a person reaches the cloud: clouds.yaml and openrc, mode 0600."""

import json

from beastack.cloud.config.common import url
from beastack.cloud.layout import Layout, write_private


def _auth(layout: Layout, secrets: dict[str, str], user: str) -> dict[str, str]:
    """User and project have the same name here."""
    return {
        "auth_url": f"{url(layout, 'keystone')}/v3",
        "username": user,
        "password": secrets[user],
        "project_name": user,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }


def clouds_yaml(layout: Layout, secrets: dict[str, str]) -> str:
    """openstacksdk's clouds.yaml, as JSON, which YAML contains: NAME is the administrator, NAME-demo the user."""
    clouds = {
        name: {"auth": _auth(layout, secrets, user), "region_name": "RegionOne"}
        for name, user in ((layout.name, "admin"), (f"{layout.name}-demo", "demo"))
    }
    return json.dumps({"clouds": clouds}, indent=2) + "\n"


def openrc(layout: Layout, secrets: dict[str, str], user: str) -> str:
    """Variables for a shell; every value is quoted."""
    values = {f"OS_{name.upper()}": value for name, value in _auth(layout, secrets, user).items()}
    values |= {"OS_REGION_NAME": "RegionOne", "OS_IDENTITY_API_VERSION": "3"}
    return "".join(f"export {name}='{value}'\n" for name, value in values.items())


def write(layout: Layout, secrets: dict[str, str]) -> str:
    """Write them all; a note for the summary."""
    write_private(layout.credentials / "clouds.yaml", clouds_yaml(layout, secrets))
    write_private(layout.credentials / "openrc", openrc(layout, secrets, "admin"))
    write_private(layout.credentials / "openrc-demo", openrc(layout, secrets, "demo"))
    layout.credentials.chmod(0o700)
    return str(layout.credentials)
