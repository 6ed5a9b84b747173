-- The tables of `examples/flights/flights.cor`: one column for each stored field, named as in the CSV files. Keys and
-- indexes come after the data, which is the fast way round.
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;

CREATE TABLE airlines (_id text NOT NULL, name text NOT NULL);

CREATE TABLE airports (
  _id text NOT NULL, name text NOT NULL, lat float8 NOT NULL, lon float8 NOT NULL, alt bigint, tz bigint,
  dst text CHECK (dst IN ('A', 'U', 'N')), tzone text
);

CREATE TABLE planes (
  _id text NOT NULL, year bigint, kind text, manufacturer text, model text, engines bigint CHECK (engines >= 1),
  seats bigint CHECK (seats >= 0), speed bigint, engine text
);

CREATE TABLE routes (_id text NOT NULL, origin text NOT NULL, dest text, dest_code text NOT NULL);

CREATE TABLE weather (
  _id text NOT NULL, airport text NOT NULL, hour timestamptz NOT NULL, temp float8, dewp float8, humid float8,
  wind_dir bigint, wind_speed float8, wind_gust float8, precip float8 CHECK (precip >= 0), pressure float8, visib float8
);

CREATE TABLE flights (
  _id text NOT NULL, airline text NOT NULL, number bigint NOT NULL, tailnum text, plane text, route text NOT NULL,
  origin text NOT NULL, dest text, weather text, distance bigint NOT NULL, scheduled timestamptz NOT NULL,
  departed timestamptz, dep_delay bigint, arr_delay bigint, air_time bigint CHECK (air_time >= 0)
);
