-- Keys, and the row triggers that keep the four totals true where a salary, or what is active, changes. Each has the narrowest
-- condition that is right: an update of a salary runs one for each level that it reaches.
ALTER TABLE companies ADD PRIMARY KEY (id);
ALTER TABLE regions ADD PRIMARY KEY (id);
ALTER TABLE divisions ADD PRIMARY KEY (id);
ALTER TABLE sections ADD PRIMARY KEY (id);
ALTER TABLE employees ADD PRIMARY KEY (id);
CREATE INDEX regions_company ON regions (company);
CREATE INDEX divisions_region ON divisions (region);
CREATE INDEX sections_division ON sections (division);
CREATE INDEX employees_section ON employees (section);

CREATE FUNCTION salary_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE sections SET total = total + NEW.salary - OLD.salary WHERE id = NEW.section;
  RETURN NULL;
END $$;
CREATE TRIGGER salary_changed AFTER UPDATE OF salary ON employees
  FOR EACH ROW WHEN (NEW.age >= 18 AND NEW.salary <> OLD.salary) EXECUTE FUNCTION salary_changed();

CREATE FUNCTION section_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE divisions SET total = total
    + CASE WHEN NEW.active THEN NEW.total ELSE 0 END - CASE WHEN OLD.active THEN OLD.total ELSE 0 END
  WHERE id = NEW.division;
  RETURN NULL;
END $$;
CREATE TRIGGER section_changed AFTER UPDATE OF total, active ON sections
  FOR EACH ROW WHEN ((NEW.active OR OLD.active) AND (NEW.total, NEW.active) IS DISTINCT FROM (OLD.total, OLD.active))
  EXECUTE FUNCTION section_changed();

CREATE FUNCTION division_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE regions SET total = total
    + CASE WHEN NEW.active THEN NEW.total ELSE 0 END - CASE WHEN OLD.active THEN OLD.total ELSE 0 END
  WHERE id = NEW.region;
  RETURN NULL;
END $$;
CREATE TRIGGER division_changed AFTER UPDATE OF total, active ON divisions
  FOR EACH ROW WHEN ((NEW.active OR OLD.active) AND (NEW.total, NEW.active) IS DISTINCT FROM (OLD.total, OLD.active))
  EXECUTE FUNCTION division_changed();

CREATE FUNCTION region_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE companies SET total = total
    + CASE WHEN NEW.active THEN NEW.total ELSE 0 END - CASE WHEN OLD.active THEN OLD.total ELSE 0 END
  WHERE id = NEW.company;
  RETURN NULL;
END $$;
CREATE TRIGGER region_changed AFTER UPDATE OF total, active ON regions
  FOR EACH ROW WHEN ((NEW.active OR OLD.active) AND (NEW.total, NEW.active) IS DISTINCT FROM (OLD.total, OLD.active))
  EXECUTE FUNCTION region_changed();
