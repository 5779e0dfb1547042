//! Rendering `Dockerfile.template`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use super::bounds::{self, TOO_MUCH, Written};
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

/// What filters know of labels, and what they were asked.
#[derive(Debug, Default)]
pub struct Asked {
    pub labels: BTreeMap<TargetName, String>,
    pub unknown: BTreeSet<TargetName>,
    pub warnings: BTreeSet<String>,
}

pub type Shared = Arc<Mutex<Asked>>;

/// How many instructions of the template engine a template may take.
const FUEL: u64 = 1_000_000;
/// How often a template is rendered while it keeps asking for further labels.
const MAX_ROUNDS: usize = 20;

/// Renders the template of a directory. Fails with the file, the line and the reason.
///
/// It may include what is in its directory, and nothing else.
pub fn render(dir: &Path, config: &Config, labels: Labels<'_>) -> Result<Rendering, String> {
    let path = dir.join(TEMPLATE);
    let source = read_text(&path)?;
    let shared = Shared::default();
    let environment = environment(dir, config, &shared);
    let template = environment
        .template_from_named_str(TEMPLATE, &source)
        .map_err(|why| told(dir, &why))?;
    let variables = variables(config);
    // Filters cannot borrow, so labels are looked up between two renderings.
    for _ in 0..MAX_ROUNDS {
        let mut written = Written::default();
        let rendered = template
            .render_captured_to(&variables, &mut written)
            .map(drop);
        let mut asked = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = std::mem::take(&mut asked.unknown);
        if unknown.is_empty() {
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
                .map_err(|_| format!("{}: makes what is not UTF-8", path.display()))?;
            text.push('\n');
            return Ok(Rendering {
                text,
                names: asked.labels.keys().cloned().collect(),
                warnings: std::mem::take(&mut asked.warnings),
            });
        }
        for name in unknown {
            let label = labels(&name).map_err(|why| format!("{}: {why}", path.display()))?;
            asked.labels.insert(name, label);
        }
    }
    Err(format!("{}: asks for more and more images", path.display()))
}

fn environment(dir: &Path, config: &Config, shared: &Shared) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    bounds::add(&mut environment);
    let dir = dir.to_owned();
    environment.set_loader(move |name| included(&dir, name));
    filters::add(&mut environment, config, shared);
    environment
}

fn variables(config: &Config) -> BTreeMap<String, Value> {
    let text = |text: Option<&str>| Value::from(text.unwrap_or_default());
    let mut variables = BTreeMap::from([
        (
            "registry".to_owned(),
            text(config.registry.as_ref().map(AsRef::as_ref)),
        ),
        (
            "namespace".to_owned(),
            text(config.prefix.as_ref().map(AsRef::as_ref)),
        ),
    ]);
    let own = config.variables.iter();
    variables.extend(own.map(|(name, value)| (name.clone(), value_of(value))));
    variables
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
        (ErrorKind::WriteFailure, _) => TOO_MUCH.to_owned(),
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
