"""What is shipped for operating it names things that exist."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.support.deps import world

from trainshed.dialects.native import door as native_door
from trainshed.dialects.orchestrator.routes import door as orchestrator_door

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NAME = re.compile(r"\b(?:trainshed|process|training)_[a-z_]+")


def expressions() -> dict[str, str]:
    """Every PromQL expression, by where it stands."""
    found = {}
    for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            found[rule["alert"]] = rule["expr"]
            assert rule["annotations"]["summary"].endswith("."), rule["alert"]
    for panel in json.loads((DEPLOY / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


def test_alerts_and_dashboard_use_figures_that_are_there(tmp_path: Path) -> None:
    with world(tmp_path, doors=[native_door(), orchestrator_door(60.0)]) as w:
        w.client.get("/v1/health")
        text = w.client.get("/metrics", headers=w.admin.headers).text
    families = list(text_string_to_metric_families(text))
    exposed = {s.name for f in families for s in f.samples}
    exposed |= {f.name + "_bucket" * (f.type == "histogram") for f in families}
    asked = {where: set(NAME.findall(expr)) for where, expr in expressions().items()}
    assert len(asked) > 10
    assert {w: names - exposed for w, names in asked.items() if names - exposed} == {}


def test_the_unit_leaves_jobs_alone() -> None:
    unit = (DEPLOY / "trainshed.service").read_text()
    assert "\nKillMode=process\n" in unit
    assert "trainshed up" in unit


def test_compose_and_container_agree() -> None:
    compose = yaml.safe_load((DEPLOY.parent / "compose.yaml").read_text())
    service = compose["services"]["orchestrator"]
    built = (DEPLOY / "Containerfile").read_text()
    assert (DEPLOY.parent / service["build"]["dockerfile"]) == DEPLOY / "Containerfile"
    assert re.search(r"^USER 10001:10001$", built, re.M)
    assert re.search(r"^HEALTHCHECK ", built, re.M)
    volume = re.search(r"^VOLUME (\S+)$", built, re.M)
    port = re.search(r"^EXPOSE (\d+)$", built, re.M)
    assert volume is not None
    assert port is not None
    assert service["volumes"] == [f"data:{volume[1]}"]
    assert [p.rpartition(":")[2] for p in service["ports"]] == [port[1]]
    assert all(p.startswith("127.0.0.1:") for p in service["ports"])
    check = re.search(r"^HEALTHCHECK .*\\\n +CMD (.+)$", built, re.M)
    assert check is not None
    assert service["healthcheck"]["test"] == ["CMD", *json.loads(check[1])]


def test_the_container_has_the_locked_packages_a_server_needs() -> None:
    all_, server = (pins(DEPLOY.parent / "requirements.lock"), pins(DEPLOY / "requirements.lock"))
    assert server.items() <= all_.items()
    assert not server.keys() & {"pytest", "ruff", "mypy", "scikit-learn"}
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["postgres"], *extras["gpu"]]
    names = {re.split(r"[\[<>=; ]", one)[0].lower() for one in wanted}
    assert names <= server.keys()


def pins(path: Path) -> dict[str, str]:
    """Return name -> version of a lock."""
    return dict(re.findall(r"^([a-z0-9.-]+)(?:\[[^]]*\])?==(\S+)", path.read_text(), re.M))
