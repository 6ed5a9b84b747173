-- How many sections, divisions, regions and companies do not have what their facts say.
SELECT (SELECT count(*) FROM sections AS u
        LEFT JOIN (SELECT section, sum(salary) AS total FROM employees WHERE age >= 18 GROUP BY section) AS m ON m.section = u.id
        WHERE u.total <> coalesce(m.total, 0))
     + (SELECT count(*) FROM divisions AS u
        LEFT JOIN (SELECT division, sum(total) AS total FROM sections WHERE active GROUP BY division) AS m ON m.division = u.id
        WHERE u.total <> coalesce(m.total, 0))
     + (SELECT count(*) FROM regions AS u
        LEFT JOIN (SELECT region, sum(total) AS total FROM divisions WHERE active GROUP BY region) AS m ON m.region = u.id
        WHERE u.total <> coalesce(m.total, 0))
     + (SELECT count(*) FROM companies AS u
        LEFT JOIN (SELECT company, sum(total) AS total FROM regions WHERE active GROUP BY company) AS m ON m.company = u.id
        WHERE u.total <> coalesce(m.total, 0));
