// PostgreSQL within this process (PGlite, compiled to WebAssembly) over a folder, with an incrementally maintained view of
// pg_ivm. `fsync` is on, as PostgreSQL has it by default, which PGlite turns off (`-F`); its files in a folder have no sync
// beneath it all the same, so what is committed survives the end of the process and not a loss of power.

import { PGlite } from "@electric-sql/pglite";
import { pg_ivm } from "@electric-sql/pglite-pg_ivm";

const TABLES = `
  CREATE EXTENSION pg_ivm;
  CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL);
  CREATE TABLE orders (id bigint PRIMARY KEY, amount bigint NOT NULL, customer bigint NOT NULL REFERENCES customers)
    WITH (fillfactor = 80);
`;

const TOTALS = "SELECT customer, sum(amount) AS total, count(*) AS n FROM orders GROUP BY customer";

// The view gets a unique index over what it is grouped by, as pg_ivm recommends, by itself.
const VIEW = `
  CREATE INDEX orders_customer ON orders (customer);
  SELECT pgivm.create_immv('totals', '${TOTALS}');
  VACUUM ANALYZE;
`;

export async function open(folder) {
  const startParams = PGlite.defaultStartParams.filter((parameter) => parameter !== "-F");
  const postgres = await PGlite.create({ dataDir: folder, extensions: { pg_ivm }, startParams });
  await postgres.exec(TABLES);
  return {
    async about() {
      const text = "SELECT version(), (SELECT extversion FROM pg_extension WHERE extname = 'pg_ivm') AS pg_ivm";
      const [{ version, pg_ivm }] = (await postgres.query(text)).rows;
      return `${version.split(" on ")[0]}, pg_ivm ${pg_ivm}`;
    },

    async fill(from, to, customers) {
      if (from === 1) {
        const text = "INSERT INTO customers SELECT c, 'Customer ' || c FROM generate_series(1, $1::bigint) AS c";
        await postgres.query(text, [customers]);
      }
      const text = `INSERT INTO orders
        SELECT o, o * 37 % 1000, 1 + (o - 1) % $3::bigint FROM generate_series($1::bigint, $2::bigint) AS o`;
      await postgres.query(text, [from, to, customers]);
    },

    async settle() {
      for (const statement of VIEW.split(";").filter((text) => text.trim() !== "")) await postgres.exec(statement);
    },

    async set(order, amount) {
      await postgres.query("UPDATE orders SET amount = $2 WHERE id = $1", [order, amount]);
      return 0;
    },

    async wrong() {
      const text = `SELECT count(DISTINCT c.id) AS customers,
          count(*) FILTER (WHERE (facts.total, facts.n) IS DISTINCT FROM (totals.total::numeric, totals.n)) AS wrong
        FROM customers c FULL JOIN (${TOTALS}) facts ON facts.customer = c.id FULL JOIN totals ON totals.customer = c.id`;
      const [{ customers, wrong }] = (await postgres.query(text)).rows;
      return { customers: Number(customers), wrong: Number(wrong) };
    },

    close: () => postgres.close(),
  };
}
