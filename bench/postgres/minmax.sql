\set n (2 * random(0, 1) - 1) * random(2000000, 3000000)
INSERT INTO items (grp, n, kind) VALUES (GROUP_ID, :n, 'z' || :client_id) RETURNING id \gset
DELETE FROM items WHERE id = :id;
