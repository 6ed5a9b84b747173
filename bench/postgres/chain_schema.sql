-- The tables of `bench/chain.cor`. Pages keep room for new versions of a row, so that an update stays on its page.
CREATE TABLE companies (id bigint NOT NULL, total bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
CREATE TABLE regions (id bigint NOT NULL, company bigint NOT NULL, active boolean NOT NULL, total bigint NOT NULL DEFAULT 0)
  WITH (fillfactor = 50);
CREATE TABLE divisions (id bigint NOT NULL, region bigint NOT NULL, active boolean NOT NULL, total bigint NOT NULL DEFAULT 0)
  WITH (fillfactor = 50);
CREATE TABLE sections (id bigint NOT NULL, division bigint NOT NULL, active boolean NOT NULL, total bigint NOT NULL DEFAULT 0)
  WITH (fillfactor = 50);
CREATE TABLE employees (id bigint NOT NULL, section bigint NOT NULL, age bigint NOT NULL, salary bigint NOT NULL)
  WITH (fillfactor = 90);
