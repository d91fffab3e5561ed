"""The last look at each pipeline in, Prometheus' text over HTTP out. A scrape asks nobody: it shows what is there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from arrow_ingest import __version__
from arrow_ingest.errors import ConfigError, MissingPart
from arrow_ingest.exporter.look import Look
from arrow_ingest.exporter.metrics import METRICS, PREFIX

try:
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
    from prometheus_client.metrics_core import Metric as Family
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingPart("the exporter needs prometheus_client: pip install 'arrow-ingest[metrics]'") from error


class Served(Collector):
    """What is served: the last look at each pipeline."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looks: dict[str, Look] = {}

    def show(self, look: Look) -> None:
        """Serve this look from now on."""
        with self._lock:
            self._looks[look.config.name] = look

    def collect(self) -> Iterator[Family]:
        """The families, with a sample per pipeline and label where a look knows it."""
        with self._lock:
            looks = sorted(self._looks.items())
        yield InfoMetricFamily(f"{PREFIX}exporter", "The exporter.", value={"version": __version__})
        for metric in METRICS:
            family_of = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = family_of(f"{PREFIX}{metric.name}", metric.says, labels=["pipeline", *metric.labels])
            for pipeline, look in looks:
                for labels, value in metric.samples(look):
                    family.add_metric([pipeline, *labels], value)
            yield family

    def text(self) -> str:
        """As a scrape gets it."""
        return generate_latest(self._registry()).decode()

    @contextmanager
    def listening(self, host: str, port: int) -> Iterator[int]:
        """Serve at an address, on threads, within the block; the port, which is a free one for port 0.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        try:
            server, thread = start_http_server(port, addr=host, registry=self._registry())
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _registry(self) -> CollectorRegistry:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return registry
