"""Console and screen out of libvirt's XML; neither needs libvirt here."""

import pytest

from beastack.nova.libvirt import places


def xml(devices: str) -> str:
    return f"<domain type='bhyve'><devices>{devices}</devices></domain>"


def test_the_first_console_on_nmdm() -> None:
    text = xml("<serial type='tcp'/><serial type='nmdm'><source master='/dev/nmdm1A' slave='/dev/nmdm1B'/></serial>")
    assert places.console(text) == "/dev/nmdm1B"


@pytest.mark.parametrize(
    "devices", ["", "<serial type='tcp'/>", "<serial type='nmdm'><source master='/dev/nmdm1A'/></serial>"]
)
def test_no_console(devices: str) -> None:
    with pytest.raises(places.NoPlace, match="nmdm"):
        places.console(xml(devices))


@pytest.mark.parametrize(
    ("graphics", "words"),
    [
        ("", "no VNC screen"),
        ("<graphics type='spice' port='5900'/>", "no VNC screen"),
        ("<graphics type='vnc' port='-1' autoport='yes'/>", "no port"),
        ("<graphics type='vnc' port='70000' listen='127.0.0.1'/>", "no port"),
        ("<graphics type='vnc' port='5900'/>", "every address"),
        ("<graphics type='vnc' port='5900'><listen type='address' address='0.0.0.0'/></graphics>", "0.0.0.0"),
        ("<graphics type='vnc' port='5900'><listen type='network' network='n'/></graphics>", "every address"),
    ],
)
def test_no_screen(graphics: str, words: str) -> None:
    with pytest.raises(places.NoPlace, match=words):
        places.screen(xml(graphics))


def test_the_older_form_of_a_screens_address() -> None:
    assert places.screen(xml("<graphics type='vnc' port='5901' listen='127.0.0.1'/>")) == ("127.0.0.1", 5901)


def test_what_is_no_xml() -> None:
    with pytest.raises(places.NoPlace, match="cannot be read"):
        places.console("<domain>")
