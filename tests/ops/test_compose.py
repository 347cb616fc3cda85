"""What the compose files promise, read as Compose reads them but for the values of variables."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from scripts.settings import ROOT
from worker.settings import WorkerSettings

STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GPU: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
SERVICES: dict[str, Any] = STACK["services"]
LASTING = sorted(set(SERVICES) - {"secrets", "restore"})
CAPABILITIES = {"secrets": ["DAC_OVERRIDE"], "caddy": ["NET_BIND_SERVICE"]}
PUBLISHED = {"api": "127.0.0.1", "grafana": "127.0.0.1", "caddy": None}
REACHING_OUT = {"mirror", "restore"}


def seconds(text: str) -> int:
    """A duration of the file; all of them are in seconds."""
    assert text.endswith("s")
    return int(text[:-1])


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert "privileged" not in service
    assert service.get("cap_add", []) == CAPABILITIES.get(name, [])
    assert service.get("user") != "root" or name == "secrets"
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_only_what_people_use_is_published_and_on_this_machine(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert bool(ports) == (name in PUBLISHED)
    if address := PUBLISHED.get(name):
        assert all(re.match(rf"\$\{{\w+:-{re.escape(address)}\}}:", port) for port in ports)


def test_what_nobody_outside_needs_is_on_an_internal_network() -> None:
    assert STACK["networks"]["inside"]["internal"] is True
    outside = {name for name, service in SERVICES.items() if "outside" in service["networks"]}
    assert outside == set(PUBLISHED) | REACHING_OUT


def test_no_secret_stands_in_an_environment() -> None:
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            assert not re.search(r"PASSWORD(?!__FILE)|SECRET(?!S_DIR)|TOKEN", name), name
        assert "requirepass" not in str(service)


def test_stops_are_waited_for() -> None:
    stop = WorkerSettings.model_fields["stop_seconds"].default
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > stop + 5
    training = SERVICES["trainer"]["environment"]["VITGAN_STOP_SECONDS"]
    default = re.fullmatch(r"\$\{TRAINER_STOP_SECONDS:-(\d+)\}", training)
    assert default
    assert seconds(SERVICES["trainer"]["stop_grace_period"]) > int(default[1]) + 5


def test_processes_start_when_what_they_need_is_healthy() -> None:
    for name in ("api", "worker", "trainer"):
        assert SERVICES[name]["depends_on"] == {
            "redis": {"condition": "service_healthy"}, "redis-bytes": {"condition": "service_healthy"}
        }  # fmt: skip
    images = (ROOT / "docker" / "Dockerfile").read_text()
    assert images.count("HEALTHCHECK ") == 3  # theirs stand in the images
    assert all("healthcheck" in SERVICES[n] for n in ("redis", "redis-bytes", "prometheus", "grafana"))


def test_jobs_are_written_down_and_image_bytes_are_not() -> None:
    folder = ROOT / "docker" / "redis"
    jobs, bytes_ = (folder / "jobs.conf").read_text(), (folder / "bytes.conf").read_text()
    assert "appendonly yes" in jobs
    assert "appendonly no" in bytes_
    assert 'save ""' in bytes_
    for text, name in ((jobs, "redis"), (bytes_, "redis-bytes")):
        assert "maxmemory-policy noeviction" in text
        assert SERVICES[name]["command"][2].startswith("${")  # its bound
    assert "redis:/data" in SERVICES["redis"]["volumes"]
    assert SERVICES["redis-bytes"]["tmpfs"] == ["/data"]


def test_what_must_last_is_on_named_volumes() -> None:
    for name in ("api", "worker", "trainer"):
        assert "data:/data" in SERVICES[name]["volumes"]
        assert SERVICES[name]["environment"]["VITGAN_DATA_DIR"] == "/data"
    named = {volume.partition(":")[0] for s in SERVICES.values() for volume in s.get("volumes", [])}
    assert {one for one in named if not one.startswith(".")} == set(STACK["volumes"])


def test_mounted_files_are_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                path, _, mode = volume.split(":")
                assert (ROOT / path).exists()
                assert mode == "ro"


def test_the_gpu_file_changes_the_trainer_alone() -> None:
    assert set(GPU["services"]) == {"trainer"}
    trainer = GPU["services"]["trainer"]
    assert trainer["environment"] == {"VITGAN_DEVICE": "cuda"}
    assert trainer["image"] != SERVICES["trainer"]["image"]  # both may be kept


def test_images_carry_tags_and_none_is_the_latest() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text()
    images = [service["image"] for service in SERVICES.values()] + re.findall(r"PYTHON_IMAGE=(\S+)", text)
    assert all(re.search(r":(?!latest)\S", image) for image in images)


def test_the_images_python_is_that_of_the_lock() -> None:
    from scripts.lock import PYTHON

    text = (ROOT / "docker" / "Dockerfile").read_text()
    assert f"PYTHON_IMAGE=python:{PYTHON}-slim" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={PYTHON}"
