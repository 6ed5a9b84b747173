/// The shop of `bench/point.cor` as collections of PocketBase: each customer keeps the total and the number of its orders,
/// which `hooks/totals.pb.js` keeps true. Anybody may set an order's amount, so that no login is measured.

migrate((app) => {
  const id = { name: "id", type: "text", primaryKey: true, required: true, min: 1, max: 15, pattern: "^[a-z0-9]+$" };
  const number = (name) => ({ name, type: "number", onlyInt: true });
  const customers = new Collection({
    type: "base",
    name: "customers",
    fields: [id, { name: "name", type: "text", required: true }, number("total"), number("n")],
  });
  app.save(customers);
  const orders = new Collection({
    type: "base",
    name: "orders",
    updateRule: "",
    fields: [
      id,
      number("amount"),
      { name: "customer", type: "relation", collectionId: customers.id, maxSelect: 1, required: true },
    ],
    indexes: ["CREATE INDEX orders_customer ON orders (customer)"],
  });
  app.save(orders);
  // Nothing is written for each request but what the request asks for.
  const settings = app.settings();
  settings.logs.maxDays = 0;
  app.save(settings);
});
