\set least random(0, 989)
SELECT id, amount, customer, customer_name FROM orders WHERE amount >= :least AND amount < :least + 10 ORDER BY amount, id LIMIT 100;
