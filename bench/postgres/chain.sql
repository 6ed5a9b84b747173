\set id random(1, :employees)
\set salary random(1, 1000000)
UPDATE employees SET salary = :salary WHERE id = :id;
