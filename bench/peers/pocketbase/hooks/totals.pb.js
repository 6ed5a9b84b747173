/// What keeps each customer's total and number of orders true, as PocketBase does such things: a hook within the transaction
/// of the write. And what the benchmark asks of it beside the writes: to fill the shop, to sync
/// each commit, and to count wrong totals.

onRecordUpdate((e) => {
  const outside = e.app;
  outside.runInTransaction((app) => {
    e.app = app;
    // What the record was before is read anew: another write may have been done since it was read for this one.
    const before = new DynamicModel({ amount: 0 });
    const id = e.record.id;
    app.db().newQuery("SELECT amount FROM orders WHERE id = {:id}").bind({ id }).one(before);
    e.next();
    app
      .db()
      .newQuery("UPDATE customers SET total = total + {:more} WHERE id = {:customer}")
      .bind({ more: e.record.getInt("amount") - before.amount, customer: e.record.getString("customer") })
      .execute();
  });
  e.app = outside;
}, "orders");

routerAdd("POST", "/bench/fill", (e) => {
  const { orders, customers } = e.requestInfo().body;
  e.app.runInTransaction((app) => {
    const run = (sql) => app.db().newQuery(sql).bind({ orders, customers }).execute();
    run(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {:customers})
      INSERT INTO customers (id, name) SELECT 'c' || i, 'Customer ' || i FROM c`);
    run(`WITH RECURSIVE o(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM o WHERE i < {:orders})
      INSERT INTO orders (id, amount, customer)
      SELECT 'o' || i, i * 37 % 1000, 'c' || (1 + (i - 1) % {:customers}) FROM o`);
    run(`UPDATE customers SET total = s.total, n = s.n
      FROM (SELECT customer, sum(amount) AS total, count(*) AS n FROM orders GROUP BY customer) s
      WHERE s.customer = customers.id`);
  });
  return e.json(200, {});
});

routerAdd("GET", "/bench/wrong", (e) => {
  const found = new DynamicModel({ customers: 0, wrong: 0 });
  e.app
    .db()
    .newQuery(`SELECT count(*) AS customers, count(*) FILTER (WHERE (c.total, c.n) IS NOT (s.total, s.n)) AS wrong
      FROM customers c LEFT JOIN
        (SELECT customer, sum(amount) AS total, count(*) AS n FROM orders GROUP BY customer) s ON s.customer = c.id`)
    .one(found);
  return e.json(200, { customers: found.customers, wrong: found.wrong });
});

// From now on a commit is synced before it is answered; without this PocketBase syncs at checkpoints alone. All writes go
// through the one connection that is set here, until it has had no work for three minutes: so this is asked before each load.
routerAdd("POST", "/bench/synchronous", (e) => {
  e.app.nonconcurrentDB().newQuery("PRAGMA synchronous = FULL").execute();
  return e.json(200, {});
});

routerAdd("GET", "/bench/synchronous", (e) => {
  const found = new DynamicModel({ synchronous: 0 });
  e.app.nonconcurrentDB().newQuery("PRAGMA synchronous").one(found);
  return e.json(200, { synchronous: found.synchronous });
});
