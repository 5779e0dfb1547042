//! The native surface, through the real binary, over real sockets.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod history;
mod images;
mod import;
mod listing;
mod malformed;
mod namespaces;
mod protocol;
mod victim;
mod watch;
