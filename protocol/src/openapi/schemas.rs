//! The schemas of requests and answers, each named once.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// Makes the schemas of types, and keeps those that have names.
pub(super) struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12()
                .with(|settings| {
                    settings.definitions_path = "/components/schemas".into();
                    settings.meta_schema = None;
                })
                .with_transform(Plain)
                .with_transform(Bounded)
        };
        let requests = settings().for_deserialize();
        let answers = settings().for_serialize().with_transform(Written);
        Self {
            requests: requests.into_generator(),
            answers: answers.into_generator(),
        }
    }

    /// What a caller sends.
    pub(super) fn request<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().into()
    }

    /// What the service writes.
    pub(super) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().into()
    }

    /// The query `T` as parameters.
    pub(super) fn query<T: JsonSchema>(&mut self) -> Vec<Value> {
        let mut schema = T::json_schema(&mut self.requests);
        for transform in self.requests.transforms_mut() {
            transform.transform(&mut schema);
        }
        Written.transform(&mut schema);
        let properties = schema.get("properties").and_then(Value::as_object);
        let parameter = |(name, schema): (&String, &Value)| {
            let mut schema = schema.clone();
            let description = schema
                .as_object_mut()
                .and_then(|it| it.remove("description"));
            json!({"name": name, "in": "query", "description": description, "schema": schema})
        };
        properties.into_iter().flatten().map(parameter).collect()
    }

    /// A schema of a name of its own: that which `reference` refers to, after `change`.
    pub(super) fn derive(
        &mut self,
        name: &str,
        reference: &Value,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Value {
        let base = reference["$ref"].as_str().unwrap_or_default();
        let base = base.rsplit('/').next().unwrap_or_default();
        let mut schema = self.requests.definitions()[base].clone();
        change(schema.as_object_mut().expect("a request is an object"));
        self.requests
            .definitions_mut()
            .insert(name.to_owned(), schema);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// Every schema that has a name.
    pub(super) fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.answers.take_definitions(true);
        for (name, schema) in self.requests.take_definitions(true) {
            if let Some(other) = all.insert(name.clone(), schema.clone()) {
                assert_eq!(
                    other, schema,
                    "{name} is not written as it is read: it needs two names"
                );
            }
        }
        all
    }
}

/// Doc comments are written for rustdoc: its links are nothing to a reader of the document.
#[derive(Clone)]
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text
                .replace("[`", "`")
                .replace("`]", "`")
                .replace('\n', " ");
        }
        transform_subschemas(self, schema);
    }
}

/// The bounds of Rust's numbers. Their formats are not JSON Schema's, and nobody has to know them.
#[derive(Clone)]
struct Bounded;

impl Transform for Bounded {
    fn transform(&mut self, schema: &mut Schema) {
        let maximum = match schema.get("format").and_then(Value::as_str) {
            Some("uint16") => json!(u16::MAX),
            Some("uint32") => json!(u32::MAX),
            Some("uint64" | "uint") => json!(u64::MAX),
            Some("int32") => json!(i32::MAX),
            _ => Value::Null,
        };
        if !maximum.is_null() {
            schema.remove("format");
            if schema.get("maximum").is_none() {
                schema.insert("maximum".to_owned(), maximum);
            }
        }
        transform_subschemas(self, schema);
    }
}

/// A field that is left out where there is nothing is never null.
#[derive(Clone)]
struct Written;

impl Transform for Written {
    fn transform(&mut self, schema: &mut Schema) {
        let required: Vec<Value> = match schema.get("required") {
            Some(Value::Array(names)) => names.clone(),
            _ => Vec::new(),
        };
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            for (name, property) in properties {
                if !required.contains(&json!(name)) {
                    forbid_null(property);
                }
            }
        }
        transform_subschemas(self, schema);
    }
}

fn forbid_null(property: &mut Value) {
    let Some(property) = property.as_object_mut() else {
        return;
    };
    property.retain(|keyword, value| keyword != "default" || !value.is_null());
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            property.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = property.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            property.remove("anyOf");
            property.extend(only);
        }
    }
}
