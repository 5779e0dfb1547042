//! Filters over the socket: the real daemon's recorded answers, and generated filters to both.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::stream::{self, StreamExt};
use imagestore::proto::containerd::services::images::v1 as pb;
use imagestore::proto::containerd::services::images::v1::images_client::ImagesClient;
use imagestore::proto::containerd::types::Descriptor;
use serde_json::{Value as Json, json};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::call::with_metadata;
use crate::common::digest;
use crate::common::random::Random;
use crate::daemon::Daemon;
use crate::{number, seed};

const FIXTURE: &str = include_str!("../fixtures/containerd-filters.json");

/// Filters under way at once.
const AT_ONCE: usize = 8;

/// The names that were found, or why none could be looked for.
type Found = Result<Vec<String>, (Code, String)>;

fn in_namespace<T>(message: T) -> tonic::Request<T> {
    with_metadata(message, &["filters".to_owned()], None)
}

async fn create(channel: &Channel, image: pb::Image) {
    let request = pb::CreateImageRequest {
        image: Some(image),
        ..Default::default()
    };
    let mut images = ImagesClient::new(channel.clone());
    images.create(in_namespace(request)).await.unwrap();
}

async fn find(channel: &Channel, filters: &[String]) -> Found {
    let request = pb::ListImagesRequest {
        filters: filters.to_vec(),
    };
    let mut images = ImagesClient::new(channel.clone());
    match images.list(in_namespace(request)).await {
        Ok(answer) => {
            let images = answer.into_inner().images;
            Ok(images.into_iter().map(|image| image.name).collect())
        }
        Err(status) => Err(said(&status)),
    }
}

fn said(status: &Status) -> (Code, String) {
    (status.code(), status.message().to_owned())
}

fn text_map(json: &Json) -> BTreeMap<String, String> {
    let pairs = json.as_object().into_iter().flatten();
    pairs
        .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
        .collect()
}

fn recorded(json: &Json) -> pb::Image {
    let text = |field: &str| json[field].as_str().unwrap().to_owned();
    pb::Image {
        name: text("name"),
        labels: text_map(&json["labels"]),
        target: Some(Descriptor {
            media_type: text("media_type"),
            digest: text("digest"),
            size: json["size"].as_i64().unwrap(),
            annotations: text_map(&json["annotations"]),
        }),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_answer_of_the_real_daemon_is_ours_too() {
    let fixture: Json = serde_json::from_str(FIXTURE).unwrap();
    let daemon = Daemon::imagestore().await;
    let channel = daemon.channel().await;
    for record in fixture["records"].as_array().unwrap() {
        create(&channel, recorded(record)).await;
    }
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() > 50);
    for case in cases {
        let filters: Vec<String> = serde_json::from_value(case["filters"].clone()).unwrap();
        match find(&channel, &filters).await {
            Ok(names) => assert_eq!(case["names"], json!(names), "{filters:?}"),
            Err((code, message)) => {
                assert_eq!(code, Code::InvalidArgument, "{filters:?}");
                assert_eq!(case["message"], json!(message), "{filters:?}");
            }
        }
    }
}

const NAMES: [&str; 9] = [
    "docker.io/library/alpine:3.18",
    "docker.io/library/alpine:3.19",
    "docker.io/library/alpine@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "alpine",
    "Alpine",
    "a.b",
    "two\nlines",
    "\u{fc}n\u{ef}/\u{df}\u{17f}\u{212a}k",
    " 0_",
];

const KEYS: [&str; 7] = ["app", "a/b", "dot.ted.key", "q\"k", "\u{fc}", "_1", ""];

const VALUES: [&str; 6] = ["web", "db", "Web", "a b", "1.5", "x\"y\\z"];

/// Records enough for every filter to be about some and not about others.
fn records() -> Vec<pb::Image> {
    let mut random = Random::new(1);
    let mut pairs = |many: u64| -> BTreeMap<String, String> {
        let keys = &KEYS[..KEYS.len() - 1];
        (0..random.below(many))
            .map(|_| {
                (
                    random.pick(keys).to_owned(),
                    random.pick(&VALUES).to_owned(),
                )
            })
            .collect()
    };
    let record = |(nth, name): (usize, &&str)| pb::Image {
        name: (*name).to_owned(),
        labels: pairs(4),
        target: Some(Descriptor {
            media_type: [
                "application/vnd.test",
                "application/vnd.oci.image.index.v1+json",
            ][nth % 2]
                .to_owned(),
            digest: digest(&format!("t{}", nth % 4)),
            size: 10,
            annotations: pairs(3),
        }),
        ..Default::default()
    };
    NAMES.iter().enumerate().map(record).collect()
}

/// Filters by the grammar, near it, and beside it. Without groups as `(?<name>`, which Go has from 1.22 on and
/// so do we; Debian's containerd is built with Go 1.19.
struct Grammar(Random);

impl Grammar {
    fn filters(&mut self) -> Vec<String> {
        let many = if self.0.one_in(5) { self.0.below(4) } else { 1 };
        (0..many).map(|_| self.filter()).collect()
    }

    fn filter(&mut self) -> String {
        let selectors: Vec<String> = (0..=self.0.below(2)).map(|_| self.selector()).collect();
        let comma = if self.0.one_in(12) { " , " } else { "," };
        let filter = selectors.join(comma);
        if self.0.one_in(4) {
            self.mutated(&filter)
        } else {
            filter
        }
    }

    fn selector(&mut self) -> String {
        let field = self.field();
        if self.0.one_in(10) {
            return field;
        }
        let blank = if self.0.one_in(15) { " " } else { "" };
        match self.0.below(10) {
            0..4 => format!("{field}{blank}=={blank}{}", self.value()),
            4..6 => format!("{field}{blank}!={blank}{}", self.value()),
            _ => format!("{field}{blank}~={blank}{}", self.pattern_value()),
        }
    }

    fn field(&mut self) -> String {
        let key = self.0.pick(&KEYS);
        let key = if self.0.one_in(3) {
            key.to_owned()
        } else {
            quoted(key, '"')
        };
        match self.0.below(12) {
            0..3 => "name".to_owned(),
            3 | 4 => "target.digest".to_owned(),
            5 => "target.mediatype".to_owned(),
            6..9 => format!("labels.{key}"),
            9 => format!("annotations.{key}"),
            10 => key,
            _ => self
                .0
                .pick(&[
                    "target",
                    "labels",
                    "name.x",
                    "\"name\"",
                    "target.size",
                    "Name",
                    "labels.a.\"b\"",
                    "created_at",
                    "9",
                    "_",
                ])
                .to_owned(),
        }
    }

    fn plain_value(&mut self) -> String {
        match self.0.below(4) {
            0 => self.0.pick(&NAMES).to_owned(),
            1 => digest(self.0.pick(&["t0", "t1", "none"])),
            2 => self
                .0
                .pick(&["application/vnd.test", "", "'x'", "\u{fc}"])
                .to_owned(),
            _ => self.0.pick(&VALUES).to_owned(),
        }
    }

    fn value(&mut self) -> String {
        let value = self.plain_value();
        match self.0.below(4) {
            0 | 1 => value,
            2 => quoted(&value, '"'),
            _ => self.escaped(&value),
        }
    }

    /// Quoted, with characters as escapes of every kind.
    fn escaped(&mut self, value: &str) -> String {
        let characters = value.chars().map(|character| {
            let code = u32::from(character);
            match self.0.below(6) {
                0 if code < 0x80 => format!("\\x{code:02x}"),
                1 if code < 0x80 => format!("\\{code:03o}"),
                2 if code < 0x10000 => format!("\\u{code:04x}"),
                3 => format!("\\U{code:08x}"),
                _ if character == '"' || character == '\\' => format!("\\{character}"),
                _ => character.to_string(),
            }
        });
        format!("\"{}\"", characters.collect::<String>())
    }

    fn pattern_value(&mut self) -> String {
        let pattern = match self.0.below(4) {
            0 => self.of_clients(),
            _ => self.pattern(2),
        };
        match self.0.below(5) {
            0 | 1 => pattern,
            2 => quoted(&pattern, '/'),
            3 => quoted(&pattern, '|'),
            _ => quoted(&pattern, '"'),
        }
    }

    /// As the clients send them that emulate an index.
    fn of_clients(&mut self) -> String {
        match self.0.below(5) {
            0 => "^docker.io/library/alpine:".to_owned(),
            1 => r"^docker.io/library/alpine:[\w][\w.-]{0,127}$".to_owned(),
            2 => format!("^{}.*$", &digest("t0")[..14]),
            3 => format!("^{}[0-9a-fA-F]{{{}}}$", &digest("t1")[..11], 60),
            _ => "^(alpine|a\\.b)$".to_owned(),
        }
    }

    fn pattern(&mut self, depth: u64) -> String {
        let parts: Vec<String> = (0..=self.0.below(3)).map(|_| self.part(depth)).collect();
        parts.concat()
    }

    fn part(&mut self, depth: u64) -> String {
        let atom = match self.0.below(12) {
            0..4 => self
                .0
                .pick(&[
                    "a", "l", "alpine", "docker", ":", "3.1", "W", "web", "\u{fc}", "k", "s", " ",
                    "\\.", "/",
                ])
                .to_owned(),
            4 => self
                .0
                .pick(&[
                    ".",
                    "\\w",
                    "\\d",
                    "\\s",
                    "\\W",
                    "\\D",
                    "\\S",
                    "\\pL",
                    "\\PL",
                    "\\p{Greek}",
                    "\\P{Latin}",
                    "\\p{Common}",
                    "\\p{Grek}",
                    "\\p{Latn}",
                    "\\p{Kawi}",
                    "\\p{Cs}",
                    "\\P{Cs}",
                    "[\\p{Cs}a]",
                    "\\p{Cn}",
                    "\\C",
                    "\\pN",
                ])
                .to_owned(),
            5 => self
                .0
                .pick(&[
                    "^", "$", "\\b", "\\B", "\\A", "\\z", "(?m)^", "(?m)$", "\\Z",
                ])
                .to_owned(),
            6 => self
                .0
                .pick(&[
                    "[a-z]",
                    "[^a-z]",
                    "[[:alpha:]]",
                    "[\\d.]",
                    "[^\\n]",
                    "[]a]",
                    "[a-]",
                    "[\\w-]",
                    "[[:^digit:]]",
                    "[a&&b]",
                    "[a--b]",
                    "[[a]]",
                    "[\u{fc}-\u{ff}]",
                ])
                .to_owned(),
            7 if depth > 0 => {
                let open = self
                    .0
                    .pick(&["(", "(?:", "(?i:", "(?P<n>", "(?s:", "(?U:", "(?-s:"]);
                format!("{open}{})", self.pattern(depth - 1))
            }
            8 if depth > 0 => format!("({}|{})", self.pattern(depth - 1), self.pattern(depth - 1)),
            9 => self
                .0
                .pick(&[
                    "\\x61",
                    "\\x{fc}",
                    "\\141",
                    "\\Qa.b\\E",
                    "\\a",
                    "\\n",
                    "\\t",
                    "(?i)",
                    "\\u0061",
                    "\\07",
                    "\\1",
                    "\\_",
                    "\\Q",
                ])
                .to_owned(),
            10 => self
                .0
                .pick(&[
                    "(", ")", "[", "]", "{", "}", "*", "+", "?", "|", "\\", "a**", "a{2,1}",
                    "a{1001}", "(?=a)", "(?#a)", "[z-a]", "a{,2}", "x{0}", "(?x) a", "{1}", "\\pX",
                    "(?", "()",
                ])
                .to_owned(),
            _ => "a".to_owned(),
        };
        let times = match self.0.below(6) {
            0 => self.0.pick(&[
                "*", "+", "?", "{2}", "{1,3}", "{0,}", "*?", "+?", "??", "{3,5}?",
            ]),
            _ => "",
        };
        atom + times
    }

    fn mutated(&mut self, filter: &str) -> String {
        let mut characters: Vec<char> = filter.chars().collect();
        for _ in 0..=self.0.below(2) {
            let odd = self.0.pick(&[
                ' ',
                ',',
                '.',
                '=',
                '!',
                '~',
                '"',
                '\'',
                '/',
                '|',
                '\\',
                '`',
                '\0',
                '\n',
                '\t',
                '(',
                '[',
                '\u{fc}',
                '\u{fffd}',
                '\u{1f600}',
                '\u{2028}',
                '\u{7f}',
                '-',
                '_',
                '0',
                'x',
                '<',
                '>',
                '\u{301}',
                '\u{feff}',
            ]);
            let nth = self.0.below(characters.len() as u64 + 1) as usize;
            match self.0.below(4) {
                0 | 1 => characters.insert(nth, odd),
                2 if nth < characters.len() => characters[nth] = odd,
                _ if nth < characters.len() => drop(characters.remove(nth)),
                _ => {}
            }
        }
        characters.into_iter().collect()
    }
}

/// Between quotes, with what that takes.
fn quoted(text: &str, quote: char) -> String {
    let mut quoted = String::from(quote);
    for character in text.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            _ => {
                if character == quote || character == '\\' {
                    quoted.push('\\');
                }
                quoted.push(character);
            }
        }
    }
    quoted.push(quote);
    quoted
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_filters_find_the_same_or_are_refused_in_the_same_words() {
    let Some(containerd) = Daemon::containerd().await else {
        return;
    };
    let imagestore = Daemon::imagestore().await;
    let channels = [containerd.channel().await, imagestore.channel().await];
    for channel in &channels {
        for record in records() {
            create(channel, record).await;
        }
    }
    let (calls, seed, from) = (
        number("IMAGESTORE_CALLS").unwrap_or(10_000),
        seed(),
        Instant::now(),
    );
    let mut grammar = Grammar(Random::new(seed));
    let planned: Vec<Vec<String>> = (0..calls).map(|_| grammar.filters()).collect();
    let answers = stream::iter(planned).map(|filters| {
        let [one, other] = &channels;
        async move {
            let (one, other) = tokio::join!(find(one, &filters), find(other, &filters));
            (filters, one, other)
        }
    });
    let mut answers = answers.buffered(AT_ONCE);
    let (mut some, mut refused, mut differ) = (0, 0, Vec::new());
    while let Some((filters, one, other)) = answers.next().await {
        some += u64::from(one.as_ref().is_ok_and(|names| !names.is_empty()));
        refused += u64::from(one.is_err());
        if one != other {
            differ.push(format!(
                "{filters:?}\n  containerd: {one:?}\n  imagestore: {other:?}"
            ));
        }
    }
    let took = from.elapsed();
    eprintln!(
        "{calls} filters from IMAGESTORE_SEED={seed} on in {took:?}: {some} found, {refused} refused"
    );
    let many = differ.len();
    differ.truncate(20);
    assert!(
        differ.is_empty(),
        "IMAGESTORE_SEED={seed}: {many} differ\n{}",
        differ.join("\n")
    );
    assert!(some > calls / 10 && refused > calls / 10);
}
