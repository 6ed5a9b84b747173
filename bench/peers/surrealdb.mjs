// SurrealDB within this process, over RocksDB, with its grouped view. Each commit is synced before it is confirmed
// (`sync=every`).

import { createNodeEngines } from "@surrealdb/node";
import { Surreal } from "surrealdb";

const SCHEMA = `
  DEFINE TABLE customers SCHEMAFULL;
  DEFINE FIELD name ON customers TYPE string;
  DEFINE TABLE orders SCHEMAFULL;
  DEFINE FIELD amount ON orders TYPE int;
  DEFINE FIELD customer ON orders TYPE record<customers>;
  DEFINE TABLE totals AS
    SELECT customer, math::sum(amount) AS total, count() AS n FROM orders GROUP BY customer;
`;

const UPDATE = "UPDATE type::record('orders', $order) SET amount = $amount RETURN NONE";

export async function open(folder) {
  const surreal = new Surreal({ engines: createNodeEngines() });
  await surreal.connect(`rocksdb://${folder}?sync=every`);
  await surreal.use({ namespace: "bench", database: "bench" });
  await surreal.query(SCHEMA);
  return {
    about: async () => (await surreal.version()).version.replace("-", " "),

    async fill(from, to, customers) {
      if (from === 1) {
        const text = `FOR $c IN 1..=$customers {
          CREATE type::record('customers', $c) SET name = 'Customer ' + <string>$c RETURN NONE
        }`;
        await surreal.query(text, { customers });
      }
      const text = `FOR $o IN $from..=$to {
        CREATE type::record('orders', $o)
          SET amount = $o * 37 % 1000, customer = type::record('customers', 1 + ($o - 1) % $customers) RETURN NONE
      }`;
      await surreal.query(text, { from, to, customers });
    },

    settle: async () => {},

    async set(order, amount) {
      for (let retries = 0; ; retries++) {
        try {
          await surreal.query(UPDATE, { order, amount });
          return retries;
        } catch (error) {
          // Two writes of one customer's orders at once: whoever comes second is told to do it again.
          if (!String(error).includes("can be retried")) throw error;
        }
      }
    },

    async wrong() {
      const facts = "SELECT customer, math::sum(amount) AS total, count() AS n FROM orders GROUP BY customer";
      const [view, truth, [customers]] = await surreal.query(
        `SELECT customer, total, n FROM totals; ${facts}; SELECT count() AS n FROM customers GROUP ALL`,
      );
      const kept = new Map(view.map((row) => [String(row.customer), row]));
      const right = truth.filter((row) => {
        const own = kept.get(String(row.customer));
        return own !== undefined && own.total === row.total && own.n === row.n;
      });
      // A row of the view that no fact stands for is wrong too.
      const wrong = Math.max(truth.length, view.length, customers.n) - right.length;
      return { customers: customers.n, wrong };
    },

    close: () => surreal.close(),
  };
}
