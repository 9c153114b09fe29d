"""Which FreeBSD it is."""

import pytest
from tests.unit.transcripts import FakeHost, steps

from beastack.freebsd import release
from beastack.freebsd.errors import UnexpectedOutput


def test_the_recorded_one() -> None:
    recorded = next(s for s in steps("01-interfaces.txt") if s.command == "sysctl -n kern.osreldate")
    found = release.read(FakeHost({recorded.command: recorded.output}))
    assert (str(found), found.major, found.minor) == ("15.1", 15, 1)
    assert found > release.Release(1403000)


@pytest.mark.parametrize("text", ["", "fifteen", "0", "1203000"])
def test_others_are_not_guessed(text: str) -> None:
    with pytest.raises(UnexpectedOutput):
        release.read(FakeHost({"sysctl -n kern.osreldate": text}))
