//! An expression's program, run on a sample.

use std::sync::LazyLock;

use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Program, Value};
use stencil_protocol::sample::Value as Measured;

use crate::Observation;

/// The functions, made once: a context of its own for each sample would cost
/// 30 times what the expression does.
static ROOT: LazyLock<Context<'static, 'static>> = LazyLock::new(Context::default);

/// What it is for the sample; `None` if it cannot be evaluated.
pub(super) fn run(program: &Program, sample: &Observation<'_>) -> Option<bool> {
    let event = Event(sample);
    let mut scope = ROOT.new_inner_scope();
    scope.set_variable_resolver(&event);
    match program.execute(&scope) {
        Ok(Value::Bool(answer)) => Some(answer),
        _ => None,
    }
}

/// A sample's fields, made when asked for.
struct Event<'a>(&'a Observation<'a>);

impl VariableResolver for Event<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let Self(sample) = self;
        let text = |text: &'b str| CowVal::owned(CelString::from(text));
        Some(match variable {
            "event.value" => match sample.value {
                Measured::Number(number) => CowVal::owned(CelDouble::from(number)),
                // Whether a device writes 3 or 3.0 is chance: a number is a double.
                Measured::Integer(integer) => CowVal::owned(CelDouble::from(integer as f64)),
                Measured::Bool(bit) => CowVal::owned(CelBool::from(bit)),
                Measured::Text(value) => text(value),
            },
            "event.device" => text(sample.device),
            "event.name" => text(sample.name),
            "event.unit" => sample.unit.map_or_else(|| CowVal::owned(CelNull), text),
            "event.time_us" => CowVal::owned(CelInt::from(sample.time_us)),
            _ => return None,
        })
    }
}
