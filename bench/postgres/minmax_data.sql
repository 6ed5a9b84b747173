-- Group i has ten times as many items as the one before it, the first a thousand; item i has the number i and one of ten kinds.
INSERT INTO items (grp, n, kind)
SELECT g, i, 'k' || i % 10
FROM generate_series(1::bigint, :groups) AS g, LATERAL generate_series(1::bigint, (100 * 10 ^ g)::bigint) AS i;
INSERT INTO kinds SELECT grp, kind, count(*) FROM items GROUP BY grp, kind;
INSERT INTO groups
SELECT grp, min(n), max(n), (array_agg(n ORDER BY n DESC))[1:5], array_agg(DISTINCT kind ORDER BY kind)
FROM items GROUP BY grp;
