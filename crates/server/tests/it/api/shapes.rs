//! As much of JSON Schema as the OpenAPI documents use; a keyword that is not known here is a failure, never passed over.

use serde_json::Value as Json;

/// What a reference leads to; anything else is itself.
pub fn followed<'d>(document: &'d Json, at: &'d Json) -> &'d Json {
    match at["$ref"].as_str() {
        Some(reference) => {
            let there = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
            followed(document, there.unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => at,
    }
}

/// Why a value is not as a schema says; nothing where it is.
pub fn mismatch(document: &Json, schema: &Json, value: &Json) -> Option<String> {
    let members = match schema {
        Json::Object(members) => members,
        other => panic!("no schema: {other}"),
    };
    let fits = |schema: &Json| mismatch(document, schema, value).is_none();
    let length = value.as_str().map(|text| text.chars().count());
    let elements = value.as_array();
    let object = value.as_object();
    for (keyword, said) in members {
        let list = || said.as_array().unwrap();
        let number = || said.as_f64().unwrap();
        let count = || usize::try_from(said.as_u64().unwrap()).unwrap();
        let holds = match keyword.as_str() {
            "$ref" => fits(followed(document, schema)),
            "allOf" => list().iter().all(fits),
            "anyOf" => list().iter().any(fits),
            "oneOf" => list().iter().filter(|one| fits(one)).count() == 1,
            "type" => match said {
                Json::Array(types) => types.iter().any(|one| is_of(value, one.as_str().unwrap())),
                one => is_of(value, one.as_str().unwrap()),
            },
            "const" => value == said,
            "enum" => list().contains(value),
            "minimum" => value.as_f64().is_none_or(|value| value >= number()),
            "maximum" => value.as_f64().is_none_or(|value| value <= number()),
            "exclusiveMinimum" => value.as_f64().is_none_or(|value| value > number()),
            "minLength" => length.is_none_or(|length| length >= count()),
            "maxLength" => length.is_none_or(|length| length <= count()),
            "minItems" => elements.is_none_or(|elements| elements.len() >= count()),
            "maxItems" => elements.is_none_or(|elements| elements.len() <= count()),
            "minProperties" => object.is_none_or(|object| object.len() >= count()),
            "maxProperties" => object.is_none_or(|object| object.len() <= count()),
            "uniqueItems" => {
                let first = |at: usize, one: &Json| !elements.unwrap()[..at].contains(one);
                elements.is_none_or(|elements| elements.iter().enumerate().all(|(at, one)| first(at, one)))
            }
            "items" => elements.is_none_or(|elements| {
                elements.iter().all(|element| mismatch(document, said, element).is_none())
            }),
            "required" => object
                .is_none_or(|object| list().iter().all(|name| object.contains_key(name.as_str().unwrap()))),
            "dependentRequired" => said.as_object().unwrap().iter().all(|(name, needed)| {
                let mut needed = needed.as_array().unwrap().iter();
                value.get(name).is_none() || needed.all(|name| value.get(name.as_str().unwrap()).is_some())
            }),
            "properties" => said.as_object().unwrap().iter().all(|(name, schema)| {
                value.get(name).is_none_or(|value| mismatch(document, schema, value).is_none())
            }),
            "additionalProperties" => {
                let known = members.get("properties").and_then(Json::as_object);
                let is_known = |name: &String| known.is_some_and(|known| known.contains_key(name));
                let allowed = |value: &Json| match said {
                    Json::Bool(allowed) => *allowed,
                    schema => mismatch(document, schema, value).is_none(),
                };
                object
                    .is_none_or(|object| object.iter().all(|(name, value)| is_known(name) || allowed(value)))
            }
            // Of these the server says more than a schema can.
            "pattern" | "format" | "contentEncoding" => true,
            "description" | "title" | "default" | "examples" | "readOnly" | "discriminator" => true,
            other => panic!("what `{other}` means is not known here: {schema}"),
        };
        if !holds {
            return Some(format!("{value} is not as `{keyword}` says: {said}"));
        }
    }
    None
}

fn is_of(value: &Json, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("there is no type `{other}`"),
    }
}
