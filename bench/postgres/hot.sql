\set id 1 + :customers * random(0, :orders / :customers - 1)
\set amount random(1, 1000000)
UPDATE orders SET amount = :amount WHERE id = :id;
