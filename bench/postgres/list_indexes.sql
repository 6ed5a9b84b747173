-- The indexes of `bench/list.cor`: ties follow the id, as they do there.
CREATE INDEX orders_of_customer ON orders (customer, amount DESC, id DESC);
CREATE INDEX orders_by_amount ON orders (amount, id);
VACUUM ANALYZE;
CHECKPOINT;
