\set id random(1, :orders)
SELECT o.id, o.amount, o.customer_name, c.id, c.name, c.total, c.n FROM orders AS o JOIN customers AS c ON c.id = o.customer WHERE o.id = :id;
