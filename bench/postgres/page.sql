\set customer random(1, :customers)
SELECT id, amount, customer, customer_name FROM orders WHERE customer = :customer ORDER BY amount DESC, id DESC LIMIT 100;
