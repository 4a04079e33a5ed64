"""Kafka itself, in KRaft mode: one node that is broker and controller. Its jars are fetched once, by Maven."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.flow.brokers import Broker, running
from tests.e2e.flow.certificates import Certificates
from tests.e2e.flow.processes import free_port
from tests.programs_needed import need

VERSION = "4.1.2"
USER, PASSWORD = "flow", "a right password"
_HERE = Path(__file__).parent / "kafka"


@dataclass(frozen=True)
class Kafka:
    """`login`: where an account is asked for (PLAIN). `secure`: the same over TLS (PLAIN and SCRAM)."""

    broker: Broker
    address: str
    login: str
    secure: str


def jars() -> Path:
    """The directory of the jars, each as jars.sha256 says. They stay in the user's cache: fetching takes a minute."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamsd"
    place = cache / f"kafka-{VERSION}"
    wanted = dict(reversed(line.split()) for line in (_HERE / "jars.sha256").read_text().splitlines())
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as fresh:
            argv = [need("mvn"), "-q", "-B", "-Dmaven.artifact.threads=16", "-f", str(_HERE / "pom.xml")]
            argv += ["dependency:copy-dependencies", f"-DoutputDirectory={fresh}/jars", "-DincludeScope=runtime"]
            subprocess.run(argv, check=True, timeout=600)
            with contextlib.suppress(FileExistsError):  # another run was first
                Path(f"{fresh}/jars").rename(place)
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in place.glob("*.jar")}
    assert found == wanted, f"{place} does not hold what jars.sha256 says: remove it"
    return place


@contextlib.contextmanager
def kafka(directory: Path, certificates: Certificates) -> Iterator[Kafka]:
    """A broker with topics of four partitions that are made when they are named."""
    java = need("java")
    classes = f"{jars()}/*"
    plain, login, secure, controller = free_port(), free_port(), free_port(), free_port()
    config = directory / "kafka.properties"
    both = directory / "server.pem"
    both.write_bytes(certificates.key.read_bytes() + certificates.cert.read_bytes())
    both.chmod(0o600)
    account = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    config.write_text(
        "\n".join(
            [
                "process.roles=broker,controller",
                "node.id=1",
                f"controller.quorum.voters=1@127.0.0.1:{controller}",
                f"listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{login},"
                f"SASL_SSL://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}",
                f"advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{login},"
                f"SASL_SSL://127.0.0.1:{secure}",
                "controller.listener.names=CONTROLLER",
                "inter.broker.listener.name=PLAINTEXT",
                "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,"
                "SASL_SSL:SASL_SSL",
                "listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN",
                "listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256",
                f"listener.name.sasl_plaintext.plain.sasl.jaas.config={account}",
                f"listener.name.sasl_ssl.plain.sasl.jaas.config={account}",
                "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config="
                "org.apache.kafka.common.security.scram.ScramLoginModule required;",
                "ssl.keystore.type=PEM",
                f"ssl.keystore.location={both}",
                f"log.dirs={directory}/data",
                "num.partitions=4",
                "offsets.topic.num.partitions=4",
                "offsets.topic.replication.factor=1",
                "transaction.state.log.replication.factor=1",
                "transaction.state.log.min.isr=1",
                "group.initial.rebalance.delay.ms=0",
                "controlled.shutdown.max.retries=1",
            ]
        )
    )
    made = [
        java,
        "-cp",
        classes,
        "kafka.tools.StorageTool",
        "format",
        "-t",
        "AAAAAAAAAAAAAAAAAAAAAQ",
        "-c",
        str(config),
        "--add-scram",
        f"SCRAM-SHA-256=[name={USER},password={PASSWORD}]",
    ]
    subprocess.run(made, check=True, capture_output=True, timeout=120)
    argv = [java, "-Xmx512m", "-Xms256m", "-cp", classes, "kafka.Kafka", str(config)]
    try:
        with running(Broker(argv, plain, directory / "kafka.log", within=240)) as broker:
            yield Kafka(broker, f"127.0.0.1:{plain}", f"127.0.0.1:{login}", f"localhost:{secure}")
    finally:
        shutil.rmtree(directory / "data", ignore_errors=True)
