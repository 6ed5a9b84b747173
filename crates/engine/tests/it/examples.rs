//! The examples that define the language: each is evaluated as the expression of a query, and as a derived field that
//! the engine keeps true while the data comes about, and that the oracle judges.

use crate::common::*;
use corollary_engine::eval::Eval;
use corollary_schema::expr::{Place, check_expr};
use corollary_schema::{Ids, check};
use corollary_syntax::parse_expression;
use corollary_value::{Value, ops};

/// The schema, with derived fields for the examples put into each type.
fn schema(fields: &dyn Fn(&str) -> String) -> String {
    format!(
        "type Division in divisions {{
           name: str, sales: int
           sections: collection Section
           parttimers: links Employee
           older := self.link_employee_division[age > 30]
           {}
         }}
         type Section {{
           name: str, total: int
           members: links Employee
           contractors: collection Contractor
           {}
         }}
         type Contractor {{
           name: str, age: int
           {}
         }}
         type Employee in employees {{
           name: str, age: int, salary: decimal, tax: decimal, hired: date
           level: \"upper\" | \"mid\" | \"lower\"
           boss: link Employee
           division: link Division
           net := self.salary - self.tax
           {}
         }}",
        fields("Division"),
        fields("Section"),
        fields("Contractor"),
        fields("Employee"),
    )
}

/// Whose `self` it is, the expression, its value. Numbers are shown as they are in mathematics: 13, not 13.0.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("E1", "employees.age", "[41, 31, 21]"),
    ("E1", "employees[age>=31 & level='lower'].name", "[bob]"),
    ("E1", "employees[(age<30 | name='ned') & salary>5]", "[E1, E3]"),
    ("E1", "employees[name~'ED']", "[E1, E3]"),
    ("E1", "employees.division", "[D1, D2]"),
    ("E1", "sum(employees.division.sales)", "120"),
    ("E1", "divisions.parttimers", "[E1, E2]"),
    ("E1", "divisions.parttimers.age", "[41, 31]"),
    ("E1", "employees.division[name='sales'].sections[total>100].members.age", "[41]"),
    ("E2", "self.boss.age", "41"),
    ("E1", "self.boss.age", "null"),
    ("E1", "self.division.link_employee_division", "[E1, E2]"),
    ("E1", "self.link_employee_boss", "[E2, E3]"),
    ("S1", "self.parent_division_sections.sections", "[S1, S2]"),
    ("C1", "self.parent_section_contractors.parent_division_sections.name", "sales"),
    ("S1", "sum(employees.age)", "93"),
    ("E2", "self.salary + self.tax", "null"),
    ("E2", "self.salary + (self.tax else 0)", "10"),
    ("E2", "self.salary + (self.tax ?? 0)", "10"),
    ("E1", "self.age / 0", "#div0"),
    ("E1", "self.age / 0 else 7", "7"),
    ("E1", "self.age / 0 ?? 7", "#div0"),
    ("E1", "1 + 2 * 3", "7"),
    ("E1", "10 - 3 - 2", "5"),
    ("E1", "-2 * 3", "-6"),
    ("E1", "(max(employees.age) - min(employees.age)) + max(employees.age)", "61"),
    ("E1", "sum(employees[age>99].age)", "0"),
    ("E1", "max(employees[age>99].age)", "null"),
    ("E1", "average(employees.tax)", "2.7"),
    ("E1", "sum(employees.net)", "35.2"),
    ("S1", "self.total - average(self.parent_division_sections.sections.total)", "15"),
    ("E1", "round(2.5)", "2"),
    ("E1", "round(3.5)", "4"),
    ("E1", "round(self.salary + self.tax, 2)", "13"),
    ("E1", "self.hired - days(2)", "2021-11-29"),
    ("E3", "self.hired - days(2)", "null"),
    ("E1", "(self.salary + 5) > 15 -> 5 : 10", "5"),
    ("E2", "self.boss.name = 'ned' -> self.boss.age : 99", "41"),
    ("E1", "self.boss.name = 'ned' -> self.boss.age : 99", "99"),
    ("E1", "self.level -> ('upper': self.salary * 2, 'lower': self.tax)", "21.2"),
    ("E3", "self.level -> ('upper': self.salary * 2, 'lower': self.tax)", "null"),
    ("D1", "self.name = 'sales' -> self.parttimers[age>35] : self.parttimers", "[E1]"),
    ("D1", "first(self.sections[order by total desc]).name", "primary"),
    ("D1", "group(self.link_employee_division, by: level, count())", "{lower: 1, upper: 1}"),
    ("D1", "self.older", "[E1, E2]"),
    // Functions of texts.
    ("E1", "matches(self.name, '^n.d$')", "true"),
    ("E1", "matches(self.name, '^e')", "false"),
    ("E1", "matches(self.name, self.level)", "false"),
    ("E1", "matches(self.name, concat('[', self.name))", "#type"),
    ("E1", "matches(self.boss.name, 'e')", "null"),
    ("E1", "split('a,b,,c', ',')", "[a, b, , c]"),
    ("E1", "split(self.name, 'e')[-1]", "d"),
    ("E1", "split(self.name, '')", "#type"),
    ("E1", "normalize('  Ned\u{301} ', 'trim', 'lower', 'nfc')", "ned\u{301}"),
    ("E1", "length(normalize('e\u{301}'))", "1"),
    ("E1", "length(normalize('\u{e9}', 'nfd'))", "2"),
    ("E1", "normalize('\u{fb01}n', 'nfkc')", "fin"),
    ("E1", "normalize(self.boss.name, 'trim')", "null"),
    ("E1", "power(2, 10)", "1024"),
    ("E1", "power(0, -1)", "#div0"),
    ("E1", "power(-8, 0.5)", "#type"),
    ("E1", "power(10, 400)", "#overflow"),
    ("E1", "sqrt(-1)", "#type"),
    ("E1", "coalesce(self.boss.name, self.name)", "ned"),
    ("E1", "coalesce(self.age / 0, 1)", "#div0"),
    // Conversions.
    ("E1", "str(self.hired)", "2021-12-01"),
    ("E1", "date('2024-02-29')", "2024-02-29"),
    ("E1", "date('2023-02-29')", "#type"),
    ("E1", "date(datetime('2024-02-29T23:30:00-01:00'))", "2024-03-01"),
    ("E1", "datetime(self.hired)", "2021-12-01T00:00:00Z"),
    ("E1", "duration('P1DT1H') = hours(25)", "true"),
    ("E1", "duration('soon')", "#type"),
    ("E1", "uuid('0190A6E0-0000-7000-8000-00000000000A')", "0190a6e0-0000-7000-8000-00000000000a"),
    ("E1", "uuid('no')", "#type"),
    ("E1", "int('12') + int(3.0) + int(true)", "16"),
    ("E1", "int(2.5)", "#type"),
    ("E1", "decimal(0.1) + decimal('0.2')", "0.3"),
    ("E1", "bool('yes')", "#type"),
];

/// Expressions that the checker refuses when the schema is applied, and the code.
const REFUSED: &[(&str, &str)] = &[
    ("self.name + 5", "operand-type"),
    ("matches(self.name, '[')", "pattern"),
    ("normalize(self.name, 'shout')", "normalizer"),
    ("normalize(self.name, self.level)", "normalizer"),
    ("uuid(self.age)", "argument-type"),
    ("int(self.hired)", "argument-type"),
    ("str(self.boss)", "argument-type"),
    ("split(self.name)", "arguments"),
];

fn type_of(id: &str) -> &'static str {
    match &id[..1] {
        "D" => "Division",
        "S" => "Section",
        "C" => "Contractor",
        _ => "Employee",
    }
}

fn decimal(text: &str) -> Value {
    corollary_value::parse_as(corollary_value::BasicKind::Decimal, text).unwrap()
}

/// Writes the data link by link, so that derived values come about by many small changes.
fn fill(db: &Db) {
    let date = corollary_value::parse_as(corollary_value::BasicKind::Date, "2021-12-01").unwrap();
    let of = |parent: &str| reference(parent);
    for (id, name, age, salary, level) in [
        ("E1", "ned", 41, "10.6", "upper"),
        ("E2", "bob", 31, "10", "lower"),
        ("E3", "fred", 21, "30", "mid"),
    ] {
        let given = [
            ("name", text(name)),
            ("age", Value::Int(age)),
            ("salary", decimal(salary)),
            ("level", text(level)),
        ];
        commit(db, vec![create(db, "Employee", id, &given)]);
    }
    for (id, name, sales) in [("D1", "sales", 100), ("D2", "mkt", 20)] {
        commit(db, vec![create(db, "Division", id, &[("name", text(name)), ("sales", Value::Int(sales))])]);
    }
    for (id, name, total, parent) in
        [("S1", "primary", 120, "D1"), ("S2", "secondary", 90, "D1"), ("S3", "gamma", 30, "D2")]
    {
        let parent = ("parent_division_sections", of(parent));
        let given = [("name", text(name)), ("total", Value::Int(total)), parent];
        commit(db, vec![create(db, "Section", id, &given)]);
    }
    let parent = ("parent_section_contractors", of("S1"));
    let given = [("name", text("angus")), ("age", Value::Int(50)), parent];
    commit(db, vec![create(db, "Contractor", "C1", &given)]);
    commit(db, vec![update(db, "Section", "S1", &[("members", references(&["E1"]))])]);
    commit(db, vec![update(db, "Division", "D1", &[("parttimers", references(&["E1", "E2"]))])]);
    commit(db, vec![update(db, "Division", "D2", &[("parttimers", references(&["E2"]))])]);
    commit(db, vec![update(db, "Employee", "E1", &[("tax", decimal("2.4")), ("hired", date)])]);
    commit(db, vec![update(db, "Employee", "E3", &[("tax", decimal("3")), ("boss", of("E1"))])]);
    commit(db, vec![update(db, "Employee", "E2", &[("boss", of("E1")), ("division", of("D2"))])]);
    for (id, division) in [("E1", "D1"), ("E2", "D1"), ("E3", "D2")] {
        commit(db, vec![update(db, "Employee", id, &[("division", of(division))])]);
    }
}

/// A value as the table shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Float(_) | Value::Decimal(_) | Value::Int(_) => {
            format!("{}", ops::to_float(value).expect("a number"))
        }
        Value::List(elements) => {
            format!("[{}]", elements.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| format!("{key}: {}", shown(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

/// The findings about an expression as a derived field.
fn refused_in_derived(ty: &str, expression: &str) -> Vec<&'static str> {
    let with = schema(&|of| if of == ty { format!("x := {expression}") } else { String::new() });
    check(&with, &mut Ids::default()).diagnostics.iter().map(|found| found.code).collect()
}

/// The value of an expression in a query, or the codes of what is wrong with it.
fn in_query(db: &Db, self_id: &str, expression: &str) -> Result<String, Vec<&'static str>> {
    let engine = db.engine();
    let schema = engine.schema();
    let ty = schema.type_named(type_of(self_id)).unwrap();
    let parsed = parse_expression(expression);
    assert_eq!(parsed.diagnostics, [], "{expression}");
    let (typed, found) = check_expr(&**schema, Place::Query(ty), &parsed.tree);
    if !found.is_empty() {
        return Err(found.iter().map(|found| found.code).collect());
    }
    let owner = id(self_id);
    Ok(shown(&engine.read(NOW, |working| Eval::new(working, &owner).value(&typed)).unwrap()))
}

#[test]
fn the_examples_hold_in_queries() {
    let db = fresh(&schema(&|_| String::new()));
    fill(&db);
    let mut wrong = Vec::new();
    for (self_id, expression, wanted) in EXAMPLES {
        match in_query(&db, self_id, expression) {
            Ok(value) if value == *wanted => {}
            other => wrong.push(format!("{self_id}: {expression} is {other:?}, wanted {wanted}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_examples_hold_in_derived_fields() {
    let kept: Vec<(usize, &(&str, &str, &str))> = EXAMPLES.iter().enumerate().collect();
    for (_, (self_id, expression, _)) in &kept {
        assert_eq!(refused_in_derived(type_of(self_id), expression), [""; 0], "{expression}");
    }
    let with = schema(&|ty| {
        let fields = kept.iter().filter(|(_, (self_id, ..))| type_of(self_id) == ty);
        fields.map(|(at, (_, expression, _))| format!("x{at} := {expression}\n")).collect()
    });
    let db = fresh(&with);
    fill(&db);
    agree(&db);
    let mut wrong = Vec::new();
    for (at, (self_id, expression, wanted)) in &kept {
        let value = shown(&get(&db, type_of(self_id), self_id, &format!("x{at}")));
        if value != *wanted {
            wrong.push(format!("{self_id}: {expression} is {value}, wanted {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn mistakes_are_refused_when_the_schema_is_applied() {
    for (expression, code) in REFUSED {
        assert_eq!(refused_in_derived("Employee", expression), [*code], "{expression}");
    }
}
