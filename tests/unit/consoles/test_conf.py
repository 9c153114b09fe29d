"""The allow-list and the files of TLS."""

from types import SimpleNamespace

import pytest

from beastack.consoles import conf


def test_only_who_is_on_the_list_comes_in() -> None:
    networks = conf.proxies(SimpleNamespace(console_proxies=["100.64.0.1", "10.1.0.0/16", "2001:db8::/64"]))
    for address in ("100.64.0.1", "::ffff:100.64.0.1", "10.1.255.1", "2001:db8::7", "2001:db8::7%em0"):
        assert conf.allowed(address, networks), address
    for address in ("100.64.0.2", "127.0.0.1", "::1", "10.2.0.1", "", "somebody"):
        assert not conf.allowed(address, networks), address
    assert not conf.allowed("127.0.0.1", [])


def test_a_network_with_a_typing_error_is_no_network() -> None:
    with pytest.raises(ValueError, match=r"10\.1\.0\.1"):
        conf.proxies(SimpleNamespace(console_proxies=["10.1.0.1/16"]))


def test_tls_is_whole_or_absent() -> None:
    assert conf.tls_files(SimpleNamespace(console_cert="", console_key="", console_ca="")) is None
    assert conf.tls_files(SimpleNamespace(console_cert="a", console_key="b", console_ca="c")) == ("a", "b", "c")
    with pytest.raises(ValueError, match="all of them or none"):
        conf.tls_files(SimpleNamespace(console_cert="a", console_key="b", console_ca=""))
