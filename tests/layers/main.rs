//! The layout: `domain, kv <- store <- service <- server <- cli`. Reads the sources and fails on an
//! edge that the layout does not have.

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{has_word, without_comments_and_texts, without_tests};

/// What each module at the top may use of the others; `Store` and `Error` are re-exports at the root.
const EDGES: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("kv", &["proto"]),
    ("proto", &[]),
    ("error", &["domain", "kv"]),
    ("store", &["domain", "kv", "error", "proto"]),
    ("service", &["domain", "kv", "error", "store", "proto"]),
    (
        "server",
        &["domain", "kv", "error", "store", "service", "proto"],
    ),
    (
        "cli",
        &[
            "domain", "kv", "error", "store", "service", "server", "proto",
        ],
    ),
    (
        "lib",
        &[
            "domain", "kv", "error", "store", "service", "server", "cli", "proto",
        ],
    ),
];

/// A word that belongs to some files only, and why.
struct Ban {
    word: &'static str,
    /// Paths that begin so may have it.
    allowed: &'static [&'static str],
    why: &'static str,
}

const BANS: [Ban; 9] = [
    Ban {
        word: "Code::",
        // The layer reads the codes that tonic answers with by itself, and clients read ours.
        allowed: &["src/service/status.rs", "src/service/layer/", "src/cli/"],
        why: "gRPC codes belong to service/status.rs",
    },
    Ban {
        word: "proto::v1",
        allowed: &["src/service/", "src/cli/"],
        why: "messages of the API belong to the faces and to clients",
    },
    Ban {
        word: "proto::storage",
        allowed: &[
            "src/store/wire.rs",
            "src/store/wire/",
            "src/store/backup.rs",
            "src/store/restore.rs",
            "src/kv/change.rs",
            "src/kv/redb/",
        ],
        why: "stored messages belong to the files that write and read them",
    },
    Ban {
        word: "SystemTime",
        allowed: &["src/server/", "src/cli/"],
        why: "the clock comes in as a value from server/",
    },
    Ban {
        word: "Instant::now",
        // Deadlines of what runs now, never a time that is stored: how long a stream may stay open,
        // and how long a call may take.
        allowed: &[
            "src/store/stream.rs",
            "src/service/layer/",
            "src/server/",
            "src/cli/",
        ],
        why: "the clock comes in as a value from server/",
    },
    Ban {
        word: "env::",
        allowed: &["src/server/", "src/cli/"],
        why: "the environment is read by server/ and cli/",
    },
    Ban {
        word: "rand::",
        allowed: &["src/server/"],
        why: "randomness comes in as a value from server/",
    },
    Ban {
        word: "RandomState",
        // Spreads the stripes' keys; nothing of it is stored or seen.
        allowed: &["src/store/edit.rs", "src/server/"],
        why: "randomness comes in as a value from server/",
    },
    Ban {
        word: "tonic",
        allowed: &[
            "src/service/",
            "src/server/",
            "src/cli/",
            "src/proto.rs",
            "src/proto/",
        ],
        why: "gRPC begins at service/",
    },
];

/// What is wrong with a file, a line each. `path` is from the crate's folder, with slashes.
fn faults(path: &str, source: &str) -> Vec<String> {
    let code = without_tests(&without_comments_and_texts(source));
    let mut faults = Vec::new();
    let top = top(path);
    let edges = EDGES.iter().find(|(module, _)| *module == top);
    let Some((_, allowed)) = edges else {
        return vec![format!(
            "{path}: {top} is not in the layout; add it to tests/layers.rs"
        )];
    };
    for used in used(path, &code) {
        let used = match used.as_str() {
            "Store" => "store",
            "Error" => "error",
            other => other,
        };
        let is_module = EDGES
            .iter()
            .any(|(module, _)| *module == used && used != "lib");
        if is_module && used != top && !allowed.contains(&used) {
            faults.push(format!("{path}: {top} must not use {used}"));
        }
    }
    for ban in &BANS {
        let allowed = ban.allowed.iter().any(|allowed| path.starts_with(allowed));
        if !allowed && has_word(&code, ban.word) {
            faults.push(format!("{path}: has {}; {}", ban.word, ban.why));
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

/// The module at the top that a file belongs to: `src/kv/redb/mod.rs` to `kv`.
fn top(path: &str) -> &str {
    let inside = path.trim_start_matches("src/");
    let first = inside
        .split('/')
        .next()
        .expect("split gives at least one part");
    match first.trim_end_matches(".rs") {
        // The binary has the rights of cli, which it calls.
        "main" => "cli",
        first => first,
    }
}

/// The first parts of the paths from the crate's root that a file names, in `crate::`, in `super::`
/// as far as it leaves the module, and in trees of either.
fn used(path: &str, code: &str) -> Vec<String> {
    let packed: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let packed = packed.replace(" ::", "::").replace(":: ", "::");
    let inside = path
        .trim_start_matches("src/")
        .trim_end_matches(".rs")
        .trim_end_matches("/mod");
    let depth = if inside == "lib" {
        0
    } else {
        inside.split('/').count()
    };
    let roots = [("crate::".to_owned(), 0), ("super::".repeat(depth), depth)];
    let mut used = Vec::new();
    for (root, depth) in roots {
        if root.is_empty() {
            continue;
        }
        for (at, _) in packed.match_indices(&root) {
            let before = packed[..at].chars().next_back();
            let is_whole = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
            // `$crate` and longer chains of `super` end up elsewhere.
            if is_whole && (depth == 0 || !packed[..at].ends_with("super::")) {
                used.extend(heads(&packed[at + root.len()..]));
            }
        }
    }
    used
}

/// The first parts of a path or of a tree `{a::b, c}`.
fn heads(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(tree) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let mut heads = Vec::new();
    let (mut depth, mut from) = (1, 0);
    for (at, character) in tree.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {}
            _ => continue,
        }
        if depth == 0 || (depth == 1 && character == ',') {
            heads.push(word(&tree[from..at]));
            from = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Modules of tests alone.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.starts_with("src/kv/conformance/")
}

#[test]
fn every_source_keeps_to_the_layout() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    assert!(found.len() > 40, "the sources are elsewhere: {found:?}");
    let mut all = Vec::new();
    for file in found {
        let path = file
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/");
        if !is_test(&path) {
            all.extend(faults(&path, &fs::read_to_string(&file).unwrap()));
        }
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[test]
fn no_code_of_ours_is_unsafe() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lib = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    assert!(without_comments_and_texts(&lib).contains("#![forbid(unsafe_code)]"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains("unsafe_code = \"forbid\""),
        "the binary is held to it too"
    );
}

#[test]
fn an_edge_that_the_layout_does_not_have_is_found() {
    for (path, source, wanted) in [
        (
            "src/domain/name.rs",
            "use crate::kv::Key;",
            "domain must not use kv",
        ),
        (
            "src/domain/name.rs",
            "use crate::proto::v1;",
            "domain must not use proto",
        ),
        (
            "src/domain/name.rs",
            "use super::super::error;",
            "domain must not use error",
        ),
        (
            "src/domain/filter/mod.rs",
            "use super::super::kv::Key;",
            "domain must not use kv",
        ),
        (
            "src/kv/mod.rs",
            "use crate::{kv::Batch, domain::{A, B}};",
            "kv must not use domain",
        ),
        (
            "src/kv/mod.rs",
            "fn f(e: crate::Error) {}",
            "kv must not use error",
        ),
        (
            "src/kv/redb/mod.rs",
            "use\n    crate\n    ::store::Store;",
            "kv must not use store",
        ),
        (
            "src/error.rs",
            "use crate::store::Store;",
            "error must not use store",
        ),
        (
            "src/error.rs",
            "fn f() { super::store::g() }",
            "error must not use store",
        ),
        (
            "src/store/mod.rs",
            "use crate::service;",
            "store must not use service",
        ),
        (
            "src/service/mod.rs",
            "use crate::server::Config;",
            "service must not use server",
        ),
        (
            "src/server/mod.rs",
            "use crate::cli;",
            "server must not use cli",
        ),
        ("src/other/mod.rs", "", "other is not in the layout"),
        ("src/server/mod.rs", "tonic::Code::Aborted", "has Code::"),
        (
            "src/service/native/images.rs",
            "Err(Status::new(Code::Aborted, x))",
            "has Code::",
        ),
        (
            "src/store/images.rs",
            "use crate::proto::storage as pb;",
            "has proto::storage",
        ),
        (
            "src/store/wire.rs",
            "use crate::proto::v1 as pb;",
            "has proto::v1",
        ),
        (
            "src/store/mod.rs",
            "let now = SystemTime::now();",
            "has SystemTime",
        ),
        (
            "src/store/page.rs",
            "let now = Instant::now();",
            "has Instant::now",
        ),
        ("src/kv/redb/mod.rs", "std::env::var(x)", "has env::"),
        ("src/store/mod.rs", "rand::random()", "has rand::"),
        ("src/kv/redb/mod.rs", "tonic::Status", "has tonic"),
    ] {
        let found = faults(path, source);
        assert!(
            found.iter().any(|fault| fault.contains(wanted)),
            "{path}: {source}: {found:?}, wanted {wanted}"
        );
    }
}

#[test]
fn what_the_layout_has_is_no_fault() {
    for (path, source) in [
        (
            "src/store/mod.rs",
            "use crate::domain::Digest; use crate::kv; use crate::Error;",
        ),
        ("src/domain/name.rs", "use super::Invalid; // not crate::kv"),
        ("src/domain/filter/error.rs", "use super::super::Digest;"),
        (
            "src/domain/name.rs",
            "//! [`crate::store::Store`] has one.\nuse super::{Invalid, Kind};",
        ),
        (
            "src/domain/name.rs",
            r##"let a = "crate::kv"; let b = r#"say "crate::kv""#;"##,
        ),
        (
            "src/domain/name.rs",
            "const C: char = '\"'; struct A<'a>(&'a str);",
        ),
        (
            "src/domain/name.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n use crate::kv::Key;\n}",
        ),
        (
            "src/kv/redb/writer.rs",
            "use crate::proto::storage; use super::super::Batch;",
        ),
        (
            "src/service/layer/deadline.rs",
            "let now = std::time::Instant::now(); env!(\"X\");",
        ),
        (
            "src/kv/mod.rs",
            "use crate::kv::{Batch, Key}; use super::kv as itself;",
        ),
        ("src/service/status.rs", "Code::Aborted"),
        (
            "src/store/mod.rs",
            "let a = BarCode::new(); operand::f(); tokio::time::Instant::now_or()",
        ),
        ("src/main.rs", "imagestore::cli::main()"),
    ] {
        assert_eq!(
            faults(path, source),
            Vec::<String>::new(),
            "{path}: {source}"
        );
    }
}
