-- How many customers and orders do not have what their facts say.
SELECT (SELECT count(*)
        FROM customers AS c
        LEFT JOIN (SELECT customer, sum(amount) AS total, count(*) AS n FROM orders GROUP BY customer) AS o
          ON o.customer = c.id
        WHERE c.total <> coalesce(o.total, 0) OR c.n <> coalesce(o.n, 0))
     + (SELECT count(*)
        FROM orders AS o JOIN customers AS c ON c.id = o.customer
        WHERE o.customer_name IS DISTINCT FROM c.name);
