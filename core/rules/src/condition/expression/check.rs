//! What an expression may hold, looked at when it is saved: so that what is evaluated
//! is bounded, and what could never be right is told to who writes it.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SourceInfo, operators};
use cel::{Env, IdedExpr, ParseErrors, Program};

use super::MAX_EXPRESSION;
use super::kinds::Kinds;
use crate::Error;

/// The fields of `event`.
const FIELDS: [(&str, Kinds); 5] = [
    ("value", VALUE),
    ("device", Kinds::STRING),
    ("name", Kinds::STRING),
    ("unit", UNIT),
    ("time_us", Kinds::INT),
];

/// A number (also a whole one) is a double.
const VALUE: Kinds = Kinds::DOUBLE.with(Kinds::BOOL).with(Kinds::STRING);
const UNIT: Kinds = Kinds::STRING.with(Kinds::NULL);

/// Functions on an argument, and methods.
const FUNCTIONS: &str = "size, contains, startsWith, endsWith, double, int, uint, string, bool";
const MACROS: &str = "all, exists, exists_one, filter, map";

/// The most brackets that are opened: with the next bound it keeps the depth of what
/// is parsed, walked and evaluated far from the end of any stack.
const MAX_BRACKETS: usize = 48;

/// The most operators, dots and commas.
const MAX_OPERATORS: usize = 128;

const EXAMPLE: &str = "write a condition such as `event.value > 30.0 && event.value < 80.0`";

/// Parses and checks. The positions of errors are in characters, from 1.
pub(super) fn compile(source: &str) -> Result<Program, Error> {
    bounds(source)?;
    let program = parse(source)?;
    let checker = Checker {
        info: program.source_info(),
    };
    let root = program.expression();
    let found = checker.part(root, &mut Scope::default())?;
    if !found.kinds.meets(Kinds::BOOL) {
        let what = format!("the expression is {}, never true or false", found.kinds);
        return Err(checker.error(
            root,
            what,
            "compare it with something, as in `event.value > 30.0`",
        ));
    }
    let constant = constant(root);
    if !asks(root) || constant.is_some() {
        let what = match constant {
            Some(true) => "the expression is true whatever the sample is",
            Some(false) => "the expression is false whatever the sample is",
            None => "the expression asks nothing of the sample: it comes out the same each time",
        };
        return Err(checker.error(root, what, "ask for the sample, as in `event.value > 30.0`"));
    }
    Ok(program)
}

/// Whether some part depends on the sample.
fn asks(part: &IdedExpr) -> bool {
    match &part.expr {
        Expr::Select(select) => field(part).is_some() || asks(&select.operand),
        Expr::List(list) => list.elements.iter().any(asks),
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .any(asks),
        Expr::Comprehension(of) => [
            &of.iter_range,
            &of.accu_init,
            &of.loop_cond,
            &of.loop_step,
            &of.result,
        ]
        .into_iter()
        .any(asks),
        Expr::Literal(_) | Expr::Ident(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
            false
        }
    }
}

/// What a part comes to whatever the sample, as far as `true` and `false` are written in it.
fn constant(part: &IdedExpr) -> Option<bool> {
    let call = match &part.expr {
        Expr::Literal(LiteralValue::Boolean(known)) => return Some(**known),
        Expr::Call(call) if call.target.is_none() => call,
        _ => return None,
    };
    let given: Vec<Option<bool>> = call.args.iter().map(constant).collect();
    match (call.func_name.as_str(), given.as_slice()) {
        (operators::LOGICAL_NOT, [one]) => one.map(|known| !known),
        (operators::LOGICAL_AND, [Some(false), _] | [_, Some(false)]) => Some(false),
        (operators::LOGICAL_OR, [Some(true), _] | [_, Some(true)]) => Some(true),
        (operators::LOGICAL_AND, [Some(true), Some(true)]) => Some(true),
        (operators::LOGICAL_OR, [Some(false), Some(false)]) => Some(false),
        (operators::CONDITIONAL, [Some(true), one, _] | [Some(false), _, one]) => *one,
        (operators::CONDITIONAL, [_, Some(one), Some(other)]) if one == other => Some(*one),
        _ => None,
    }
}

/// The name of the field if this is `event.NAME`.
pub(super) fn field(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Select(select) if !select.test => {
            let Expr::Ident(name) = &select.operand.expr else {
                return None;
            };
            (name == "event").then_some(select.field.as_str())
        }
        _ => None,
    }
}

fn refused(at: usize, what: impl Into<String>, right: impl Into<String>) -> Error {
    Error::Expression {
        at,
        what: what.into(),
        right: right.into(),
    }
}

/// Before anything is parsed. Characters in quotes count too: what is counted here
/// does not depend on where a parser sees quotes.
fn bounds(source: &str) -> Result<(), Error> {
    if source.trim().is_empty() {
        return Err(refused(1, "it is empty", EXAMPLE));
    }
    if source.len() > MAX_EXPRESSION {
        return Err(refused(
            1,
            format!("it has {} bytes", source.len()),
            format!("write at most {MAX_EXPRESSION}"),
        ));
    }
    let (mut brackets, mut operators, mut before) = (0, 0, ' ');
    for (index, c) in source.chars().enumerate() {
        brackets += usize::from("([{".contains(c));
        operators += usize::from("+-*/%!<>=&|?:.,".contains(c) || (before, c) == ('i', 'n'));
        before = c;
        if c.is_control() && !"\n\r\t".contains(c) {
            let right = "leave it out; in quotes, write it as an escape such as \\u0007";
            return Err(refused(index + 1, "a control character", right));
        }
        if brackets > MAX_BRACKETS || operators > MAX_OPERATORS {
            return Err(refused(
                index + 1,
                format!(
                    "it has more than {MAX_OPERATORS} operators, dots and commas, or more than \
                     {MAX_BRACKETS} brackets"
                ),
                "write less in one expression; two conditions are two workflows",
            ));
        }
    }
    Ok(())
}

fn parse(source: &str) -> Result<Program, Error> {
    let env = Env::stdlib().with_optional_support(false);
    env.compile(source)
        .map_err(|errors| syntax(source, &errors))
}

/// The first syntax error, without the parser's list of all that it would have taken.
fn syntax(source: &str, errors: &ParseErrors) -> Error {
    let Some(first) = errors.errors.first() else {
        return refused(1, "it cannot be read", EXAMPLE);
    };
    let (line, column) = (
        usize::try_from(first.pos.0).unwrap_or(1).max(1),
        usize::try_from(first.pos.1).unwrap_or(1).max(1),
    );
    let before: usize = source
        .split_inclusive('\n')
        .take(line - 1)
        .map(|line| line.chars().count())
        .sum();
    let at = (before + column).min(source.chars().count() + 1);
    let message = first.msg.trim_start_matches("Syntax error: ");
    let message = message.split(" expecting ").next().unwrap_or_default();
    let message: String = message
        .replace("<EOF>", "end of the expression")
        .chars()
        .take(120)
        .collect();
    refused(at, message, EXAMPLE)
}

/// What a part can be, and what its items can be if it is a list.
#[derive(Debug, Clone, Copy)]
struct Found {
    kinds: Kinds,
    items: Kinds,
}

impl Found {
    const ANY: Self = Self {
        kinds: Kinds::ANY,
        items: Kinds::ANY,
    };

    const fn of(kinds: Kinds) -> Self {
        Self {
            kinds,
            items: Kinds::NONE,
        }
    }

    /// What is known of an item that can be this.
    fn item(kinds: Kinds) -> Self {
        Self {
            kinds,
            items: if kinds.meets(Kinds::LIST) {
                Kinds::ANY
            } else {
                Kinds::NONE
            },
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            kinds: self.kinds | other.kinds,
            items: self.items | other.items,
        }
    }
}

/// Names that a macro has introduced.
#[derive(Default)]
struct Scope {
    names: Vec<(String, Found)>,
}

struct Checker<'a> {
    info: &'a SourceInfo,
}

impl Checker<'_> {
    fn error(&self, part: &IdedExpr, what: impl Into<String>, right: impl Into<String>) -> Error {
        // In bytes.
        let start = self.info.offset_for(part.id).map_or(0, |(start, _)| start);
        let before = self.info.source.get(..start as usize);
        refused(
            before.map_or(0, |text| text.chars().count()) + 1,
            what,
            right,
        )
    }

    fn part(&self, part: &IdedExpr, scope: &mut Scope) -> Result<Found, Error> {
        match &part.expr {
            Expr::Literal(literal) => Ok(Found::of(kind(literal))),
            Expr::Ident(name) => self.name(part, name, scope),
            Expr::Select(select) => {
                if select.test {
                    let right = "each field is always there; ask `event.unit != null`";
                    return Err(self.error(part, "`has` is of no use here", right));
                }
                let Some(name) = field(part) else {
                    self.part(&select.operand, scope)?;
                    let what = format!("`.{}` is no field of this", select.field);
                    let right = format!("only `event` has fields: {}", fields());
                    return Err(self.error(part, what, right));
                };
                let known = FIELDS.iter().find(|(field, _)| *field == name);
                known.map(|(_, kinds)| Found::of(*kinds)).ok_or_else(|| {
                    let right = format!("known are {}", fields());
                    self.error(part, format!("`event.{name}` is not known"), right)
                })
            }
            Expr::List(list) => {
                let mut items = Kinds::NONE;
                for element in &list.elements {
                    items = items | self.part(element, scope)?.kinds;
                }
                Ok(Found {
                    kinds: Kinds::LIST,
                    items,
                })
            }
            Expr::Call(call) => self.call(part, call, scope),
            Expr::Comprehension(comprehension) => self.comprehension(part, comprehension, scope),
            Expr::Map(_) | Expr::Struct(_) => Err(self.error(
                part,
                "maps and messages are not allowed",
                "write a list, as in `event.unit in [\"degC\", \"K\"]`",
            )),
            Expr::Unspecified => Err(self.error(part, "it cannot be read", EXAMPLE)),
        }
    }

    fn name(&self, part: &IdedExpr, name: &str, scope: &Scope) -> Result<Found, Error> {
        let known = scope.names.iter().rev().find(|(known, _)| known == name);
        if let Some((_, found)) = known {
            return Ok(*found);
        }
        let (what, right) = match name {
            "event" => (
                "`event` alone is no value".to_owned(),
                format!("write one of its fields: {}", fields()),
            ),
            _ if FIELDS.iter().any(|(field, _)| *field == name) => (
                format!("`{name}` is not known"),
                format!("write `event.{name}`"),
            ),
            _ => (
                format!("`{name}` is not known"),
                format!("known are {}; texts stand in quotes", fields()),
            ),
        };
        Err(self.error(part, what, right))
    }

    /// `list.exists(name, condition)` and its like. One may not hold another: so the
    /// work is at most the list's length times the expression's.
    fn comprehension(
        &self,
        part: &IdedExpr,
        of: &ComprehensionExpr,
        scope: &mut Scope,
    ) -> Result<Found, Error> {
        if !scope.names.is_empty() {
            let right = format!("use one of {MACROS} at a time");
            return Err(self.error(part, "a macro in a macro", right));
        }
        if of.iter_var == "event" || of.iter_var2.as_deref() == Some("event") {
            let right = "name it otherwise: `event` is the sample";
            return Err(self.error(part, "a macro's name hides `event`", right));
        }
        // What the list is may not need a macro either.
        scope.names.push((String::new(), Found::ANY));
        let range = self.part(&of.iter_range, scope)?;
        if !range.kinds.meets(Kinds::LIST) {
            let what = format!("a macro over {}", range.kinds);
            return Err(self.error(part, what, "write it behind a list"));
        }
        let item = Found::item(range.items);
        scope.names.push((of.iter_var.clone(), item));
        if let Some(second) = &of.iter_var2 {
            scope.names.push((second.clone(), Found::ANY));
        }
        let start = self.part(&of.accu_init, scope)?;
        scope.names.push((of.accu_var.clone(), Found::ANY));
        self.part(&of.loop_cond, scope)?;
        let step = self.part(&of.loop_step, scope)?;
        self.part(&of.result, scope)?;
        scope.names.clear();
        Ok(match start.kinds {
            Kinds::BOOL => Found::of(Kinds::BOOL),
            Kinds::LIST => Found {
                kinds: Kinds::LIST,
                items: step.items,
            },
            // `exists_one` counts.
            _ => Found::of(Kinds::BOOL),
        })
    }

    fn call(&self, part: &IdedExpr, call: &CallExpr, scope: &mut Scope) -> Result<Found, Error> {
        let mut given: Vec<Found> = Vec::with_capacity(call.args.len() + 1);
        for one in call.target.as_deref().into_iter().chain(&call.args) {
            given.push(self.part(one, scope)?);
        }
        let name = call.func_name.as_str();
        let Some(result) = result(name, call.target.is_some(), &given) else {
            return Err(self.unknown(part, call));
        };
        if let Some(found) = result {
            return Ok(found);
        }
        let kinds: Vec<String> = given.iter().map(|one| one.kinds.to_string()).collect();
        let what = match operator(name) {
            Some("!" | "-") if kinds.len() == 1 => {
                format!(
                    "`{}` does not go with {}",
                    operator(name).unwrap_or_default(),
                    kinds[0]
                )
            }
            Some("?:") => format!("the condition before `?` is {}", kinds[0]),
            Some(operator) => format!("`{operator}` does not go with {}", kinds.join(" and ")),
            None => format!("`{name}` does not take {}", kinds.join(" and ")),
        };
        let numbers = given.iter().any(|one| one.kinds.meets(Kinds::DOUBLE))
            && given.iter().any(|one| one.kinds == Kinds::INT);
        let right = match operator(name) {
            Some("+" | "-" | "*" | "/") if numbers => {
                "write the number with a point, as in `1.0`: numbers of samples are doubles"
            }
            Some("%") => "convert it first, as in `int(event.value) % 2`",
            Some("&&" | "||" | "!" | "?:") => "write conditions there, as in `event.value > 30.0`",
            Some(_) => "compare and combine values of one kind: numbers, or texts in quotes",
            None => "give it what it takes: texts in quotes, lists in brackets",
        };
        Err(self.error(part, what, right))
    }

    fn unknown(&self, part: &IdedExpr, call: &CallExpr) -> Error {
        let name = &call.func_name;
        let is_macro = MACROS.split(", ").any(|known| known == name) || name == "has";
        let (what, right) = match (is_macro, operator(name)) {
            (true, _) => (
                format!("`{name}` is not written like this"),
                format!("write `[1.0, 2.0].{name}(x, event.value > x)`"),
            ),
            (false, Some(operator)) => (format!("`{operator}` is not allowed"), EXAMPLE.to_owned()),
            (false, None) => (
                format!("the function `{name}` is not known here"),
                format!("known are {FUNCTIONS}, and on lists {MACROS}"),
            ),
        };
        self.error(part, what, right)
    }
}

/// `event.value`, `event.device`, …
fn fields() -> String {
    FIELDS.map(|(name, _)| format!("`event.{name}`")).join(", ")
}

const fn kind(literal: &LiteralValue) -> Kinds {
    match literal {
        LiteralValue::Boolean(_) => Kinds::BOOL,
        LiteralValue::Bytes(_) => Kinds::BYTES,
        LiteralValue::Double(_) => Kinds::DOUBLE,
        LiteralValue::Int(_) => Kinds::INT,
        LiteralValue::Null => Kinds::NULL,
        LiteralValue::String(_) => Kinds::STRING,
        LiteralValue::UInt(_) => Kinds::UINT,
    }
}

/// How an operator is written.
fn operator(name: &str) -> Option<&'static str> {
    Some(match name {
        operators::CONDITIONAL => "?:",
        operators::LOGICAL_AND => "&&",
        operators::LOGICAL_OR => "||",
        operators::LOGICAL_NOT => "!",
        operators::SUBSTRACT | operators::NEGATE => "-",
        operators::ADD => "+",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::GREATER_EQUALS => ">=",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::LESS => "<",
        operators::INDEX => "[]",
        operators::OPT_INDEX => "[?]",
        operators::OPT_SELECT => ".?",
        operators::IN => "in",
        _ => return None,
    })
}

/// What a call with these comes to: the outer `None` if there is no such function, the
/// inner one if it would fail whatever the values.
fn result(name: &str, is_method: bool, given: &[Found]) -> Option<Option<Found>> {
    let known = |found: Kinds| (!found.is_empty()).then_some(Found::of(found));
    let yes = |possible: bool| possible.then_some(Found::of(Kinds::BOOL));
    let same = |allowed: Kinds| {
        let [a, b] = given else { return None };
        let found = a.kinds.and(b.kinds).and(allowed);
        (!found.is_empty()).then(|| Found {
            kinds: found,
            items: a.items | b.items,
        })
    };
    let number = Kinds::NUMBER;
    let texts = Kinds::STRING | Kinds::BYTES;
    let sized = texts | Kinds::LIST;
    Some(match (name, is_method, given) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR, false, [a, b]) => {
            yes(a.kinds.meets(Kinds::BOOL) && b.kinds.meets(Kinds::BOOL))
        }
        (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, false, [a]) => {
            yes(a.kinds.meets(Kinds::BOOL))
        }
        (operators::NEGATE, false, [a]) => known(a.kinds.and(Kinds::INT | Kinds::DOUBLE)),
        (operators::CONDITIONAL, false, [condition, a, b]) => {
            condition.kinds.meets(Kinds::BOOL).then(|| a.or(*b))
        }
        (operators::EQUALS | operators::NOT_EQUALS, false, [a, b]) => {
            yes(a.kinds.compares(b.kinds))
        }
        (
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            false,
            [a, b],
        ) => {
            let ordered = number | texts | Kinds::BOOL;
            yes(a.kinds.and(ordered).compares(b.kinds.and(ordered)))
        }
        (operators::ADD, false, [_, _]) => same(number | sized),
        (operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE, false, [_, _]) => {
            same(number)
        }
        (operators::MODULO, false, [_, _]) => same(Kinds::INT | Kinds::UINT),
        (operators::IN, false, [item, list]) => {
            yes(list.kinds.meets(Kinds::LIST) && item.kinds.compares(list.items))
        }
        (operators::INDEX, false, [list, at]) => {
            let possible = list.kinds.meets(Kinds::LIST) && at.kinds.meets(number);
            possible.then(|| Found::item(list.items))
        }
        ("size", _, [a]) => a.kinds.meets(sized).then_some(Found::of(Kinds::INT)),
        ("contains" | "startsWith" | "endsWith", true, [a, b]) => {
            yes(a.kinds.meets(Kinds::STRING) && b.kinds.meets(Kinds::STRING))
        }
        ("double", false, [a]) => {
            let possible = a.kinds.meets(number | Kinds::STRING);
            possible.then_some(Found::of(Kinds::DOUBLE))
        }
        ("int", false, [a]) => {
            let possible = a.kinds.meets(number | Kinds::STRING);
            possible.then_some(Found::of(Kinds::INT))
        }
        ("uint", false, [a]) => {
            let possible = a.kinds.meets(number | Kinds::STRING);
            possible.then_some(Found::of(Kinds::UINT))
        }
        ("bool", false, [a]) => yes(a.kinds.meets(Kinds::BOOL | Kinds::STRING)),
        ("string", false, [a]) => {
            let possible = a.kinds.meets(number | texts | Kinds::BOOL);
            possible.then_some(Found::of(Kinds::STRING))
        }
        _ => return None,
    })
}
