-- The flights from CSV until every derived field of `flights.cor` stands: COPY, then keys and the indexes that links
-- need, then one materialized view of derived columns for each type, with its key.
\copy airlines FROM 'airlines.csv' WITH (FORMAT csv, HEADER match)
\copy airports FROM 'airports.csv' WITH (FORMAT csv, HEADER match)
\copy planes FROM 'planes.csv' WITH (FORMAT csv, HEADER match)
\copy routes FROM 'routes.csv' WITH (FORMAT csv, HEADER match)
\copy weather FROM 'weather.csv' WITH (FORMAT csv, HEADER match)
\copy flights FROM 'flights.csv' WITH (FORMAT csv, HEADER match)

ALTER TABLE airlines ADD PRIMARY KEY (_id);
ALTER TABLE airports ADD PRIMARY KEY (_id);
ALTER TABLE planes ADD PRIMARY KEY (_id);
ALTER TABLE routes ADD PRIMARY KEY (_id),
  ADD FOREIGN KEY (origin) REFERENCES airports, ADD FOREIGN KEY (dest) REFERENCES airports;
ALTER TABLE weather ADD PRIMARY KEY (_id), ADD FOREIGN KEY (airport) REFERENCES airports;
ALTER TABLE flights ADD PRIMARY KEY (_id),
  ADD FOREIGN KEY (airline) REFERENCES airlines, ADD FOREIGN KEY (plane) REFERENCES planes,
  ADD FOREIGN KEY (route) REFERENCES routes, ADD FOREIGN KEY (origin) REFERENCES airports,
  ADD FOREIGN KEY (dest) REFERENCES airports, ADD FOREIGN KEY (weather) REFERENCES weather;
CREATE INDEX ON routes (origin);
CREATE INDEX ON routes (dest);
CREATE INDEX ON weather (airport);
CREATE INDEX ON flights (airline);
CREATE INDEX ON flights (plane);
CREATE INDEX ON flights (route);
CREATE INDEX ON flights (origin);
CREATE INDEX ON flights (dest);
CREATE INDEX ON flights (weather);
ANALYZE;

CREATE MATERIALIZED VIEW flights_derived AS
SELECT f._id, a.name AS airline_name, p.seats, w.precip,
       CASE WHEN departed IS NULL THEN 'cancelled' WHEN arr_delay IS NULL THEN 'diverted' ELSE 'landed' END AS status
FROM flights AS f
JOIN airlines AS a ON a._id = f.airline
LEFT JOIN planes AS p ON p._id = f.plane
LEFT JOIN weather AS w ON w._id = f.weather;
CREATE UNIQUE INDEX ON flights_derived (_id);

CREATE MATERIALIZED VIEW routes_derived AS
SELECT r._id, count(f._id) AS flight_count, avg(f.arr_delay) AS mean_arr_delay
FROM routes AS r LEFT JOIN flights AS f ON f.route = r._id
GROUP BY r._id;
CREATE UNIQUE INDEX ON routes_derived (_id);

CREATE MATERIALIZED VIEW airlines_derived AS
SELECT a._id, count(f._id) AS flight_count, avg(f.dep_delay) AS mean_dep_delay, max(f.dep_delay) AS worst_dep_delay,
       count(*) FILTER (WHERE f.dep_delay > 15)::float8 / nullif(count(f.dep_delay), 0) AS late_share,
       coalesce(sum(d.seats) FILTER (WHERE d.status <> 'cancelled'), 0) AS seats_carried,
       count(DISTINCT f.plane) AS fleet_size
FROM airlines AS a LEFT JOIN flights AS f ON f.airline = a._id LEFT JOIN flights_derived AS d ON d._id = f._id
GROUP BY a._id;
CREATE UNIQUE INDEX ON airlines_derived (_id);

CREATE MATERIALIZED VIEW airports_derived AS
SELECT a._id, coalesce(o.departures, 0) AS departures, coalesce(d.arrivals, 0) AS arrivals, b.dest AS busiest_destination,
       o.mean_dep_delay, o.mean_dep_delay_in_rain
FROM airports AS a
LEFT JOIN (
  SELECT f.origin, count(*) FILTER (WHERE d.status <> 'cancelled') AS departures, avg(f.dep_delay) AS mean_dep_delay,
         avg(f.dep_delay) FILTER (WHERE d.precip > 0) AS mean_dep_delay_in_rain
  FROM flights AS f JOIN flights_derived AS d USING (_id)
  GROUP BY f.origin
) AS o ON o.origin = a._id
LEFT JOIN (
  SELECT f.dest, count(*) FILTER (WHERE d.status = 'landed') AS arrivals
  FROM flights AS f JOIN flights_derived AS d USING (_id)
  GROUP BY f.dest
) AS d ON d.dest = a._id
LEFT JOIN (
  SELECT DISTINCT ON (r.origin) r.origin, r.dest
  FROM routes AS r JOIN routes_derived AS d USING (_id)
  ORDER BY r.origin, d.flight_count DESC, r._id
) AS b ON b.origin = a._id;
CREATE UNIQUE INDEX ON airports_derived (_id);

CREATE MATERIALIZED VIEW planes_derived AS
SELECT p._id, count(f._id) AS flight_count,
       coalesce(sum(f.distance) FILTER (WHERE f.departed IS NOT NULL), 0) AS total_miles,
       coalesce(sum(f.air_time), 0)::float8 / 60 AS hours_in_air,
       array_agg(DISTINCT f.dest) FILTER (WHERE f.departed IS NOT NULL AND f.dest IS NOT NULL) AS airports_served
FROM planes AS p LEFT JOIN flights AS f ON f.plane = p._id
GROUP BY p._id;
CREATE UNIQUE INDEX ON planes_derived (_id);

CREATE MATERIALIZED VIEW weather_derived AS
SELECT w._id, avg(f.dep_delay) AS mean_dep_delay
FROM weather AS w LEFT JOIN flights AS f ON f.weather = w._id
GROUP BY w._id;
CREATE UNIQUE INDEX ON weather_derived (_id);
