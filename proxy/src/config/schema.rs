//! The JSON schema of the file, for editors that complete and check TOML by one (draft 2020-12).

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, SECTIONS, SectionAbout};

/// The schema, made from the table of keys.
#[must_use]
pub fn schema() -> Value {
    let [top, sections @ ..] = &SECTIONS;
    let mut root = object(top);
    for section in sections {
        let mut shape = object(section);
        shape["description"] = json!(section.about);
        if section.is_list {
            shape = json!({ "type": "array", "items": shape });
        }
        let (parent, name) = section.name.rsplit_once('.').unwrap_or(("", section.name));
        let place = match parent {
            "" => &mut root["properties"][name],
            parent if is_list(parent) => &mut root["properties"][parent]["items"]["properties"][name],
            parent => &mut root["properties"][parent]["properties"][name],
        };
        *place = shape;
    }
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("evenly.toml");
    root["required"] = json!(["server"]);
    root
}

fn is_list(section: &str) -> bool {
    SECTIONS.iter().any(|about| about.name == section && about.is_list)
}

fn object(section: &SectionAbout) -> Value {
    let property = |key: &Key| {
        let mut shape = property(key);
        // What a group does not say is as the section of all says it.
        if let Some(shape) = shape.as_object_mut().filter(|_| !section.like.is_empty()) {
            shape.remove("default");
        }
        (key.name.to_owned(), shape)
    };
    let properties: Map<String, Value> = section.keys().map(property).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn property(key: &Key) -> Value {
    let strings = json!({ "type": "array", "items": { "type": "string" } });
    let mut shape = match key.kind {
        Kind::Text | Kind::Secret => json!({ "type": "string" }),
        Kind::Texts => strings,
        Kind::OneOrMore => json!({ "anyOf": [{ "type": "string" }, strings] }),
        Kind::Names | Kind::Secrets => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Number(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Kind::Integers(low, high) => {
            json!({ "type": "array", "items": { "type": "integer", "minimum": low, "maximum": high } })
        }
        Kind::Choice(words) => json!({ "type": "string", "enum": words() }),
    };
    shape["description"] = json!(key.about);
    if let Some(default) = value(key.default) {
        shape["default"] = default;
    }
    if let Some(example) = value(key.example) {
        shape["examples"] = json!([example]);
    }
    shape
}

/// A TOML literal as JSON.
fn value(literal: &str) -> Option<Value> {
    let parsed: toml::Value = literal.parse().ok()?;
    serde_json::to_value(parsed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_place_with_type_and_default() {
        let schema = schema();
        let server = &schema["properties"]["server"]["properties"];
        assert_eq!(server["port"]["default"], ":8080");
        assert_eq!(server["drain_timeout"]["maximum"], 86_400);
        assert!(server["balance"]["enum"].as_array().unwrap().contains(&json!("p2c")));
        let rules = &schema["properties"]["rules"]["items"];
        assert_eq!(rules["additionalProperties"], false);
        assert_eq!(rules["properties"]["response"]["properties"]["status"]["minimum"], 200);
        let of_group =
            &schema["properties"]["upstreams"]["items"]["properties"]["health"]["properties"]["rise"];
        assert_eq!((&of_group["maximum"], of_group.get("default")), (&json!(100), None));
        assert_eq!(schema["properties"]["mem"]["properties"]["cache_replacement_policy"]["default"], "lru");
    }
}
