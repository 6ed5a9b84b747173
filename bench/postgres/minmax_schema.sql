-- The tables of `bench/minmax.cor`, and how many items of each kind a group has, from which its kinds follow at once.
CREATE TABLE groups (id bigint NOT NULL, least bigint, most bigint, five bigint[], kinds text[]) WITH (fillfactor = 50);
CREATE SEQUENCE item_ids;
CREATE TABLE items (id bigint NOT NULL DEFAULT nextval('item_ids'), grp bigint NOT NULL, n bigint NOT NULL, kind text NOT NULL);
CREATE TABLE kinds (grp bigint NOT NULL, kind text NOT NULL, items bigint NOT NULL) WITH (fillfactor = 50);
