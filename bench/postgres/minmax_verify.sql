-- How many groups do not have what their items say.
SELECT count(*) FROM groups AS g
JOIN (SELECT grp, min(n) AS least, max(n) AS most, (array_agg(n ORDER BY n DESC))[1:5] AS five,
             array_agg(DISTINCT kind ORDER BY kind) AS kinds
      FROM items GROUP BY grp) AS i ON i.grp = g.id
WHERE (g.least, g.most, g.five, g.kinds) IS DISTINCT FROM (i.least, i.most, i.five, i.kinds);
