\set id random(1, :orders)
\set amount random(1, 1000000)
UPDATE orders SET amount = :amount WHERE id = :id;
