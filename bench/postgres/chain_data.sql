-- Employee i is in section 1 + (i - 1) mod :sections, is 16 + i mod 50 years old and earns 37 i mod 1000; section i is in
-- division 1 + (i - 1) mod :divisions, and so on. Of ten, one is not active. The derived columns are filled as the triggers
-- would have.
INSERT INTO employees SELECT i, 1 + (i - 1) % :sections, 16 + i % 50, i * 37 % 1000
FROM generate_series(1::bigint, :employees) AS i;
INSERT INTO sections SELECT i, 1 + (i - 1) % :divisions, i % 10 <> 0, coalesce(e.total, 0)
FROM generate_series(1::bigint, :sections) AS i
LEFT JOIN (SELECT section, sum(salary) AS total FROM employees WHERE age >= 18 GROUP BY section) AS e ON e.section = i;
INSERT INTO divisions SELECT i, 1 + (i - 1) % :regions, i % 10 <> 0, coalesce(s.total, 0)
FROM generate_series(1::bigint, :divisions) AS i
LEFT JOIN (SELECT division, sum(total) AS total FROM sections WHERE active GROUP BY division) AS s ON s.division = i;
INSERT INTO regions SELECT i, 1 + (i - 1) % :companies, i % 10 <> 0, coalesce(d.total, 0)
FROM generate_series(1::bigint, :regions) AS i
LEFT JOIN (SELECT region, sum(total) AS total FROM divisions WHERE active GROUP BY region) AS d ON d.region = i;
INSERT INTO companies SELECT i, coalesce(r.total, 0)
FROM generate_series(1::bigint, :companies) AS i
LEFT JOIN (SELECT company, sum(total) AS total FROM regions WHERE active GROUP BY company) AS r ON r.company = i;
