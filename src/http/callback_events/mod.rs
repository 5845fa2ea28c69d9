//! What subscribers are told of callbacks, type by type: a schema and an example each, for the OpenAPI document and
//! docs/events.md.
//!
//! In: the types that `wechat` knows, and one sample of each as WeChat writes it (`samples.jsonl`). Out: schemas named
//! `callback.text`, `callback.event.SCAN` …, made from the types that are serialized, with what they make of the samples.

mod forms;
mod render;

pub use render::render;

use serde_json::{Value, json};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType, Type};
use utoipa::openapi::{
    Array, Discriminator, KnownFormat, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, SchemaFormat,
};
use utoipa::{Modify, PartialSchema, ToSchema};

use self::forms::{Form, form_of};
use crate::wechat::event::Event;
use crate::wechat::inbound::{Inbound, Kind};
use crate::wechat::message::Message;

/// One of each type, in WeChat's own words.
const SAMPLES: &str = include_str!("samples.jsonl");
/// Any of them.
const ALL: &str = "CallbackEvent";
const PREFIX: &str = "callback.";

/// Puts the schemas into the document.
pub struct CallbackEvents;

impl Modify for CallbackEvents {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let schemas = &mut document.components.get_or_insert_default().schemas;
        let mut shapes = Vec::new();
        Event::schemas(&mut shapes);
        Message::schemas(&mut shapes);
        schemas.extend(shapes.into_iter().map(|(name, shape)| (name, whole(shape))));
        let mut any = OneOfBuilder::new()
            .description(Some("An event of a callback. Types that no page of WeChat documents come as they are."));
        let mut by_type = Vec::new();
        for sample in SAMPLES.lines() {
            let Some(told) = Told::of(sample) else { continue };
            let name = told.kind.clone();
            let place = Ref::from_schema_name(&name);
            by_type.push((name.clone(), place.ref_location.clone()));
            any = any.item(place);
            schemas.insert(name, told.schema().into());
        }
        let any = any.discriminator(Some(Discriminator::with_mapping("type", by_type)));
        schemas.insert(ALL.to_owned(), Schema::from(any.build()).into());
    }
}

/// A sample, and what is told of it.
struct Told {
    /// `callback.text` …
    kind: String,
    inbound: Inbound,
    data: Value,
}

impl Told {
    /// `None`: the sample cannot be read, or nobody has said what it is (a test looks after that).
    fn of(sample: &str) -> Option<Self> {
        let inbound = Inbound::parse(sample.as_bytes()).ok()?;
        let data = serde_json::from_str(&inbound.told()?).ok()?;
        Some(Self { kind: format!("{PREFIX}{}", inbound.label()), inbound, data })
    }

    fn example(&self) -> Value {
        json!({
            "id": "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", "type": self.kind, "timestamp": "2026-01-31T08:00:05.000Z",
            "account": "shop", "data": self.data,
        })
    }

    fn schema(&self) -> Schema {
        let (when, form) = form_of(&self.kind);
        let text = || ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).build();
        let timestamp = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let envelope = [
            ("id", text()),
            ("type", constant(&self.kind)),
            ("timestamp", timestamp.build()),
            ("account", text()),
            ("data", self.data_schema(&form)),
        ];
        Schema::Object(object(envelope).description(Some(when)).examples([self.example()]).build())
    }

    /// As [`Inbound::told`] writes it.
    fn data_schema(&self, form: &Form) -> utoipa::openapi::Object {
        let text = || ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).build();
        let told = |name: &str| self.data[name].as_str().map(constant);
        let mut data = object([
            ("openid", text()),
            ("to_user_name", text()),
            ("create_time", ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).build()),
            ("msg_type", told("msg_type").unwrap_or_else(text)),
        ]);
        if let Some(event) = told("event") {
            data = data.property("event", event).required("event");
        }
        if matches!(self.inbound.kind, Kind::Message { .. }) {
            data = data.property("msg_id", text());
        }
        data.property("content", content(form)).required("content").build()
    }
}

fn object<const N: usize>(members: [(&'static str, utoipa::openapi::Object); N]) -> ObjectBuilder {
    let object = ObjectBuilder::new().schema_type(SchemaType::new(Type::Object));
    members.into_iter().fold(object, |object, (name, member)| object.property(name, member).required(name))
}

fn constant(text: &str) -> utoipa::openapi::Object {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).enum_values(Some([text])).build()
}

fn content(form: &Form) -> RefOr<Schema> {
    match form {
        Form::Own(title) => own(title),
        Form::Shape(name) => Ref::from_schema_name(*name).into(),
        Form::List(name) => Schema::Array(Array::new(Ref::from_schema_name(*name))).into(),
        Form::Empty => {
            Schema::Object(object([]).additional_properties(Some(AdditionalProperties::FreeForm(false))).build()).into()
        }
        Form::AsItCame => Schema::Object(object([]).build()).into(),
    }
}

/// The variant of this name.
fn own(title: &str) -> RefOr<Schema> {
    for schema in [Event::schema(), Message::schema()] {
        let RefOr::T(Schema::OneOf(variants)) = schema else { continue };
        for variant in variants.items {
            if let RefOr::T(Schema::Object(object)) = &variant
                && object.title.as_deref() == Some(title)
            {
                return whole(variant);
            }
        }
    }
    Schema::Object(object([]).build()).into()
}

/// What there is not is written as null: every member is there.
fn whole(mut schema: RefOr<Schema>) -> RefOr<Schema> {
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        object.required = object.properties.keys().cloned().collect();
        object.title = None;
    }
    schema
}
