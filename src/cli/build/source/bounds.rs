//! How much text a template makes: what it writes, and what its filters and methods return, on the way as well.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Kwargs, Rest, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value, escape_formatter, filters};
use minijinja_contrib::pycompat;

/// Bytes that all renderings of one template make.
const MAX_MADE: usize = 64 << 20;
/// How many parts a list is cut into at most.
const MAX_PARTS: usize = 100_000;

/// How many items a list has that is gone through.
const MAX_ITEMS: usize = 1_000_000;

/// What was made so far, in bytes.
#[derive(Clone, Default)]
struct Made(Arc<AtomicUsize>);

/// What a filter makes at most of its value, of its further arguments, and of those with names.
type Estimate = fn(&Value, &[Value], &Kwargs) -> Result<usize, Error>;

/// What a template wrote.
#[derive(Default)]
pub struct Written(pub Vec<u8>);

/// Puts bounded filters and methods in place of those that there are.
pub fn add(environment: &mut Environment<'static>) {
    let made = Made::default();
    let all: [(&'static str, Value, Estimate); 13] = [
        ("indent", Value::from_function(filters::indent), indented),
        (
            "join",
            Value::from_function(filters::join),
            |value, rest, named| {
                let separator = match rest {
                    [separator, ..] => Some(separator.clone()),
                    [] => named.get("d")?,
                };
                joined(value, separator.as_ref())
            },
        ),
        ("replace", Value::from_function(filters::replace), replaced),
        ("format", Value::from_function(filters::format), formatted),
        ("batch", Value::from_function(filters::batch), cut),
        ("slice", Value::from_function(filters::slice), cut),
        ("upper", Value::from_function(filters::upper), same),
        ("lower", Value::from_function(filters::lower), same),
        ("title", Value::from_function(filters::title), same),
        (
            "capitalize",
            Value::from_function(filters::capitalize),
            same,
        ),
        ("trim", Value::from_function(filters::trim), same),
        ("string", Value::from_function(filters::string), same),
        ("pprint", Value::from_function(filters::pprint), same),
    ];
    for (name, filter, estimate) in all {
        let made = made.clone();
        let bounded = move |state: &mut State<'_, '_>, arguments: Rest<ValueOrKwargs>| {
            let mut arguments = arguments.into_values();
            if let Some(first) = arguments.first_mut() {
                *first = at_hand(first)?;
            }
            if let (Some(first), rest) = (arguments.first(), arguments.get(1..)) {
                let (rest, named) = from_args::<(&[Value], Kwargs)>(rest.unwrap_or_default())?;
                made.add(estimate(first, rest, &named)?)?;
            }
            filter.call(state, &arguments)
        };
        environment.add_filter(name, bounded);
    }
    let methods = made.clone();
    environment.set_unknown_method_callback(move |state, value, method, arguments| {
        if let Some(text) = value.as_str() {
            let (rest, named) = from_args::<(&[Value], Kwargs)>(arguments)?;
            let estimate = match (method, rest) {
                ("replace", _) => replaced(value, rest, &named)?,
                ("format", _) => formatted(value, arguments, &named)?,
                ("join", [parts]) => joined(parts, Some(value))?,
                _ => text.len(),
            };
            methods.add(estimate)?;
        }
        pycompat::unknown_method_callback(state, value, method, arguments)
    });
    environment.set_formatter(move |out, state, value| {
        made.add(bytes(value)?)?;
        escape_formatter(out, state, value)
    });
}

impl Made {
    fn add(&self, bytes: usize) -> Result<(), Error> {
        let before = self.0.fetch_add(bytes.min(MAX_MADE + 1), Ordering::Relaxed);
        match before.saturating_add(bytes) > MAX_MADE {
            true => Err(too_much()),
            false => Ok(()),
        }
    }
}

impl io::Write for Written {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.0.len() + text.len() > MAX_MADE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub const TOO_MUCH: &str = "makes more than 64 MiB of text";

fn too_much() -> Error {
    Error::new(ErrorKind::InvalidOperation, TOO_MUCH)
}

/// Bytes of a value as text. Refuses more than may be made at all.
fn bytes(value: &Value) -> Result<usize, Error> {
    struct Left(usize);
    impl fmt::Write for Left {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    if let Some(text) = value.as_str() {
        return Ok(text.len());
    }
    has_few(value)?;
    let mut left = Left(MAX_MADE);
    match write!(left, "{value}") {
        Ok(()) => Ok(MAX_MADE - left.0),
        Err(fmt::Error) => Err(too_much()),
    }
}

/// A value that can be gone through more than once.
fn at_hand(value: &Value) -> Result<Value, Error> {
    use minijinja::value::ValueKind;
    match value.kind() {
        ValueKind::String => Ok(value.clone()),
        ValueKind::Iterable => {
            has_few(value)?;
            let items: Value = value.try_iter()?.take(MAX_ITEMS + 1).collect();
            has_few(&items)?;
            Ok(items)
        }
        _ => has_few(value).map(|()| value.clone()),
    }
}

fn has_few(value: &Value) -> Result<(), Error> {
    match value.len().is_some_and(|many| many > MAX_ITEMS) {
        true => Err(Error::new(
            ErrorKind::InvalidOperation,
            "makes a list of more than 1,000,000 items",
        )),
        false => Ok(()),
    }
}

fn same(value: &Value, _: &[Value], _: &Kwargs) -> Result<usize, Error> {
    bytes(value)
}

fn indented(value: &Value, rest: &[Value], named: &Kwargs) -> Result<usize, Error> {
    let width = match rest {
        [width, ..] => width.as_usize(),
        [] => named.get("width")?,
    };
    let lines = 1 + value.as_str().unwrap_or_default().matches('\n').count();
    Ok(lines
        .saturating_mul(width.unwrap_or(4))
        .saturating_add(bytes(value)?))
}

fn joined(parts: &Value, separator: Option<&Value>) -> Result<usize, Error> {
    let separator = separator.map_or(Ok(0), bytes)?;
    let mut most = 0_usize;
    for part in parts.try_iter().into_iter().flatten() {
        most = most.saturating_add(bytes(&part)?).saturating_add(separator);
        if most > MAX_MADE {
            break;
        }
    }
    Ok(most)
}

fn replaced(value: &Value, rest: &[Value], _: &Kwargs) -> Result<usize, Error> {
    let whole = bytes(value)?;
    let [from, to, ..] = rest else {
        return Ok(whole);
    };
    bytes(from)?;
    let many = value.to_string().matches(&from.to_string()).count();
    Ok(many.saturating_mul(bytes(to)?).saturating_add(whole))
}

/// By the widths that are written in it, and by how often it names the longest argument.
fn formatted(value: &Value, rest: &[Value], _: &Kwargs) -> Result<usize, Error> {
    let text = value.as_str().unwrap_or_default();
    let mut longest = 0;
    for argument in rest {
        longest = longest.max(bytes(argument)?);
    }
    let mut most = text.len();
    for place in text.split(['%', '{']).skip(1) {
        most = most.saturating_add(longest);
        let is_spec = |c: char| !c.is_ascii_alphabetic() && c != '}';
        let spec = match place
            .strip_prefix('(')
            .and_then(|named| named.split_once(')'))
        {
            Some((_, spec)) => spec,
            // A name comes before the colon.
            None => place.split_once(':').map_or(place, |(_, spec)| spec),
        };
        let end = spec.find(|c| !is_spec(c)).unwrap_or(spec.len());
        for number in spec[..end].split(|c: char| !c.is_ascii_digit()) {
            let width = match number {
                "" => 0,
                number => number.parse().unwrap_or(usize::MAX),
            };
            most = most.saturating_add(width);
        }
    }
    Ok(most)
}

fn cut(value: &Value, rest: &[Value], _: &Kwargs) -> Result<usize, Error> {
    match rest.first().and_then(Value::as_usize) {
        Some(parts) if parts > MAX_PARTS => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("cuts into {parts} parts, more than {MAX_PARTS}"),
        )),
        Some(_) | None => bytes(value),
    }
}
