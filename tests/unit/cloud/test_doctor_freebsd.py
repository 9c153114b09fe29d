"""The findings on a FreeBSD machine, from what its programs answer."""

import pytest
from tests.unit.transcripts import FakeHost

from beastack.cloud import doctor_freebsd
from beastack.freebsd import bhyve
from beastack.freebsd.bhyve import Capabilities

INTEL = "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz"


def processor(model: str = INTEL, below: str = "none", loaded: bool = True, vmx: str | None = "1") -> FakeHost:
    absent = ("sysctl: unknown oid 'hw.vmm.svm.features'", 1)
    initialized = ("sysctl: unknown oid 'hw.vmm.vmx.initialized'", 1) if vmx is None else vmx
    return FakeHost(
        {
            "sysctl -n hw.model": f"{model}\n",
            "sysctl -n kern.vm_guest": f"{below}\n",
            "kldstat -q -m vmm": ("", 0 if loaded else 1),
            "sysctl -n hw.vmm.vmx.initialized": initialized,
            "sysctl -n hw.vmm.svm.features": absent,
        }
    )


def test_a_processor_that_can() -> None:
    found = doctor_freebsd.check_processor(processor())
    assert (found.level, found.detail) == ("ok", INTEL)


def test_a_processor_that_cannot() -> None:
    for vmx in ("0", None):
        found = doctor_freebsd.check_processor(processor(vmx=vmx))
        assert found.level == "fail"
        assert "firmware" in found.remedy


def test_intel_below_kvm_needs_two_features_left_out() -> None:
    found = doctor_freebsd.check_processor(processor(below="kvm"))
    assert found.level == "warn"
    assert "hangs" in found.detail
    assert "vmx-apicv-vid=off" in found.remedy
    assert "vmx-posted-intr=off" in found.remedy
    assert doctor_freebsd.check_processor(processor("AMD EPYC 7702", "kvm")).level == "ok"


def test_nothing_is_loaded_by_looking() -> None:
    host = processor(loaded=False)
    found = doctor_freebsd.check_processor(host)
    assert found.level == "ok"
    assert "not loaded" in found.detail
    assert not [command for command in host.ran if "kldload" in command]


@pytest.mark.parametrize(
    ("number", "release", "level", "words"),
    [
        ("1501000", "15.1-RELEASE", "ok", "15.1"),
        ("1403000", "14.3-RELEASE", "ok", "VLAN tags"),
        ("1302001", "13.2-RELEASE", "warn", "13.2"),
    ],
)
def test_what_a_release_lacks_is_told(number: str, release: str, level: str, words: str) -> None:
    host = FakeHost({"sysctl -n kern.osreldate": f"{number}\n", "sysctl -n kern.osrelease": f"{release}\n"})
    found = doctor_freebsd.check_release(host)
    assert found.level == level
    assert words in found.detail


@pytest.mark.parametrize("running", [(15, 1), (15, 0), (14, 3)])
def test_samples_have_every_part_that_the_release_can_have(running: tuple[int, int]) -> None:
    can = Capabilities.of_release(*running)
    _small, large = doctor_freebsd.samples(can)
    line = " ".join(bhyve.argv(large, can))
    for part in (
        "virtio-blk",
        "nvme",
        "ahci-hd",
        "ahci-cd",
        "virtio-net",
        "virtio-rnd",
        "fbuf",
        "com1",
        "bootrom",
        "-S",
    ):
        assert part in line


def test_a_bhyve_that_refuses_is_reported_with_its_words() -> None:
    class Refusing(FakeHost):
        def run(self, argv, **more):  # type: ignore[no-untyped-def]
            if argv[0] == "bhyve":
                self.answers[" ".join(argv)] = ("bhyve: unknown option -- H\n", 1)
            return super().run(argv, **more)

    found = doctor_freebsd.check_bhyve(Refusing({"sysctl -n kern.osrelease": "15.1-RELEASE\n"}))
    assert found.level == "fail"
    assert "unknown option" in found.detail


def test_before_14_bhyve_cannot_be_asked() -> None:
    host = FakeHost({"sysctl -n kern.osrelease": "13.2-RELEASE\n"})
    assert "cannot be asked" in doctor_freebsd.check_bhyve(host).detail
    assert host.ran == ["sysctl -n kern.osrelease"]
