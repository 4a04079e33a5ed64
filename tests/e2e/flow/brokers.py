"""Real brokers and databases for tests, each on ports of its own, ended by pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.flow.certificates import Certificates
from tests.e2e.flow.processes import PATIENCE, free_port, until
from tests.programs_needed import need


class Broker:
    """A server process that can be stopped and started again on the same port."""

    def __init__(
        self,
        argv: list[str],
        port: int,
        log: Path,
        user: str | None = None,
        environment: dict[str, str] | None = None,
        within: float = PATIENCE,
    ) -> None:
        """`within`: seconds that it may take to start."""
        self.within = within
        self.argv, self.port, self.log, self.user, self.environment = argv, port, log, user, environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, user=self.user, env=self.environment)
        until(self._answers, f"{self.argv[0]} on port {self.port}\n{self.log.read_text()[-2000:]}", self.within)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@contextlib.contextmanager
def mosquitto(directory: Path, keeps: bool = False) -> Iterator[Broker]:
    """With its default limit of 20 unacknowledged messages, as people have it. `keeps`: its sessions outlive it."""
    program = need("mosquitto")
    port = free_port()
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
        f"persistence {'true' if keeps else 'false'}\npersistence_location {directory}/\n"
        f"user {'root' if os.geteuid() == 0 else ''}\n"
    )
    with running(Broker([program, "-c", str(config)], port, directory / "mosquitto.log")) as broker:
        yield broker


@contextlib.contextmanager
def nats_server(directory: Path) -> Iterator[Broker]:
    beside = Path(sys.executable).parent / "nats-server"
    program = str(beside) if beside.exists() else need("nats-server")
    port = free_port()
    argv = [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(directory / "jetstream")]
    with running(Broker(argv, port, directory / "nats.log")) as broker:
        yield broker


@contextlib.contextmanager
def postgres(directory: Path) -> Iterator[tuple[Broker, str]]:
    """The server and its URL. It does not run as root, so that it gets a directory of its own."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb") or (str(programs[-1] / "initdb") if programs else need("initdb"))
    program = Path(found).resolve().parent
    user = "nobody" if os.geteuid() == 0 else None
    data = Path(tempfile.mkdtemp(prefix="flow-pg-"))
    try:
        if user:
            shutil.chown(data, user)
        subprocess.run(
            [str(program / "initdb"), "-D", str(data), "-A", "trust", "-U", "flow", "--no-sync"],
            check=True,
            user=user,
            capture_output=True,
            cwd="/",
        )
        port = free_port()
        argv = [str(program / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
        broker = Broker(argv, port, directory / "postgres.log", user)
        try:
            broker.start()
            yield broker, f"postgresql://flow@127.0.0.1:{port}/postgres"
        finally:
            broker.stop(signal.SIGINT)
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextlib.contextmanager
def rabbitmq(directory: Path, certificates: Certificates | None = None) -> Iterator[Broker]:
    """With a port mapper of its own, which ends with it. With certificates it speaks TLS only."""
    need("rabbitmq-server")
    program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    port, distribution, mapper = free_port(), free_port(), free_port()
    config = directory / "rabbitmq.conf"
    listeners = f"listeners.tcp.default = 127.0.0.1:{port}\n"
    if certificates is not None:
        listeners = (
            f"listeners.tcp = none\nlisteners.ssl.default = 127.0.0.1:{port}\n"
            f"ssl_options.cacertfile = {certificates.ca}\nssl_options.certfile = {certificates.cert}\n"
            f"ssl_options.keyfile = {certificates.key}\nssl_options.verify = verify_none\n"
        )
    config.write_text(f"{listeners}loopback_users = none\nvm_memory_high_watermark.absolute = 512MB\n")
    environment = {
        **os.environ,
        "HOME": str(directory),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"flow{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "logs"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
    }
    ports = subprocess.Popen([need("epmd"), "-port", str(mapper), "-address", "127.0.0.1"])
    try:
        with running(Broker([program], port, directory / "rabbitmq.log", environment=environment)) as broker:
            yield broker
    finally:
        ports.kill()
        ports.wait()
