-- The tables of `bench/point.cor`. Pages keep room for new versions of a row, so that an update stays on its page.
CREATE TABLE customers (
  id    bigint NOT NULL,
  name  text   NOT NULL,
  total bigint NOT NULL DEFAULT 0,
  n     bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE orders (
  id            bigint NOT NULL,
  amount        bigint,
  customer      bigint,
  customer_name text
) WITH (fillfactor = 90);
