"""The status dict in the Prometheus text format: codes and counts, never a name or a text."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hub.web.words import STATES

_PREFIX = "crossregion_hub_"


class _Gauges(Collector):
    """The status dict as Prometheus gauges: codes and counts, never a name or a text."""

    def __init__(self, status: Mapping[str, Any], healthy: bool) -> None:
        self.status, self.healthy = status, healthy

    def collect(self) -> Iterator[Metric]:
        status = self.status
        hub, numbers, ledger = status["hub"], status["numbers"], status["ledger"]
        info = GaugeMetricFamily(_PREFIX + "info", "Version of the hub", labels=["version", "demo"])
        info.add_metric([hub["version"], str(hub["demo"]).lower()], 1)
        yield info
        yield _one("healthy", "1 when the hub answers for its own health", int(self.healthy))
        yield _one("records", "Records in the current view", numbers["records"])
        yield _one("records_today", "Records stored today, hub time zone", numbers["records_today"])
        yield _one("open_differences", "Differences nobody has decided", numbers["open_differences"])
        yield _one("quarantined_rows", "Rows held in quarantine", numbers["quarantined"])
        yield _one("ledger_entries", "Entries on the ledger", ledger["size"])
        yield _one("ledger_verified_entries", "Entries covered by the last verification", ledger["verified_size"])
        yield _one("ledger_verified_timestamp_seconds", "Last verification", _seconds(ledger["verified_at"]))
        yield _one("ledger_checkpoint_timestamp_seconds", "Last checkpoint", _seconds(ledger["checkpoint_at"]))
        seen = ledger["witnessed"]
        yield _one("ledger_witnessed_entries", "Entries that a quorum of witnesses cosigned", seen["size"])
        since = _seconds(seen["since"])
        yield _one("ledger_unwitnessed_since_timestamp_seconds", "Of the first entry that no quorum cosigned", since)
        yield _one("next_night_timestamp_seconds", "Next reconciliation", _seconds(status["night"]["next"]))
        ends = [((each["owner"], each["role"], each["key"]), each["days_left"]) for each in status["key_ends"]]
        yield _many("key_days_left", "Days until a key's last day, below 0 once it is over", ("owner", "role", "key"), ends)
        verdicts = ("ok", "paused", "late", "failing", "action", "never")
        yield _states("verdict", "The hub's verdict on itself", [((), status["verdict"]["state"])], (), verdicts)
        yield from self._cities(status["jurisdictions"])
        yield from self._nights(status["night"]["agreements"])

    def _cities(self, cities: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
        label = ("jurisdiction",)
        states = [((city["code"],), city["state"]) for city in cities]
        yield _states("jurisdiction_state", "State of a jurisdiction", states, label, STATES)
        for key, text in (
            ("read", "Rows read by the last run"),
            ("stored", "Records stored by the last run"),
            ("records", "Records in the current view"),
            ("retracted", "Records retracted"),
            ("quarantined", "Rows held in quarantine"),
            ("differences", "Open differences"),
        ):
            yield _many(f"jurisdiction_{key}", text, label, [((city["code"],), city[key]) for city in cities])
        hours = [((city["code"],), city["agreed_hours"] * 3600) for city in cities]
        yield _many("jurisdiction_agreed_seconds", "Freshness agreed", label, hours)
        for key in ("last_success", "last_attempt", "fresh_until", "next"):
            moments = [((city["code"],), _seconds(city[key])) for city in cities]
            yield _many(f"jurisdiction_{key}_timestamp_seconds", key.replace("_", " "), label, moments)

    def _nights(self, agreements: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
        label = ("agreement",)
        lasts = [((one["agreement"],), one["last"]) for one in agreements if one["last"]]
        for key in ("compared", "repaired", "differences"):
            values = [(labels, last[key]) for labels, last in lasts]
            yield _many(f"night_{key}", f"{key} in the last reconciliation", label, values)
        missing = [(labels, len(last["not_compared"])) for labels, last in lasts]
        yield _many("night_not_compared", "Jurisdictions left out of the last reconciliation", label, missing)
        moments = [(labels, _seconds(last["committed_at"])) for labels, last in lasts]
        yield _many("night_committed_timestamp_seconds", "Last reconciliation committed", label, moments)


Labelled = Sequence[tuple[tuple[str, ...], float | None]]


def _seconds(iso: str | None) -> float | None:
    return datetime.fromisoformat(iso).timestamp() if iso else None


def _one(name: str, text: str, value: float | None) -> Metric:
    return _many(name, text, (), [((), value)])


def _many(name: str, text: str, labels: tuple[str, ...], values: Labelled) -> Metric:
    """What has no value yet is left out: a zero would be a claim."""
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
    for key, value in values:
        if value is not None:
            family.add_metric(key, value)
    return family


def _states(
    name: str,
    text: str,
    given: Sequence[tuple[tuple[str, ...], str]],
    labels: tuple[str, ...],
    all_: Sequence[str],
) -> Metric:
    values = [((*key, state), int(state == current)) for key, current in given for state in all_]
    return _many(name, text, (*labels, "state"), values)


def metrics(status: Mapping[str, Any], healthy: bool) -> bytes:
    """The status in the Prometheus text format, from a registry of its own."""
    registry = CollectorRegistry()
    registry.register(_Gauges(status, healthy))
    return generate_latest(registry)
