"""Seconds by phase."""

import pytest

from beastack.nova import phases


def test_a_phase_within_another_is_not_counted_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(phases.time, "monotonic", lambda: now[0])
    found = phases.Phases()
    now[0] = 5.0  # before the first phase: nobody's
    with found.of("image"):
        now[0] += 1
        with found.of("disk"):
            now[0] += 2
        now[0] += 4
    now[0] += 8
    with pytest.raises(ValueError), found.of("disk"):
        now[0] += 16
        raise ValueError
    assert found.words() == "image 5.00 s, disk 18.00 s"
