//! What the planner makes of derived fields: each expected plan was read against the schema above it.

use corollary_schema::plan::describe::describe;
use corollary_schema::{Ids, check};
use corollary_syntax::render;

fn plan(text: &str) -> String {
    let checked = check(text, &mut Ids::default());
    match checked.schema {
        Some(schema) => describe(&schema),
        None => panic!("{}", render(&checked.diagnostics, "schema", text)),
    }
}

fn expect(text: &str, wanted: &str) {
    let got = plan(text);
    let clean = |text: &str| {
        text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
    };
    let wanted: String = clean(wanted);
    let indent = wanted.lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let wanted: Vec<&str> = wanted.lines().map(|line| &line[indent..]).collect();
    assert_eq!(clean(&got), wanted.join("\n"), "\n{got}");
}

#[test]
fn sums_counts_and_copies_cost_a_constant_amount() {
    expect(
        "type Customer in customers {
           name: str required
           orders: inverse Order.customer
           total := sum(self.orders.amount)
           n := count(self.orders)
         }
         type Order in orders {
           customer: link Customer required
           amount: int required
           customer_name := self.customer.name
         }",
        "
        Customer.total = sum of Order by self.customer, value self.amount
          Order.customer
          Order.amount
        Customer.n = count of Order by self.customer
          Order.customer
        Order.customer_name = evaluate self.customer.name
          Customer.name ← Order.customer
          Order.customer
        ",
    );
}

#[test]
fn filters_run_from_the_member_and_through_links() {
    expect(
        "type Airport in airports {
           departing: inverse Flight.origin
           mean := average(self.departing[weather.rain > 0].delay)
         }
         type Weather in weather { rain: float }
         type Flight in flights { origin: link Airport, weather: link Weather, delay: int }",
        "
        Airport.mean = average of Flight by self.origin, value self.delay, where Greater(self.weather.rain, Int(0))
          Weather.rain ← Flight.weather
          Flight.origin
          Flight.weather
          Flight.delay
        ",
    );
}

#[test]
fn a_path_through_two_collections_is_one_group() {
    expect(
        "type Company in companies { divisions: collection Division, total := sum(self.divisions[open].sections.size) }
         type Division { sections: collection Section, open: bool }
         type Section { size: int }",
        "
        Company.total = sum of Section by self.parent_division_sections.parent_company_divisions, value self.size, where self.parent_division_sections.open
          Division.open ← Section.parent_division_sections
          Division.parent_company_divisions ← Section.parent_division_sections
          Section.size
          Section.parent_division_sections
        ",
    );
}

#[test]
fn aggregates_inside_an_expression_become_hidden_fields() {
    let text = "type Airline in airlines {
           flights: inverse Flight.airline
           late := count(self.flights[delay > 15]) / count(self.flights)
           share := count(self.flights[delay > 15])
         }
         type Flight in flights { airline: link Airline, delay: int }";
    let got = plan(text);
    assert_eq!(got.matches("count of Flight").count(), 3, "{got}");
    assert!(got.contains("Airline.late = evaluate Divide(self.#"), "{got}");
}

#[test]
fn the_first_by_an_order_can_be_followed() {
    let got = plan(
        "type Airport in airports { routes: inverse Route.origin, busiest := first(self.routes[order by n desc]).dest }
         type Route in routes { origin: link Airport, dest: link Airport, flights: inverse Flight.route, n := count(self.flights) }
         type Flight in flights { route: link Route }",
    );
    assert!(got.contains("first of Route by self.origin, order self.n desc"), "{got}");
    assert!(got.contains("Route.dest ← Airport.#"), "{got}");
}

#[test]
fn resources_reached_by_several_members_are_listed_once() {
    let got = plan(
        "type Plane in planes { flights: inverse Flight.plane, served := self.flights.dest }
         type Airport in airports { name: str }
         type Flight in flights { plane: link Plane, dest: link Airport }",
    );
    assert!(got.starts_with("Plane.served = list of Flight by self.plane, each self.dest once"), "{got}");
}

#[test]
fn a_filter_may_read_the_owner() {
    let got = plan(
        "type Team in teams { members: inverse Person.team, limit: int, over := count(self.members[age > self.limit]) }
         type Person in people { team: link Team, age: int }",
    );
    assert!(got.contains("where Greater(self.age, self.team.limit)"), "{got}");
    assert!(got.contains("Team.limit ← Person.team"), "{got}");
}

#[test]
fn what_cannot_be_turned_round_is_recomputed() {
    let got = plan(
        "type Team in teams { members: links Person, ages := sum(self.members.age) }
         type Person in people { age: int }",
    );
    assert!(got.starts_with("Team.ages = recompute sum(self.members.age)"), "{got}");
    assert!(got.contains("Person.age ← Team.members"), "{got}");
}

#[test]
fn nodes_come_after_what_they_read() {
    let text = "type A in as { bs: inverse B.a, c := self.b + 1, b := self.x + self.total, x: int, total := sum(self.bs.y) }
                type B in bs { a: link A, y := self.z * 2, z: int }";
    let names: Vec<String> = plan(text)
        .lines()
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split(' ').next().unwrap_or_default().to_string())
        .collect();
    let at = |name: &str| names.iter().position(|other| other == name).unwrap();
    assert!(at("B.y") < at("A.total") && at("A.total") < at("A.b") && at("A.b") < at("A.c"), "{names:?}");
}

#[test]
fn numbers_stay_when_a_schema_grows() {
    let mut ids = Ids::default();
    let before = check("type A in as { x: int }", &mut ids).schema.unwrap();
    let saved = Ids::from_json(&ids.to_json()).unwrap();
    assert_eq!(saved, ids);
    let after = check("type B in bs { x: int }\ntype A in as { y: int, x: int }", &mut ids).schema.unwrap();
    let x = |schema: &corollary_schema::Schema| {
        let ty = schema.ty(schema.type_named("A").unwrap());
        (ty.id, ty.named("x").unwrap().1.id)
    };
    assert_eq!(x(&before), x(&after));
}

#[test]
fn medians_maps_and_the_like_are_groups() {
    expect(
        "type Team in teams {
           members: inverse Person.team
           ages := distinct(self.members[age > 3].age)
           best := top(3, self.members.age)
           middle := median(self.members.age)
           high := percentile(self.members.age, 97.5)
           names := join(self.members[order by age].name, ', ')
           levels := group(self.members[age > 3], by: level, sum(age * 2))
           teams := distinct(self.members.team)
         }
         type Person in people { team: link Team, name: str, age: int, level: str, middle := median(self.team.members.age) }",
        "
        Team.ages = distinct of Person by self.team, value self.age, where Greater(self.age, Int(3))
          Person.team
          Person.age
        Team.best = top 3 of Person by self.team, value self.age
          Person.team
          Person.age
        Team.middle = median of Person by self.team, value self.age
          Person.team
          Person.age
        Team.high = percentile 97.5 of Person by self.team, value self.age
          Person.team
          Person.age
        Team.names = join \", \" of Person by self.team, value self.name, order self.age
          Person.team
          Person.name
          Person.age
        Team.levels = sum of Person by self.team, for each self.level, value Multiply(self.age, Int(2)), where Greater(self.age, Int(3))
          Person.team
          Person.age
          Person.level
        Team.teams = list of Person by self.team, each self.team once
          Person.team
        Team.#23 = median of Person by self.team, value self.age
          Person.team
          Person.age
        Person.middle = evaluate self.team.#23
          Team.#23 ← Person.team
          Person.team
        ",
    );
}

#[test]
fn fields_that_depend_on_themselves_are_a_stratum_with_hidden_groups() {
    expect(
        "type Folder in folders {
           bytes: int
           up: link Folder
           folders: inverse Folder.up
           size := sum(self.folders.size) + self.bytes
           path := self.up.path + '/' + str(self.bytes) else ''
         }",
        "
        Folder.#7 = sum of Folder by self.up, value self.size, again and again with Folder.size
          Folder.up
          Folder.size
        Folder.size = evaluate Add(self.#7, self.bytes), again and again with Folder.#7
          Folder.bytes
          Folder.#7
        Folder.path = evaluate Else(Add(Add(self.up.path, Str(\"/\")), str(self.bytes)), Str(\"\")), again and again with itself
          Folder.bytes
          Folder.up, steers
          Folder.path ← Folder.up
        ",
    );
}

#[test]
fn a_group_is_not_made_where_its_members_are_chosen_by_the_recursion() {
    // Whether a member counts depends on the recursion here: then it is not known who the members are before their
    // values are, and the aggregate is evaluated per owner.
    let plan = plan(
        "type Folder in folders {
           up: link Folder
           folders: inverse Folder.up
           size := 1 + sum(self.folders[size > 1].size) + count(self.folders)
         }",
    );
    assert!(plan.contains("recompute"), "{plan}");
    assert!(plan.contains("count of Folder by self.up\n"), "{plan}");
}

/// What is the same for all owners is kept once, and only its change goes to all of them.
#[test]
fn aggregates_over_root_collections_are_kept_once() {
    expect(
        "type Person in people {
           salary: int
           team: link Team
           share := self.salary / max(people.salary)
           more := count(people[salary > self.salary])
         }
         type Team in teams {
           members: inverse Person.team
           high := count(self.members[salary > average(people.salary)])
           old: int
         }",
        "
        #all.#11 = max of Person by all, value self.salary
          Person.salary
        Person.share = evaluate Divide(self.salary, all.#11)
          Person.salary
          #all.#11 → all resources of Person
        Person.more = recompute count(all(Person)[Greater(item0.salary, self.salary)])
          Person.salary → all resources of Person
          Person.salary
          a Person that comes or goes → all resources of Person
        #all.#14 = average of Person by all, value self.salary
          Person.salary
        Team.high = count of Person by self.team, where Greater(self.salary, all.#14)
          Person.salary
          Person.team
          #all.#14 → all resources of Person
        ",
    );
}

/// A member of such a group gives the values of all its elements.
#[test]
fn lists_of_members_are_groups_of_their_elements() {
    let plan = plan(
        "type Customer in customers {
           orders: inverse Order.customer
           least: int
           total  := sum(self.orders[paid].lines[ok].price)
           dear   := max(self.orders.lines[price > self.least].price)
           any_ok := any(self.orders.lines.ok)
           tags   := distinct(self.orders.tags)
           three  := self.orders.lines[order by price].price
         }
         type Order in orders {
           customer: link Customer
           paid: bool
           tags: [str]
           lines: [{ price: int, ok: bool }]
         }",
    );
    for group in [
        "sum of Order by self.customer",
        "max of Order by self.customer",
        "distinct of Order by self.customer",
    ] {
        assert!(plan.contains(group), "{group}: {plan}");
    }
    assert!(plan.contains("count of Order by self.customer, value"), "{plan}");
    assert_eq!(plan.matches("recompute").count(), 1, "an order of all elements is nobody's own: {plan}");
}

/// A link to one of several types is a link to each: each has its group, and a sum over all of them is of their sums.
#[test]
fn several_types_are_kept_one_by_one() {
    expect(
        "abstract type Party in parties {
           orders: inverse Order.customer
           total := sum(self.orders.amount)
         }
         type Person is Party in persons { name: str }
         type Firm is Party in firms { name: str }
         type Order in orders {
           customer: link Party
           amount: int
           who := self.customer.name
           others := count(self.customer.orders)
         }
         type Report in reports {
           owed := sum(parties.total)
         }",
        "
        Person.total = sum of Order by self.#customer.Person, value self.amount
          Order.amount
          Order.#customer.Person
        Firm.total = sum of Order by self.#customer.Firm, value self.amount
          Order.amount
          Order.#customer.Firm
        Order.who = evaluate either(self.#customer.Person.name, self.#customer.Firm.name)
          Person.name ← Order.#customer.Person
          Firm.name ← Order.#customer.Firm
          Order.#customer.Person
          Order.#customer.Firm
        Person.#21 = count of Order by self.#customer.Person
          Order.#customer.Person
        Firm.#22 = count of Order by self.#customer.Firm
          Order.#customer.Firm
        Order.others = evaluate Add(if(Equal(self.#customer.Person, Null), Int(0), self.#customer.Person.#21), if(Equal(self.#customer.Firm, Null), Int(0), self.#customer.Firm.#22))
          Person.#21 ← Order.#customer.Person
          Firm.#22 ← Order.#customer.Firm
          Order.#customer.Person
          Order.#customer.Firm
        #all.#25 = sum of Person by all, value self.total
          Person.total
        #all.#26 = sum of Firm by all, value self.total
          Firm.total
        Report.owed = evaluate Add(all.#25, all.#26)
          #all.#25 → all resources of Report
          #all.#26 → all resources of Report
        ",
    );
}

/// An order inside the path of a sum stayed where a filter of values stood behind it, so the path was not turned round, and
/// each change read all members again.
#[test]
fn an_order_that_nothing_follows_is_left_out_under_a_filter_too() {
    let schema = |path: &str| {
        plan(&format!(
            "type Cart in carts {{ orders: inverse Order.cart, total := sum({path}) }}
             type Order in orders {{ cart: link Cart, at: int, lines: [{{ ok: bool, price: int }}] }}"
        ))
    };
    let plain = schema("self.orders.lines[ok].price");
    assert!(plain.starts_with("Cart.total = sum of Order by self.cart"), "{plain}");
    assert_eq!(schema("self.orders[order by at desc].lines[ok].price"), plain);
}
