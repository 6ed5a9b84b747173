-- Order i has the amount 37 i mod 1000 and belongs to customer 1 + (i - 1) mod :customers. With :hub above 0, one more
-- customer has that many orders of its own. The derived columns are filled as the triggers would have.
INSERT INTO orders (id, amount, customer, customer_name)
SELECT i, i * 37 % 1000, c, 'Customer ' || c
FROM generate_series(1::bigint, :orders) AS i, LATERAL (SELECT 1 + (i - 1) % :customers AS c) AS owner;

INSERT INTO orders (id, amount, customer, customer_name)
SELECT i, i * 37 % 1000, :customers + 1, 'Customer ' || :customers + 1
FROM generate_series(:orders + 1::bigint, :orders + :hub) AS i;

INSERT INTO customers (id, name, total, n)
SELECT c, 'Customer ' || c, coalesce(sum(amount), 0), count(o.id)
FROM generate_series(1::bigint, :customers + (:hub > 0)::int) AS c LEFT JOIN orders AS o ON o.customer = c
GROUP BY c;
