//! The parts of an OpenAPI document that are looked at one after the other: the operations below one name, and together what is left
//! of those with few.

use serde_json::Value as Json;

use super::Step;

/// Parts with no more operations than this run together.
const FEW: usize = 2;

/// The path that says what there is.
const INDEX: &str = "/api";

/// What those are called that run together.
const OTHERS: &str = "others";

/// See the module.
#[derive(Debug, PartialEq)]
pub struct Part {
    /// The name below `/api`.
    pub name: String,
    /// How many it has.
    pub operations: usize,
    /// Those that delete, among them.
    deletes: usize,
    /// What its paths are, as regular expressions.
    roots: Vec<String>,
}

/// The parts of a document, in its order.
pub fn of(document: &Json) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let below = path.strip_prefix("/api/").unwrap_or(path).trim_start_matches('/');
        let name = below.split('/').next().unwrap_or_default();
        let root = format!("{}{name}", &path[..path.len() - below.len()]).replace('.', "\\.");
        // All others are below the index, which is one of itself.
        let root = if path == INDEX { root } else { format!("{root}(/.*)?") };
        let at = parts.iter().position(|part| part.name == name).unwrap_or(parts.len());
        if at == parts.len() {
            parts.push(Part { name: name.into(), operations: 0, deletes: 0, roots: vec![root] });
        }
        for method in item.as_object().into_iter().flatten().map(|(member, _)| member.as_str()) {
            if !["get", "put", "post", "patch", "delete"].contains(&method) {
                continue;
            }
            parts[at].operations += 1;
            parts[at].deletes += usize::from(method == "delete" || path.ends_with("/_delete"));
        }
    }
    let (many, few): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| part.operations > FEW);
    let mut parts = many;
    if !few.is_empty() {
        parts.push(few.into_iter().fold(
            Part { name: OTHERS.into(), operations: 0, deletes: 0, roots: Vec::new() },
            |mut all, part| {
                all.operations += part.operations;
                all.deletes += part.deletes;
                all.roots.extend(part.roots);
                all
            },
        ));
    }
    parts
}

impl Part {
    /// Is there anything of it in a step?
    pub fn has(&self, step: Step) -> bool {
        match step {
            Step::Deletes => self.deletes > 0,
            Step::Bounds | Step::Anything => self.operations > self.deletes,
        }
    }

    /// What picks its operations in a step: each is called by its method and its path.
    pub fn filter(&self, step: Step) -> Vec<String> {
        let below = format!("({})", self.roots.join("|"));
        match step {
            Step::Deletes => {
                vec!["--include-name-regex".into(), format!("^(DELETE {below}|POST {below}/_delete)$")]
            }
            Step::Bounds | Step::Anything => vec![
                "--include-name-regex".into(),
                format!("^(GET|PUT|POST|PATCH) {below}$"),
                "--exclude-path-regex".into(),
                "/_delete$".into(),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_below_one_name_is_a_part_and_the_few_are_together() {
        let document = json!({"paths": {
            "/api/orders": {"get": {}, "post": {}, "parameters": []},
            "/api/orders/{id}": {"get": {}, "delete": {}},
            "/api/orders/_delete": {"post": {}},
            "/api/_log": {"get": {}},
            "/healthz": {"get": {}},
            "/api": {"get": {}},
        }});
        let parts = of(&document);
        let told: Vec<_> =
            parts.iter().map(|part| (part.name.as_str(), part.operations, part.deletes)).collect();
        assert_eq!(told, [("orders", 5, 2), ("others", 3, 0)]);
        assert_eq!(parts[1].roots, ["/api/_log(/.*)?", "/healthz(/.*)?", "/api"]);
        assert!(parts[0].has(Step::Deletes) && !parts[1].has(Step::Deletes));
    }
}
