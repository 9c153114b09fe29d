"""One project's database and first data, in one process: ``python -m beastack.cloud.schema PROJECT``.

One process a project instead of one a command: the imports are what costs. The environment says where the
configuration is (OS_*_CONFIG_DIR, see ``services``). Arguments come as JSON on standard input, because some are
secrets.
"""

import json
import os
import sys
import warnings
from typing import Any

from beastack.cloud import schema_catalogue


def keystone(arguments: dict[str, Any]) -> None:
    """Schema, keys, the administrator, the service users and the catalogue."""
    from keystone.cmd import cli
    from keystone.common import sql
    from keystone.conf import CONF, configure

    CONF.register_cli_opt(cli.command_opt)
    configure()
    sql.initialize()
    os.environ["OS_BOOTSTRAP_PASSWORD"] = arguments["password"]
    user = ["--keystone-user", "root", "--keystone-group", arguments["group"]]
    url = arguments["url"]
    urls = [f for kind in ("admin", "internal", "public") for f in (f"--bootstrap-{kind}-url", url)]
    steps = (
        ["db_sync"],
        ["fernet_setup", *user],
        ["credential_setup", *user],
        ["bootstrap", "--bootstrap-region-id", "RegionOne", *urls],
    )
    for step in steps:
        CONF(step, project="keystone", default_config_files=[arguments["config"]])
        CONF.command.cmd_class.main()
    from keystone.common import provider_api

    providers = provider_api.ProviderAPIs
    schema_catalogue.users(providers, arguments["users"], arguments["service_password"])
    schema_catalogue.endpoints(providers, arguments["endpoints"], "RegionOne")


def glance(arguments: dict[str, Any]) -> None:
    """Schema."""
    from glance.cmd import manage

    sys.argv = ["glance-manage", "--config-file", arguments["config"], "db", "sync"]
    manage.main()


def placement(arguments: dict[str, Any]) -> None:
    """Schema."""
    from placement.cmd import manage

    sys.argv = ["placement-manage", "--config-file", arguments["config"], "db", "sync"]
    manage.main()


def neutron(arguments: dict[str, Any]) -> None:
    """Schema."""
    from neutron.db.migration import cli

    files = [f for name in arguments["configs"] for f in ("--config-file", name)]
    sys.argv = ["neutron-db-manage", *files, "upgrade", "heads"]
    cli.main()


def nova(arguments: dict[str, Any]) -> None:
    """Three schemas, two cells, and the hosts' mappings (so that nobody waits for discover_hosts)."""
    os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "true"
    from nova.cmd import manage
    from nova.db import migration

    from nova import config, context, exception, objects

    config.parse_args(["nova-manage", "--config-file", arguments["config"]])
    objects.register_all()
    migration.db_sync(database="api")
    cells = manage.CellV2Commands()
    cells.map_cell0(arguments["cell0"])
    admin = context.get_admin_context()
    if not [c for c in objects.CellMappingList.get_all(admin) if c.name == "cell1"]:
        cells.create_cell("cell1")
    manage.DbCommands().sync()
    cell = next(c for c in objects.CellMappingList.get_all(admin) if c.name == "cell1")
    # passwords and addresses may have changed with a new run on kept data
    cell.transport_url, cell.database_connection = arguments["transport"], arguments["database"]
    cell.save()
    for host in arguments["hosts"]:
        try:
            objects.HostMapping.get_by_host(admin, host)
        except exception.HostMappingNotFound:
            objects.HostMapping(admin, host=host, cell_mapping=cell).create()


def main() -> None:
    """Run the project's function; its errors end the process with their words."""
    warnings.simplefilter("ignore")
    projects = {f.__name__: f for f in (keystone, glance, placement, neutron, nova)}
    arguments = json.load(sys.stdin)
    projects[sys.argv[1]](arguments)


if __name__ == "__main__":
    main()
