//! Rendering `Dockerfile.template`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use minijinja_contrib::pycompat;
use serde::{Deserialize, Serialize};

use super::filters;
use super::found::TEMPLATE;
use crate::cli::build::config::Config;
use crate::cli::build::written::read_text;
use crate::domain::build::TargetName;

/// What a template came to.
#[derive(Debug)]
pub struct Rendering {
    pub text: String,
    /// The images whose labels it asked for.
    pub names: BTreeSet<TargetName>,
    pub warnings: BTreeSet<String>,
}

/// The label of a target, or why there is none.
pub type Labels<'a> = &'a dyn Fn(&TargetName) -> Result<String, String>;

/// Whatever answers orders: a [`Renderer`](super::Renderer), or [`answer`] itself.
pub type Engine<'a> = &'a mut dyn FnMut(&Order) -> Result<Answer, String>;

/// A template to render, and what it is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    #[serde(with = "as_bytes")]
    dir: PathBuf,
    settings: Settings,
    /// By the name of the target.
    labels: BTreeMap<String, String>,
}

/// What of the worker's settings a template may see.
#[derive(Debug, Serialize, Deserialize)]
pub struct Settings {
    registry: String,
    namespace: String,
    #[serde(with = "as_toml")]
    pub variables: BTreeMap<String, toml::Value>,
    pub uids: BTreeMap<String, u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Whole {
        text: String,
        warnings: BTreeSet<String>,
    },
    /// The targets whose labels it wants to know first.
    Asks(BTreeSet<String>),
}

/// What filters know of labels, and what they were asked.
#[derive(Debug, Default)]
pub struct Asked {
    pub labels: BTreeMap<String, String>,
    pub unknown: BTreeSet<String>,
    pub warnings: BTreeSet<String>,
}

pub type Shared = Arc<Mutex<Asked>>;

/// What a template wrote.
#[derive(Default)]
struct Written(Vec<u8>);

/// How many instructions of the template engine a template may take.
const FUEL: u64 = 1_000_000;
/// What a template may write.
pub const MAX_BYTES: usize = 64 << 20;
/// How often a template is rendered while it keeps asking for further labels.
const MAX_ROUNDS: usize = 20;

/// Renders the template of a directory. Fails with the file, the line and the reason.
///
/// It may include what is in its directory, and nothing else.
pub fn render(
    dir: &Path,
    config: &Config,
    labels: Labels<'_>,
    engine: Engine<'_>,
) -> Result<Rendering, String> {
    let mut order = Order::new(dir, config);
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", dir.join(TEMPLATE).display());
    let mut names = BTreeSet::new();
    // Filters cannot borrow, so labels are looked up between two renderings.
    for _ in 0..MAX_ROUNDS {
        match engine(&order)? {
            Answer::Whole { text, warnings } => {
                return Ok(Rendering {
                    text,
                    names,
                    warnings,
                });
            }
            Answer::Asks(unknown) => {
                for text in unknown {
                    let name: TargetName = text.parse().map_err(|why| wrong(&why))?;
                    let label = labels(&name).map_err(|why| wrong(&why))?;
                    order.labels.insert(text, label);
                    names.insert(name);
                }
            }
        }
    }
    Err(wrong(&"asks for more and more images"))
}

/// Renders a template as far as that goes with what it is told.
pub fn answer(order: &Order) -> Result<Answer, String> {
    let Order {
        dir,
        settings,
        labels,
    } = order;
    let source = read_text(&order.path())?;
    let shared = Shared::default();
    asked(&shared).labels.clone_from(labels);
    let environment = environment(dir, settings, &shared);
    let template = environment
        .template_from_named_str(TEMPLATE, &source)
        .map_err(|why| told(dir, &why))?;
    let variables = settings.values();
    let mut written = Written::default();
    let rendered = template
        .render_captured_to(&variables, &mut written)
        .map(drop);
    let Asked {
        unknown, warnings, ..
    } = std::mem::take(&mut *asked(&shared));
    if !unknown.is_empty() {
        return Ok(Answer::Asks(unknown));
    }
    rendered.map_err(|why| match why.kind() {
        ErrorKind::UndefinedError => {
            let mut names = template.undeclared_variables(false);
            names.retain(|name| !variables.contains_key(name));
            let names: BTreeSet<_> = names.into_iter().collect();
            undefined(dir, &why, &names)
        }
        _ => told(dir, &why),
    })?;
    let mut text = String::from_utf8(written.0)
        .map_err(|_| format!("{}: makes what is not UTF-8", order.path().display()))?;
    text.push('\n');
    Ok(Answer::Whole { text, warnings })
}

pub fn asked(shared: &Shared) -> std::sync::MutexGuard<'_, Asked> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn environment(dir: &Path, settings: &Settings, shared: &Shared) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(pycompat::unknown_method_callback);
    let dir = dir.to_owned();
    environment.set_loader(move |name| included(&dir, name));
    filters::add(&mut environment, settings, shared);
    environment
}

// === impl Order ===

impl Order {
    fn new(dir: &Path, config: &Config) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self {
            dir: dir.to_owned(),
            settings: Settings {
                registry: text(config.registry.as_ref().map(AsRef::as_ref)),
                namespace: text(config.prefix.as_ref().map(AsRef::as_ref)),
                variables: config.variables.clone(),
                uids: config.uids.clone(),
            },
            labels: BTreeMap::new(),
        }
    }

    /// Whether it is the first about its template: labels come with those that follow.
    pub fn begins_a_template(&self) -> bool {
        self.labels.is_empty()
    }

    /// The template.
    pub fn path(&self) -> PathBuf {
        self.dir.join(TEMPLATE)
    }
}

/// A path, which need not be UTF-8.
mod as_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().as_bytes().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(OsString::from_vec(Vec::deserialize(from)?).into())
    }
}

/// Values as they were written down: JSON has no dates and no infinity, and another reading of numbers.
mod as_toml {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
    use toml::Value;

    pub fn serialize<S: Serializer>(
        values: &BTreeMap<String, Value>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let text = toml::to_string(values).map_err(ser::Error::custom)?;
        text.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<String, Value>, D::Error> {
        toml::from_str(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

// === impl Settings ===

impl Settings {
    fn values(&self) -> BTreeMap<String, Value> {
        let mut values = BTreeMap::from([
            ("registry".to_owned(), Value::from(&*self.registry)),
            ("namespace".to_owned(), Value::from(&*self.namespace)),
        ]);
        let own = self.variables.iter();
        values.extend(own.map(|(name, value)| (name.clone(), value_of(value))));
        values
    }
}

// === impl Written ===

impl io::Write for Written {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.0.len() + text.len() > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn value_of(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(is_so) => (*is_so).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.iter().map(value_of).collect(),
        toml::Value::Table(table) => {
            let pairs = table
                .iter()
                .map(|(name, value)| (name.clone(), value_of(value)));
            Value::from(pairs.collect::<BTreeMap<_, _>>())
        }
    }
}

/// A file that a template includes. Links may not lead out of the directory either.
fn included(dir: &Path, name: &str) -> Result<Option<String>, Error> {
    let refused = |why: String| Error::new(ErrorKind::InvalidOperation, why);
    let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !Path::new(name).components().all(is_inside) {
        return Err(refused(format!(
            "{name:?} is not in the directory of the image"
        )));
    }
    let Ok(path) = dir.join(name).canonicalize() else {
        return Ok(None);
    };
    if !dir.canonicalize().is_ok_and(|dir| path.starts_with(dir)) {
        return Err(refused(format!(
            "{name:?} leads out of the directory of the image"
        )));
    }
    read_text(&path).map(Some).map_err(refused)
}

/// `PATH:LINE: REASON`, of the file where it went wrong.
fn told(dir: &Path, why: &Error) -> String {
    let mut innermost = why;
    let mut cause = std::error::Error::source(why);
    while let Some(deeper) = cause {
        match deeper.downcast_ref::<Error>() {
            Some(deeper) if deeper.name().is_some() => innermost = deeper,
            Some(_) | None => {}
        }
        cause = deeper.source();
    }
    let path = dir.join(innermost.name().unwrap_or(TEMPLATE));
    let reason = match (innermost.kind(), innermost.detail()) {
        (ErrorKind::OutOfFuel, _) => {
            "takes too long to render; does a loop in it have no end?".to_owned()
        }
        (ErrorKind::WriteFailure, _) => "makes more than 64 MiB of text".to_owned(),
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    match innermost.line() {
        Some(line) => format!("{}:{line}: {reason}", path.display()),
        None => format!("{}: {reason}", path.display()),
    }
}

/// With the variables that it may be about.
fn undefined(dir: &Path, why: &Error, names: &BTreeSet<String>) -> String {
    let told = told(dir, why);
    if names.is_empty() {
        return told;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!("{told} (not among [variables]: {})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn an_order_arrives_as_it_was_given() {
        let variables = "a = inf\nb = -nan\nc = -9815901.228912301\nd = 2026-11-22T10:00:00Z\n\
                         e = [1, 'x', [true]]\nf.g = 'é'\nh = 10:00:00\ni = 9223372036854775807\n";
        let order = Order {
            dir: OsStr::from_bytes(b"/d\xff").into(),
            settings: Settings {
                registry: "r".to_owned(),
                namespace: "n".to_owned(),
                variables: toml::from_str(variables).unwrap(),
                uids: BTreeMap::from([("u".to_owned(), 7)]),
            },
            labels: BTreeMap::from([("l".to_owned(), "l:1".to_owned())]),
        };
        let line = serde_json::to_string(&order).unwrap();
        let arrived: Order = serde_json::from_str(&line).unwrap();
        assert_eq!(arrived.path(), order.path());
        assert_eq!(format!("{arrived:?}"), format!("{order:?}"));
        assert!(!line.contains('\n'), "an order is a line");
    }
}
