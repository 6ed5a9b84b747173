//! Aggregates through REST: maps, lists and numbers that follow, and what is the same for all.

use crate::common::client::encoded;
use crate::common::*;

const FIRM: &str = r#"
type Division in divisions {
  name:   str required
  staff:  inverse Employee.division
  levels  := group(self.staff, by: level, count())
  pay     := group(self.staff, by: boss, sum(salary))
  ages    := group(self.staff, by: age, join(name, '+'))
  best    := top(2, self.staff.salary)
  middle  := median(self.staff.age)
  most    := percentile(self.staff.age, 75)
  names   := join(self.staff[order by name desc].name, ', ')
  kinds   := distinct(self.staff.level)
  ratios  := group(self.staff, by: level, max(ratio))
  lead    := self.middle - median(employees.age)
}
type Employee in employees {
  name:     str required
  age:      int
  salary:   decimal
  level:    "upper" | "mid" | "lower"
  boss:     link Employee
  division: link Division
  ratio     := 100 / self.age
  share     := self.salary / max(employees.salary)
}
"#;

#[test]
fn maps_lists_and_ranks_follow_every_write() {
    let place = Place::new(FIRM);
    let server = place.serve();
    let mut client = server.client();
    client
        .post("/api/divisions", &json!([{"_id": "D1", "name": "one"}, {"_id": "D2", "name": "two"}]))
        .expect(201);
    let empty = client.read("/api/divisions/D2");
    assert_eq!((&empty["levels"], &empty["best"], &empty["names"]), (&json!({}), &json!([]), &json!("")));
    let staff = json!([
        {"_id": "ann", "name": "ann", "age": 41, "salary": "10.6", "level": "upper", "division": "D1"},
        {"_id": "bob", "name": "bob", "age": 9, "salary": "10", "level": "lower", "division": "D1", "boss": "ann"},
        {"_id": "eve", "name": "eve", "age": 41, "salary": "30", "level": "lower", "division": "D1", "boss": "ann"}
    ]);
    client.post("/api/employees", &staff).expect(201);
    let one = client.read("/api/divisions/D1");
    assert_eq!(one["levels"], json!({"lower": 2, "upper": 1}));
    assert_eq!(one["pay"], json!({"ann": "40"}));
    let written = client.get("/api/divisions/D1").text();
    assert!(
        written.contains(r#""ages":{"9":"bob","41":"ann+eve"}"#),
        "keys stand in the order of values: {written}"
    );
    assert_eq!(one["best"], json!(["30", "10.6"]));
    assert_eq!((&one["middle"], &one["most"]), (&json!(41.0), &json!(41.0)));
    assert_eq!(one["names"], "eve, bob, ann");
    assert_eq!(one["kinds"], json!(["lower", "upper"]));
    assert_eq!(one["lead"], 0.0);
    assert_eq!(client.read("/api/employees/eve")["share"], "1");
    assert_eq!(client.list(&format!("/api/divisions?filter={}", encoded("levels.lower > 1"))).len(), 1);

    client.patch("/api/employees/eve", &json!({"age": 0, "salary": "5.3"})).expect(200);
    let one = client.read("/api/divisions/D1");
    assert_eq!(one["ratios"], json!({"lower": {"_error": "#div0"}, "upper": 100.0 / 41.0}));
    assert_eq!((&one["best"], &one["middle"]), (&json!(["10.6", "10"]), &json!(9.0)));
    // The greatest salary is another one now, for all.
    assert_eq!(client.read("/api/employees/ann")["share"], "1");
    assert_eq!(client.read("/api/employees/eve")["share"], "0.5");
    client.delete("/api/employees/ann").expect(204);
    let one = client.read("/api/divisions/D1");
    assert_eq!((&one["levels"], &one["pay"]), (&json!({"lower": 2}), &json!({})));

    let document = client.read("/api/_openapi.json");
    let levels = &document["components"]["schemas"]["Division"]["properties"]["levels"]["anyOf"][0];
    assert_eq!(levels["additionalProperties"]["anyOf"][0]["type"], "integer");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert!(schemas.keys().all(|name| !name.contains('#')), "{:?}", schemas.keys());
    drop(client);
    server.stop();
    place.check();
}
