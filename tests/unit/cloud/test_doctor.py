"""Each check names what is wrong and what to do."""

import os
from pathlib import Path

import pytest

from beastack.cloud import doctor


def test_without_root_says_how_to_become_it() -> None:
    finding = doctor.check_root(1000)
    assert finding.level == "fail"
    assert "1000" in finding.detail
    assert "root" in finding.remedy
    assert doctor.check_root(0).level == "ok"


def test_missing_tun_is_a_failure_with_a_remedy(tmp_path: Path) -> None:
    finding = doctor.check_tun(tmp_path / "tun")
    assert finding.level == "fail"
    assert "modprobe tun" in finding.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open anything")
def test_tun_that_may_not_be_opened(tmp_path: Path) -> None:
    device = tmp_path / "tun"
    device.touch(0o000)
    assert doctor.check_tun(device).level == "fail"


def test_forbidden_namespaces_carry_the_programs_words(tmp_path: Path) -> None:
    program = tmp_path / "unshare"
    program.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    program.chmod(0o755)
    finding = doctor.check_namespaces(str(program))
    assert finding.level == "fail"
    assert "Operation not permitted" in finding.detail


def test_small_disk_fails_and_small_memory_warns(tmp_path: Path) -> None:
    assert doctor.check_disk(tmp_path / "not" / "there", free=10).level == "fail"
    assert doctor.check_disk(tmp_path, free=doctor.DISK_NEEDED).level == "ok"
    assert doctor.check_memory(doctor.GIB).level == "warn"
    assert doctor.check_cores(1).level == "warn"


def test_examine_covers_every_subject_once(tmp_path: Path) -> None:
    subjects = [f.subject for f in doctor.examine(tmp_path)]
    assert len(subjects) == len(set(subjects))
    assert {"root", "packages", "disk", "memory"} <= set(subjects)
