-- One of the many updates of a transaction. Step k of a transaction takes its customer from the k-th part of all
-- customers, so that every transaction locks customers in the same order and none of them deadlock.
\set customer 1 + :step * (:customers / :steps) + random(0, :customers / :steps - 1)
\set id :customer + :customers * random(0, :orders / :customers - 1)
\set amount random(1, 1000000)
UPDATE orders SET amount = :amount WHERE id = :id;
