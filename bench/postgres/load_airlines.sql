-- What both sides must agree on, a line for each airline.
SELECT json_build_object('_id', _id, 'flight_count', flight_count, 'worst_dep_delay', worst_dep_delay,
                         'seats_carried', seats_carried, 'fleet_size', fleet_size)
FROM airlines_derived ORDER BY _id;
