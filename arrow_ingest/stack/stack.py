"""A folder in; Apache Kafka, PostgreSQL and an S3 server out, running and empty, and the variables that lead there."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from arrow_ingest import environment
from arrow_ingest.stack import programs
from arrow_ingest.stack.kafka import KafkaCluster
from arrow_ingest.stack.postgres import GivenPostgres, PostgresServer
from arrow_ingest.stack.s3 import S3Server

DEFAULT_FOLDER = Path(".arrow_ingest/stack")
PREFIX = "ducklake"


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs: three servers, an empty database and an empty bucket in them."""

    kafka: KafkaCluster
    postgres: GivenPostgres
    s3: S3Server
    dsn: str
    bucket: str

    def environ(self) -> Mapping[str, str]:
        """The environment variables that point arrow_ingest at the stack; they hold the ingest key."""
        return {
            environment.BOOTSTRAP_SERVERS: self.kafka.bootstrap_servers,
            environment.CATALOG: f"postgres:{self.dsn}",
            environment.DATA_PATH: f"s3://{self.bucket}/{PREFIX}/",
            **self.s3.environ(),
        }


def install(folder: Path) -> None:
    """Bring the programs, so that later starts take seconds and no network.

    Raises:
        MissingPart: one of them is absent and cannot be brought; the text names the command.
    """
    programs.java()
    programs.kafka(folder / "programs")
    programs.versitygw(folder / "programs")
    if environment.stack_postgres() is None:
        programs.postgres()


@contextmanager
def running_stack(folder: Path, *, brokers: int = 1) -> Iterator[Stack]:
    """The stack, until the block ends. It starts empty: what an earlier one left in the folder is deleted first.

    Only ``folder/programs`` stays. PostgreSQL is the one that the environment names, if it does.

    Raises:
        MissingPart: a program is absent and cannot be brought.
        StackFailed: a server did not start.
    """
    folder = folder.absolute()
    install(folder)
    for part in ("kafka", "s3"):
        shutil.rmtree(folder / part, ignore_errors=True)
    given = environment.stack_postgres()
    with ExitStack() as servers:
        kafka = servers.enter_context(KafkaCluster(folder / "kafka", brokers, programs=folder / "programs"))
        s3 = servers.enter_context(S3Server(folder / "s3", programs=folder / "programs"))
        postgres = (
            GivenPostgres(given)
            if given is not None
            else servers.enter_context(PostgresServer(log_file=folder / "postgres.log"))
        )
        yield Stack(kafka, postgres, s3, postgres.new_database(), s3.new_bucket())
