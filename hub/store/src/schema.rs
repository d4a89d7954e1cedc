//! How values look in JSON where their Rust type does not say it: for the rows' JSON schemas, out
//! of which the HTTP API's document is made. Nothing is ever a value of these types.

use std::collections::BTreeMap;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// A reading or a command's argument: a boolean, a number or a text.
#[derive(Debug)]
pub enum Scalar {}

impl PartialSchema for Scalar {
    fn schema() -> RefOr<Schema> {
        // Not `oneOf`: a whole number is an integer and a number.
        let types = [Type::Boolean, Type::Number, Type::String];
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter(types))
            .description(Some("A boolean, a finite number or a text"))
            .into()
    }
}

impl ToSchema for Scalar {}

/// Any JSON.
#[derive(Debug)]
pub enum Json {}

impl PartialSchema for Json {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Any JSON"))
            .into()
    }
}

impl ToSchema for Json {}

/// How far a command came.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// The hub holds it.
    Queued,
    /// It is on its way.
    Sent,
    /// The device has it and will act.
    Acknowledged,
    /// The device acted.
    Done,
    /// The device could not act.
    Failed,
    /// It was not begun in time.
    Expired,
}

/// What became of the numbers of one boot.
#[derive(Debug, serde::Serialize, ToSchema)]
pub struct BootLedger {
    /// Numbers that are stored: spans `[first, last]`.
    pub stored: Vec<Vec<u64>>,
    /// Numbers that will never come, by reason.
    pub dropped: BTreeMap<String, Vec<Vec<u64>>>,
    /// How often a stored number came again.
    pub duplicate: u64,
    /// The highest number that is known to have been given.
    pub last_given: u64,
}
