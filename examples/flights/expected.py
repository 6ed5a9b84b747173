#!/usr/bin/env python3
"""Computes the derived fields of airlines, airports and planes from the CSV files alone, and prints them.

It knows nothing of the server or of flights.cor, so that the two can be held against each other. One line of JSON per
value: {"type": "Airline", "id": "UA", "field": "flight_count", "value": 4637}. Null stands for a field without a value;
links are ids, and lists of links are lists of ids in order.

    python3 expected.py [FOLDER]          # FOLDER holds .csv or .csv.gz files; sample/ beside this file by default
"""

import csv
import gzip
import json
import sys
from collections import defaultdict
from pathlib import Path

RAIN = 0.0  # inches: more than this is rain
LATE = 15  # minutes: more than this is late


def read(folder, name):
    """The rows of a table, with None for empty cells."""
    plain = folder / f"{name}.csv"
    path, opened = (plain, open) if plain.is_file() else (folder / f"{name}.csv.gz", gzip.open)
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        return [{column: cell or None for column, cell in row.items()} for row in csv.DictReader(file)]


def by(rows, column):
    """The rows for each value of a column."""
    groups = defaultdict(list)
    for row in rows:
        if row[column] is not None:
            groups[row[column]].append(row)
    return groups


def whole(rows, column):
    """The whole numbers of a column that are known."""
    return [int(row[column]) for row in rows if row[column] is not None]


def mean(values):
    """The mean, or None of nothing."""
    return sum(values) / len(values) if values else None


def left(rows):
    """The flights that were not cancelled."""
    return [row for row in rows if row["departed"] is not None]


def airline_values(flights, seats):
    """The derived fields of an airline with these flights."""
    delays = whole(flights, "dep_delay")
    late = [delay for delay in delays if delay > LATE]
    return {
        "flight_count": len(flights),
        "mean_dep_delay": mean(delays),
        "worst_dep_delay": max(delays, default=None),
        "late_share": len(late) / len(delays) if delays else None,
        "seats_carried": sum(seats.get(flight["plane"], 0) for flight in left(flights)),
        "fleet_size": len({flight["plane"] for flight in flights} - {None}),
    }


def airport_values(departing, arriving, routes, flight_counts, rain):
    """The derived fields of an airport; of routes equally busy, the first by id counts."""
    busiest = min(routes, key=lambda route: (-flight_counts[route["_id"]], route["_id"]), default=None)
    return {
        "departures": len(left(departing)),
        "arrivals": sum(flight["departed"] is not None and flight["arr_delay"] is not None for flight in arriving),
        "busiest_destination": busiest["dest"] if busiest else None,
        "mean_dep_delay": mean(whole(departing, "dep_delay")),
        "mean_dep_delay_in_rain": mean(
            whole([flight for flight in departing if flight["weather"] in rain], "dep_delay")
        ),
    }


def plane_values(flights):
    """The derived fields of a plane with these flights."""
    return {
        "flight_count": len(flights),
        "total_miles": sum(whole(left(flights), "distance")),
        "hours_in_air": sum(whole(flights, "air_time")) / 60,
        "airports_served": sorted({flight["dest"] for flight in left(flights)} - {None}),
    }


def expected(folder):
    """All values: type, id, and the value of each field."""
    flights, routes, planes = read(folder, "flights"), read(folder, "routes"), read(folder, "planes")

    seats = {plane["_id"]: int(plane["seats"]) for plane in planes if plane["seats"] is not None}
    by_airline = by(flights, "airline")
    for airline in read(folder, "airlines"):
        yield "Airline", airline["_id"], airline_values(by_airline[airline["_id"]], seats)

    rain = {hour["_id"] for hour in read(folder, "weather") if float(hour["precip"] or 0) > RAIN}
    flight_counts = {route: len(rows) for route, rows in by(flights, "route").items()}
    departing, arriving, routes_from = by(flights, "origin"), by(flights, "dest"), by(routes, "origin")
    for airport in read(folder, "airports"):
        code = airport["_id"]
        values = airport_values(departing[code], arriving[code], routes_from[code], flight_counts, rain)
        yield "Airport", code, values

    by_plane = by(flights, "plane")
    for plane in planes:
        yield "Plane", plane["_id"], plane_values(by_plane[plane["_id"]])


def main():
    """Prints the values of the folder in the first argument."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "sample"
    for kind, name, values in expected(folder):
        for field, value in values.items():
            print(json.dumps({"type": kind, "id": name, "field": field, "value": value}))


if __name__ == "__main__":
    main()
