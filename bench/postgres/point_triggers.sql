-- Keys, indexes, and the row triggers that keep customers.total, customers.n and orders.customer_name true. Each
-- trigger has the narrowest condition that is right, so that an update of an amount runs one trigger with one update.
ALTER TABLE customers ADD PRIMARY KEY (id);
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE INDEX orders_customer ON orders (customer);
ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers (id);

CREATE FUNCTION order_copies_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.customer_name := (SELECT name FROM customers WHERE id = NEW.customer);
  RETURN NEW;
END $$;
CREATE TRIGGER order_copies_name BEFORE INSERT OR UPDATE OF customer ON orders
  FOR EACH ROW EXECUTE FUNCTION order_copies_name();

CREATE FUNCTION order_amount_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE customers SET total = total + coalesce(NEW.amount, 0) - coalesce(OLD.amount, 0) WHERE id = NEW.customer;
  RETURN NULL;
END $$;
CREATE TRIGGER order_amount_changed AFTER UPDATE OF amount ON orders
  FOR EACH ROW WHEN (NEW.customer = OLD.customer AND NEW.amount IS DISTINCT FROM OLD.amount)
  EXECUTE FUNCTION order_amount_changed();

CREATE FUNCTION order_joins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE customers SET total = total + coalesce(NEW.amount, 0), n = n + 1 WHERE id = NEW.customer;
  RETURN NULL;
END $$;
CREATE FUNCTION order_leaves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE customers SET total = total - coalesce(OLD.amount, 0), n = n - 1 WHERE id = OLD.customer;
  RETURN NULL;
END $$;
CREATE TRIGGER order_inserted AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION order_joins();
CREATE TRIGGER order_deleted AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION order_leaves();
CREATE TRIGGER order_moved_away AFTER UPDATE OF customer ON orders
  FOR EACH ROW WHEN (NEW.customer IS DISTINCT FROM OLD.customer) EXECUTE FUNCTION order_leaves();
CREATE TRIGGER order_moved_here AFTER UPDATE OF customer ON orders
  FOR EACH ROW WHEN (NEW.customer IS DISTINCT FROM OLD.customer) EXECUTE FUNCTION order_joins();

CREATE FUNCTION customer_renamed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE orders SET customer_name = NEW.name WHERE customer = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER customer_renamed AFTER UPDATE OF name ON customers
  FOR EACH ROW WHEN (NEW.name IS DISTINCT FROM OLD.name) EXECUTE FUNCTION customer_renamed();
