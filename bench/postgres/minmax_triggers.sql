-- Keys, the index that finds extremes, and the triggers that keep the columns of a group true. The row of the group is locked before
-- the items are looked at, so that what others have inserted meanwhile is seen.
ALTER TABLE groups ADD PRIMARY KEY (id);
ALTER TABLE items ADD PRIMARY KEY (id);
ALTER TABLE kinds ADD PRIMARY KEY (grp, kind);
CREATE INDEX items_group_n ON items (grp, n);

CREATE FUNCTION settle(g bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE groups SET
    least = (SELECT n FROM items WHERE grp = g ORDER BY n LIMIT 1),
    most = (SELECT n FROM items WHERE grp = g ORDER BY n DESC LIMIT 1),
    five = ARRAY(SELECT n FROM items WHERE grp = g ORDER BY n DESC LIMIT 5),
    kinds = ARRAY(SELECT kind FROM kinds WHERE grp = g ORDER BY kind)
  WHERE id = g;
END $$;

CREATE FUNCTION item_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM groups WHERE id = NEW.grp FOR UPDATE;
  INSERT INTO kinds VALUES (NEW.grp, NEW.kind, 1) ON CONFLICT (grp, kind) DO UPDATE SET items = kinds.items + 1;
  PERFORM settle(NEW.grp);
  RETURN NULL;
END $$;
CREATE TRIGGER item_inserted AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION item_inserted();

CREATE FUNCTION item_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM groups WHERE id = OLD.grp FOR UPDATE;
  UPDATE kinds SET items = items - 1 WHERE grp = OLD.grp AND kind = OLD.kind;
  DELETE FROM kinds WHERE grp = OLD.grp AND kind = OLD.kind AND items = 0;
  PERFORM settle(OLD.grp);
  RETURN NULL;
END $$;
CREATE TRIGGER item_deleted AFTER DELETE ON items FOR EACH ROW EXECUTE FUNCTION item_deleted();
