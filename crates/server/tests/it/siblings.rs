//! Children of one parent through REST: values that are unique among them.

use crate::common::*;

const SHELVES: &str = r#"
type Shelf in shelves {
  books: collection Book
}
type Book {
  name: str required, unique in parent
}
"#;

#[test]
fn a_name_that_a_sibling_has_is_a_conflict() {
    let place = Place::new(SHELVES);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/shelves", &json!([{"_id": "s"}, {"_id": "t"}])).expect(201);
    let name = json!({"name": "x"});
    client.post("/api/shelves/s/books", &name).expect(201);
    let taken = client.post("/api/shelves/s/books", &name);
    taken.problem(409, "unique");
    assert_eq!(taken.errors(), ["unique /name"]);
    client.post("/api/shelves/t/books", &name).expect(201);
    // Many at the same time: one gets it.
    let address = server.address.clone();
    let tries: Vec<_> = (0..16)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || {
                Client::new(&address).post("/api/shelves/s/books", &json!({"name": "y"})).status
            })
        })
        .collect();
    let mut statuses: Vec<u16> = tries.into_iter().map(|it| it.join().unwrap()).collect();
    statuses.sort();
    assert_eq!((statuses[0], &statuses[1..]), (201, &[409; 15][..]));
    drop(server.stop());
    place.check();
}
