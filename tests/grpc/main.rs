//! The native surface, through the real binary, over real sockets.

#[path = "../common/mod.rs"]
mod common;

mod bad_configs;
mod bad_input;
mod build_cache;
mod build_targets;
mod builders;
mod configs;
mod history;
mod images;
mod import;
mod lineage;
mod listing;
mod malformed;
mod many_configs;
mod namespaces;
mod protocol;
mod victim;
mod watch;
