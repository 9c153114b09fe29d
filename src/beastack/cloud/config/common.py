"""What the configurations of several services share."""

import io
from configparser import RawConfigParser

from beastack.cloud.layout import Layout

Sections = dict[str, dict[str, object]]

PORTS = {
    "keystone": 5000,
    "glance": 9292,
    "placement": 8778,
    "nova": 8774,
    "metadata": 8775,
    "neutron": 9696,
    "rabbitmq": 5672,
    "memcached": 11211,
    "nova-novncproxy": 6080,
    "nova-serialproxy": 6083,
}


def render(sections: Sections) -> str:
    """oslo.config's INI text."""
    parser = RawConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    # RawConfigParser treats DEFAULT apart, and so does oslo.config: the same word on both sides
    for name, options in sections.items():
        if name != "DEFAULT":
            parser.add_section(name)
        for key, value in options.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if "\n" in text or "\r" in text:
                raise ValueError(f"[{name}] {key}: a line break in a value")
            parser.set(name, key, text)
    out = io.StringIO()
    parser.write(out)
    return out.getvalue()


def url(layout: Layout, service: str) -> str:
    """A service's base address."""
    return f"http://{layout.address}:{PORTS[service]}"


def database(layout: Layout, secrets: dict[str, str], name: str) -> str:
    """SQLAlchemy's URL of a database, by unix socket."""
    socket = layout.run_dir / "run" / "mariadb.sock"
    return f"mysql+pymysql://beastack:{secrets['database']}@localhost/{name}?unix_socket={socket}&charset=utf8mb4"


def transport(layout: Layout, secrets: dict[str, str]) -> str:
    """oslo.messaging's URL."""
    return f"rabbit://beastack:{secrets['rabbit']}@{layout.address}:{PORTS['rabbitmq']}/"


def client_auth(layout: Layout, secrets: dict[str, str], user: str) -> dict[str, object]:
    """How a service signs in at keystone."""
    return {
        "auth_type": "password",
        "auth_url": f"{url(layout, 'keystone')}/v3",
        "username": user,
        "password": secrets["service"],
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": "RegionOne",
    }


def token_auth(layout: Layout, secrets: dict[str, str], user: str) -> dict[str, object]:
    """[keystone_authtoken]"""
    return {
        **client_auth(layout, secrets, user),
        "www_authenticate_uri": url(layout, "keystone"),
        "memcached_servers": f"{layout.address}:{PORTS['memcached']}",
        "service_token_roles": "service",
        "service_token_roles_required": True,
    }


def base(layout: Layout, secrets: dict[str, str], name: str, user: str) -> Sections:
    """Sections that every service with a database, a broker and an API has."""
    return {
        "DEFAULT": {"use_stderr": True, "debug": False, "transport_url": transport(layout, secrets)},
        "database": {
            "connection": database(layout, secrets, name),
            "max_pool_size": 5,
            "max_overflow": 20,
            "connection_recycle_time": 3600,
        },
        "keystone_authtoken": token_auth(layout, secrets, user),
        "service_user": {**client_auth(layout, secrets, user), "send_service_user_token": True},
        "oslo_messaging_rabbit": {"heartbeat_in_pthread": True, "rabbit_quorum_queue": False},
        "oslo_messaging_notifications": {"driver": "noop"},
        "oslo_concurrency": {"lock_path": str(layout.run_dir / "run" / "locks")},
    }
