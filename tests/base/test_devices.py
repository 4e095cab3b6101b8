"""Cores as devices: how many there are, who decides, and what is said of a number that cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from mefit.base import devices

HOME = Path(__file__).resolve().parents[2]
CODE = "import os, mefit, jax; print(jax.local_device_count(), os.environ.get('NPROC'))"
FORCED = "--xla_force_host_platform_device_count=3"


def counted(code=CODE, **own):
    """Devices, and the size of XLA's own pool, in a process of its own."""
    bare = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    bare.pop("NPROC", None)
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    environment = {**bare, "PYTHONPATH": path, "MEFIT_COMPILED": "", "JAX_PLATFORMS": "cpu", **own}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_each_core_is_a_device():
    assert counted() == [str(devices.cores()), "1"]


@pytest.mark.parametrize("own", [{"JAX_NUM_CPU_DEVICES": "3"}, {"XLA_FLAGS": FORCED}], ids=["variable", "flag"])
def test_who_has_chosen_a_number_keeps_it(own):
    assert counted(NPROC="2", **own) == ["3", "2"]


def test_where_jax_has_begun_it_is_left_alone():
    assert counted("import jax; jax.devices(); " + CODE) == ["1", "None"]


@pytest.mark.parametrize(
    ("files", "lent"),
    [
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "30000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_no_more_cores_than_a_container_lends(tmp_path, files, lent):
    for name, text in files.items():
        place = tmp_path / "sys" / "fs" / "cgroup" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + "\n")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert devices.cores(str(tmp_path)) == (lent or allowed)


def test_a_number_that_cannot_be_is_a_sentence():
    there = len(jax.local_devices())
    with pytest.raises(ValueError, match="devices must be 1 or more, and is 0; leave it out"), devices.using(0):
        pass
    most = rf"devices={there + 1}, and JAX has {there} here: ask for {there} at most, or set .*JAX_NUM_CPU_DEVICES"
    with pytest.raises(ValueError, match=most), devices.using(there + 1):
        pass


def test_devices_are_taken_where_they_pay_or_were_asked_for(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0 * os.cpu_count(), 0.0, 0.0), raising=False)
    there = len(jax.local_devices())
    assert devices.mesh_of(15, 8) is None  # each would have less than eight parts
    assert devices.count_of(devices.mesh_of(8 * there, 8)) == there
    with devices.using(1):
        assert devices.mesh_of(8 * there, 8) is None
    with devices.using(there):
        assert devices.count_of(devices.mesh_of(there, 8)) == there
        assert devices.count_of(devices.mesh_of(1, 8)) == 1
    with jax.default_device(jax.local_devices()[0]):
        assert devices.mesh_of(8 * there, 8) is None
    monkeypatch.setattr(os, "getloadavg", lambda: (2.1 * os.cpu_count(), 0.0, 0.0), raising=False)
    assert devices.mesh_of(8 * there, 8) is None  # other work leaves no room
    with devices.using(there):
        assert devices.count_of(devices.mesh_of(there, 8)) == there
