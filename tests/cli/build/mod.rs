//! `imagestore build` and `imagestore builder`.

mod builders;
mod claims;
mod directories;
mod ending;
mod real;
mod shop;
pub mod site;
mod steps;
mod templates;
mod tokens;
mod tools;
mod update;
mod workers;
