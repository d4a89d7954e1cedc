//! Expressions that only compare, without an interpreter.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use stencil_protocol::sample::Value;

use super::check::field;
use crate::Observation;

/// Up to here a whole number is a double of the same value.
const EXACT: u64 = 1 << 53;

/// What an expression over a number comes to when it only compares. It means what
/// the interpreter makes of the same source; for a sample whose value is no number
/// the interpreter is asked.
#[derive(Debug)]
pub(super) enum Native {
    Value(Comparison, f64),
    Text {
        field: Field,
        equal: bool,
        text: Box<str>,
    },
    And(Box<[Native; 2]>),
    Or(Box<[Native; 2]>),
    Not(Box<Native>),
}

/// How the sample's value is compared with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// A field that is a text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Device,
    Name,
    Unit,
}

/// The value as a number, if it is sent as one.
pub(super) fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Integer(integer) => Some(*integer as f64),
        Value::Bool(_) | Value::Text(_) => None,
    }
    .filter(|number| number.is_finite())
}

impl Native {
    pub(super) fn of(expression: &IdedExpr) -> Option<Self> {
        let Expr::Call(call) = &expression.expr else {
            return None;
        };
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [a, b]) => {
                Some(Self::And(Box::new([Self::of(a)?, Self::of(b)?])))
            }
            (operators::LOGICAL_OR, [a, b]) => {
                Some(Self::Or(Box::new([Self::of(a)?, Self::of(b)?])))
            }
            (operators::LOGICAL_NOT, [a]) => Some(Self::Not(Box::new(Self::of(a)?))),
            (operator, [a, b]) => {
                let comparison = Comparison::of(operator)?;
                Self::comparison(comparison, a, b)
                    .or_else(|| Self::comparison(comparison.turned(), b, a))
            }
            _ => None,
        }
    }

    pub(super) fn holds(&self, value: f64, sample: &Observation<'_>) -> bool {
        match self {
            Self::Value(comparison, limit) => comparison.holds(value, *limit),
            Self::Text { field, equal, text } => {
                let found = match field {
                    Field::Device => Some(sample.device),
                    Field::Name => Some(sample.name),
                    Field::Unit => sample.unit,
                };
                (found == Some(text)) == *equal
            }
            Self::And(both) => both.iter().all(|one| one.holds(value, sample)),
            Self::Or(both) => both.iter().any(|one| one.holds(value, sample)),
            Self::Not(one) => !one.holds(value, sample),
        }
    }

    /// A field compared with a literal.
    fn comparison(comparison: Comparison, left: &IdedExpr, right: &IdedExpr) -> Option<Self> {
        let which = match field(left)? {
            "value" => return Some(Self::Value(comparison, literal(right)?)),
            "device" => Field::Device,
            "name" => Field::Name,
            "unit" => Field::Unit,
            _ => return None,
        };
        let Expr::Literal(LiteralValue::String(text)) = &right.expr else {
            return None;
        };
        let equal = match comparison {
            Comparison::Equal => true,
            Comparison::NotEqual => false,
            _ => return None,
        };
        Some(Self::Text {
            field: which,
            equal,
            text: text.inner().into(),
        })
    }
}

/// A number as it is written, also with a minus before it.
fn literal(expression: &IdedExpr) -> Option<f64> {
    match &expression.expr {
        Expr::Literal(LiteralValue::Double(double)) => {
            Some(*double.inner()).filter(|double| double.is_finite())
        }
        Expr::Literal(LiteralValue::Int(int)) => {
            Some(*int.inner() as f64).filter(|_| int.inner().unsigned_abs() <= EXACT)
        }
        Expr::Literal(LiteralValue::UInt(uint)) => {
            Some(*uint.inner() as f64).filter(|_| *uint.inner() <= EXACT)
        }
        Expr::Call(CallExpr {
            func_name, args, ..
        }) if func_name == operators::NEGATE => match args.as_slice() {
            [
                IdedExpr {
                    expr: Expr::Literal(LiteralValue::UInt(_)),
                    ..
                },
            ] => None,
            [number] => Some(-literal(number)?),
            _ => None,
        },
        _ => None,
    }
}

impl Comparison {
    fn of(operator: &str) -> Option<Self> {
        Some(match operator {
            operators::LESS => Self::Less,
            operators::LESS_EQUALS => Self::LessOrEqual,
            operators::GREATER => Self::Greater,
            operators::GREATER_EQUALS => Self::GreaterOrEqual,
            operators::EQUALS => Self::Equal,
            operators::NOT_EQUALS => Self::NotEqual,
            _ => return None,
        })
    }

    /// The same with its sides exchanged.
    const fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal | Self::NotEqual => self,
        }
    }

    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::LessOrEqual => value <= limit,
            Self::Greater => value > limit,
            Self::GreaterOrEqual => value >= limit,
            Self::Equal => value == limit,
            Self::NotEqual => value != limit,
        }
    }
}
