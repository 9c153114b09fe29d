"""The stock agent's calls over a recorded privilege boundary."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from neutron.agent.linux import dhcp as upstream
from neutron.conf.agent import dhcp as dhcp_conf
from neutron.conf.agent.metadata import config as metadata_conf
from oslo_config import cfg

from beastack.neutron.dhcp import driver, metadata
from beastack.neutron.dhcp.devices import JailDeviceManager
from beastack.privsep import dhcp as entries
from beastack.privsep import interfaces, jails

from .fakes import NET, Host, Monitor, Plugin


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    fake = Host()
    for module in (entries, jails, interfaces):
        for name, value in vars(module).items():
            if getattr(value, "privsep_entrypoint", None) is not None:
                monkeypatch.setattr(module, name, getattr(fake, name))
    metadata._running.clear()
    JailDeviceManager._routes.clear()
    monkeypatch.setattr(upstream.DeviceManager, "get_device_id", lambda *_: "ours")
    return fake


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[Any]:
    made = cfg.ConfigOpts()
    for options in (
        dhcp_conf.DHCP_AGENT_OPTS,
        dhcp_conf.DHCP_OPTS,
        dhcp_conf.DNSMASQ_OPTS,
        dhcp_conf.common.DHCP_PROTOCOL_OPTS,
    ):
        made.register_opts(options)
    made.register_opts(metadata_conf.METADATA_HAPROXY_OPTS, group="metadata_haproxy")
    made.register_opts(metadata_conf.METADATA_RATE_LIMITING_OPTS, group="metadata_rate_limiting")
    made.register_opts(
        [
            cfg.StrOpt("state_path", default=str(tmp_path)),
            cfg.IntOpt("dhcp_lease_duration", default=86400),
            cfg.StrOpt("dns_domain", default="openstacklocal"),
            cfg.StrOpt("host", default="fb"),
            cfg.StrOpt("interface_driver", default="beastack.neutron.dhcp.interface.JailInterfaceDriver"),
        ]
    )
    made([], project="test")
    made.set_override("force_metadata", True)
    return made


@pytest.fixture
def agent(conf: Any, host: Host) -> types.SimpleNamespace:
    found = types.SimpleNamespace(monitor=Monitor(), plugin=Plugin(), host=host, conf=conf)
    found.driver = lambda net: driver.JailDnsmasq(conf, net, found.monitor, None, found.plugin, None)
    found.folder = Path(conf.dhcp_confs) / NET
    return found
