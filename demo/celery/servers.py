"""What workers share besides Airflow's API: a queue in Redis, and a bucket of S3."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from demo.local_airflow import free_port
from demo.processes import Process, wait_for
from demo.run import DemoFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUCKET = "imports"
#: moto asks for some credentials, and takes any.
_CREDENTIALS = "anybody"
_REGION = "us-east-1"


class Redis:
    """
    Run Redis, which keeps nothing on disk.

    :param directory: Where its log goes.
    """

    def __init__(self, directory: Path) -> None:
        self._port = free_port()
        self.process = Process(
            name="Redis",
            command=[
                *("redis-server", "--bind", "127.0.0.1", "--port", str(self._port)),
                *("--save", "", "--appendonly", "no", "--dir", str(directory)),
            ],
            log=directory / "logs" / "redis.log",
        )

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        if shutil.which("redis-server") is None:
            raise DemoFailedError("Redis is missing: install Debian's package redis-server.")
        self.process.start()
        wait_for("Redis to take connections", self._is_up, [self.process], seconds=60)

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()

    def url(self, database: int) -> str:
        """Return the address of one of its databases."""
        return f"redis://127.0.0.1:{self._port}/{database}"

    def _is_up(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True


class S3:
    """
    Run moto's S3, which keeps everything in memory.

    :param directory: Where its log goes.
    """

    def __init__(self, directory: Path) -> None:
        self.process = Process(
            name="moto's S3",
            command=[sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"],
            log=directory / "logs" / "s3.log",
        )

    def start(self) -> None:
        """Start it, and make the bucket."""
        self.process.start()
        self._url = wait_for("S3 to listen", self._announced, [self.process], seconds=60)
        self._client.create_bucket(Bucket=BUCKET)

    def stop(self) -> None:
        """Stop it; what is in it is forgotten."""
        self.process.stop()

    def connection_json(self) -> str:
        """Return an Airflow connection to it, as JSON."""
        return json.dumps(
            {
                "conn_type": "aws",
                "login": _CREDENTIALS,
                "password": _CREDENTIALS,
                "extra": {"endpoint_url": self._url, "region_name": _REGION},
            }
        )

    def environment(self) -> dict[str, str]:
        """Return the variables with which a client finds it by itself."""
        return {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_ACCESS_KEY_ID": _CREDENTIALS,
            "AWS_SECRET_ACCESS_KEY": _CREDENTIALS,
            "AWS_DEFAULT_REGION": _REGION,
        }

    def upload(self, file: Path) -> str:
        """Copy a file into the bucket, and return its URI."""
        self._client.upload_file(str(file), BUCKET, file.name)
        return f"s3://{BUCKET}/{file.name}"

    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder of the bucket."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{folder}/")
        return [file["Key"] for page in pages for file in page.get("Contents", ())]

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a file."""
        yield from self._client.get_object(Bucket=BUCKET, Key=name)["Body"].iter_lines()

    @cached_property
    def _client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self._url,
            region_name=_REGION,
            aws_access_key_id=_CREDENTIALS,
            aws_secret_access_key=_CREDENTIALS,
            config=Config(proxies={}),
        )

    def _announced(self) -> str | None:
        announced = re.search(r"Running on (http://\S+)", self.process.log.read_text())
        return announced.group(1) if announced else None
