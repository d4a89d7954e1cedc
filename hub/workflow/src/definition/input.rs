//! Values in a `with`: JSON with templates in its texts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use stencil_yaml::{Content, Error, Node, shown};

use super::action::template;
use super::names::Before;
use crate::template::{self as engine, Scope, Template};

/// The longest key of a map in a `with`, in bytes.
const MAX_KEY: usize = 128;

/// A value whose texts are templates.
#[derive(Debug, PartialEq)]
pub enum Input {
    /// A number, true, false or null.
    Literal(Value),
    /// Text.
    Text(Template),
    /// A list.
    List(Vec<Input>),
    /// A map.
    Map(BTreeMap<String, Input>),
}

impl Input {
    /// The value with its templates rendered, at most
    /// [`MAX_OUTPUT`](engine::MAX_OUTPUT) bytes of JSON.
    ///
    /// # Errors
    /// Those of templates.
    pub fn render(&self, scope: &Scope) -> Result<Value, engine::Error> {
        let mut left = engine::MAX_OUTPUT;
        self.render_within(scope, &mut left)
    }

    fn render_within(&self, scope: &Scope, left: &mut usize) -> Result<Value, engine::Error> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Text(template) => {
                let value = template.value(scope)?;
                let bytes = value.to_string().len();
                *left = left
                    .checked_sub(bytes)
                    .ok_or_else(|| engine::Error::TooLong {
                        template: template.source().chars().take(60).collect(),
                    })?;
                value
            }
            Self::List(items) => {
                let items = items.iter().map(|item| item.render_within(scope, left));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Map(entries) => {
                let mut map = Map::new();
                for (key, input) in entries {
                    map.insert(key.clone(), input.render_within(scope, left)?);
                }
                Value::Object(map)
            }
        })
    }
}

pub(super) fn read(node: &Node, before: Before<'_>) -> Result<Input, Error> {
    Ok(match &node.content {
        Content::Null => Input::Literal(Value::Null),
        Content::Bool(bit) => Input::Literal(Value::Bool(*bit)),
        Content::Integer(integer) => Input::Literal((*integer).into()),
        Content::Number(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => Input::Literal(Value::Number(number)),
            None => {
                let right = "write a finite number";
                return Err(Error::new(
                    node.at,
                    format!("{number} is not a JSON number"),
                    right,
                ));
            }
        },
        Content::Text(_) => Input::Text(template(node, "text", before)?),
        Content::List(items) => {
            let items = items.iter().map(|item| read(item, before));
            Input::List(items.collect::<Result<_, _>>()?)
        }
        Content::Map(entries) => {
            let mut map = BTreeMap::new();
            for (key, value) in entries {
                if key.name.is_empty() || key.name.len() > MAX_KEY {
                    let what = format!("the key {} has {} bytes", shown(&key.name), key.name.len());
                    return Err(Error::new(
                        key.at,
                        what,
                        format!("write 1 to {MAX_KEY} bytes"),
                    ));
                }
                map.insert(key.name.clone(), read(value, before)?);
            }
            Input::Map(map)
        }
    })
}
