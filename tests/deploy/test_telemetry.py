"""What deploy/telemetry promises the gateway, and the gateway it: metrics that are there, and rules that fire."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from claude_grpc.rpc.gauges import add_gauges
from claude_grpc.telemetry import watch as watching
from claude_grpc.telemetry.histogram import Histogram
from claude_grpc.telemetry.meter import Meter
from claude_grpc.telemetry.metrics import Metrics
from claude_grpc.telemetry.tally import Reading
from support.stack import create, drain, open_stack, stream

FOLDER = Path(__file__).parents[2] / "deploy" / "telemetry"
# A metric is what has labels, a range or an end after it; a label is what stands in braces or after "by".
METRIC = re.compile(r"\b((?:rpc_server|gen_ai|claude_grpc)_\w+)")
LABELS = re.compile(r"by \(([^)]*)\)|\{([^}]*)\}")


def promtool(*arguments: str) -> None:
    if not shutil.which("promtool"):
        place = "this CI run" if os.environ.get("CI") == "true" else "this run"
        pytest.skip(f"promtool (Debian: prometheus) is not on PATH: the alert rules stay unchecked in {place}")
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return loaded


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for rule in alerts():
        yield rule["alert"], rule["expr"]


def metrics_of(expression: str) -> set[str]:
    """The metrics that an expression names, without those that are labels."""
    return set(METRIC.findall(LABELS.sub(" ", expression)))


def labels_of(expression: str) -> set[str]:
    found: set[str] = set()
    for grouped, selected in LABELS.findall(expression):
        found |= {name.strip() for name in grouped.split(",") if name.strip()}
        found |= set(re.findall(r"(\w+)\s*(?:=~|!=|=)", selected))
    return found - {"le"}


@pytest.fixture(scope="module")
def page() -> str:
    """What Prometheus scrapes from a gateway that has seen everything."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "_INTERVAL", 0.01)
        for name, value in variables.items():
            patch.setenv(name, value)
        return asyncio.run(_see_everything(f"http://127.0.0.1:{port}/metrics"))


async def _see_everything(url: str) -> str:
    async with open_stack(max_retries=1, breaker_failures=3) as stack:
        for text in ("Why?", "[[cut at=3]]", "[[error 400]]", "[[error-event at=3]]"):
            await drain(stack.messages.StreamMessage(stream(text)))
        call = stack.messages.StreamMessage(stream("[[stall at=2]]"))
        await call.read()
        call.cancel()
        failing = create("[[error 529 retry-after-ms=1]]")
        failing.call_options.fallback_models.append("claude-haiku-5-5")
        for _ in range(3):
            await drain(stack.messages.CreateMessage(failing))
        page = ""
        while "claude_grpc_breaker_state{" not in page:
            page = await asyncio.to_thread(_get, url)
        return page


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 # it is our own
        return str(response.read(), "utf-8")


def emitted(page: str) -> dict[str, set[str]]:
    """Each series' name with the labels it has anywhere."""
    found: dict[str, set[str]] = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition("{") if "{" in line else (line.split()[0], "", "")
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', rest))
    return found


def families(page: str) -> set[str]:
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in emitted(page)}


class NamesBehindACollector(Meter):
    """What a collector's Prometheus exporter makes of names: it adds the unit, unless that stands in braces."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def counter(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        self._add(name, unit, {"By": "_bytes"}, "_total")

    def level(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        self._add(name, unit, {"By": "_bytes"})

    def gauge(self, name: str, description: str, unit: str, read: Callable[[], Reading]) -> None:
        # The exporter of the gateway adds nothing for a 1.
        self._add(name, unit, {"By": "_bytes", "1": "_ratio"})

    def histogram(self, name: str, description: str, histogram: Histogram) -> Histogram:
        self._add(name, "s", {"s": "_seconds"})
        return histogram

    def _add(self, name: str, unit: str, endings: dict[str, str], last: str = "") -> None:
        plain = name.replace(".", "_")
        ending = "" if re.fullmatch(r"\{\w+\}", unit) else endings[unit]
        self.names.add(plain.removesuffix(ending) + ending + last)


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda part: part[:40])
def test_each_metric_and_label_that_is_asked_for_is_one_the_gateway_tells(
    page: str, where: str, expression: str
) -> None:
    known = emitted(page)
    named = metrics_of(expression)
    assert named, where
    assert named <= set(known)
    assert labels_of(expression) <= set().union(*(known[name] for name in named))


def test_metrics_have_the_same_names_behind_a_collector(page: str) -> None:
    meter: Any = NamesBehindACollector()
    machines: Any = None  # gauges ask them later
    add_gauges(Metrics(meter, ("127.0.0.1", 443)), machines, machines)
    assert families(page) - {"target_info"} <= meter.names


def test_the_dashboard_answers_the_four_questions() -> None:
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == ["Is it up?", "Is it fast?", "What does it cost?", "What fails?"]


def test_each_metric_the_gateway_tells_is_on_the_dashboard(page: str) -> None:
    shown = {name for _, expression in expressions() for name in metrics_of(expression)}
    # The duration of calls that are no model calls is rarely of interest, and target_info is for joins.
    assert families(page) - {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown} <= {
        "gen_ai_client_operation_duration_seconds", "target_info"
    }  # fmt: skip


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_each_alert_has_a_severity_and_says_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_each_alert_is_tested_to_fire_and_to_be_silent() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}
    assert {check["alertname"] for check in checks if check.get("exp_alerts")} == names
    assert {check["alertname"] for check in checks if not check.get("exp_alerts")} == names


def test_the_alert_rules_are_valid() -> None:
    promtool("check", "rules", "alerts.yaml")


def test_the_alert_rules_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "alerts_test.yaml")


def test_each_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__\w+", "5m", expression)}
        for number, (_, expression) in enumerate(expressions())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))
