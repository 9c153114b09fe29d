"""bhyve changes how its process takes signals: not the tests' process."""

import pytest

from beastack.sim.bhyve.run import Guest


@pytest.fixture(autouse=True)
def _signals_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guest, "_catch_signals", lambda _self: None)
