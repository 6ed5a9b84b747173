//! The company that the tests of resources and lists work on.

use super::*;

pub const COMPANY: &str = r#"
type Division in divisions {
  name:     str required
  code:     str unique
  sales:    int default 0
  sections: collection Section
  managers: links Employee
  staff:    inverse Employee.division
  heads     := count(self.staff)
  age_total := sum(self.staff.age)
  mean_age  := average(self.staff.age)
  older     := self.staff[age > 30]
  sold      := sum(self.sections.total)
  teams     := count(self.sections.members)
}

type Section {
  name:    str required
  total:   int default 0
  members: collection Member
  share    := self.total / self.parent_division_sections.sold
}

type Member {
  name: str required
}

type Employee in employees {
  name:     str required, min_length 2, max_length 20
  email:    str unique, normalize (trim, lower)
  age:      int, min 0, max 150
  level:    "upper" | "mid" | "lower" default "mid"
  plate:    str pattern "^[A-Z]+-[0-9]+$"
  nick:     str nullable
  born:     date immutable
  token:    str, write once
  created:  datetime default now()
  hired:    datetime
  shift:    duration
  price:    decimal
  score:    float
  photo:    bytes
  any:      json
  extra:    map<int>
  tags:     set<str>
  notes:    [str], max_length 3
  address:  { street: str, city: str required, min_length 2 }
  division: link Division on delete unlink
  boss:     link Employee
  desk:     link Desk on delete restrict
  ratio     := 100 / self.age
  boss_name := self.boss.name
}

type Desk in desks {
  place: str
  user:  inverse Employee.desk
}

type Badge in badges {
  owner: link Employee required on delete cascade
  room:  str index
}
"#;

/// A server with a division and three of its staff, under ids of their own.
pub struct Company {
    pub server: Server,
    pub client: Client,
    pub place: Place,
}

impl Company {
    pub fn new() -> Company {
        let place = Place::new(COMPANY);
        let server = place.serve();
        let client = server.client();
        Company { server, client, place }
    }

    pub fn with_staff() -> Company {
        let mut company = Company::new();
        let client = &mut company.client;
        client.post("/api/divisions", &json!({"_id": "D1", "name": "sales", "sales": 100})).expect(201);
        client.post("/api/divisions", &json!({"_id": "D2", "name": "marketing"})).expect(201);
        let staff = json!([
            {"_id": "E1", "name": "ned", "age": 41, "level": "upper", "division": "D1"},
            {"_id": "E2", "name": "bob", "age": 31, "level": "lower", "division": "D1", "boss": "E1"},
            {"_id": "E3", "name": "fred", "age": 21, "division": "D2", "boss": "E1"},
        ]);
        client.post("/api/employees", &staff).expect(201);
        company
    }

    /// Ends it; what is stored is in order.
    #[track_caller]
    pub fn end(self) {
        let (status, rest) = self.server.stop();
        assert!(status.success() && rest.is_empty(), "{status} {rest}");
        self.place.check();
    }
}
