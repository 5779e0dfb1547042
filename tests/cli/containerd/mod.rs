//! Taking a real containerd over, and back. Where there is none, each test that needs it says so and passes,
//! unless `IMAGESTORE_REQUIRE_PEERS` is `1`.

mod back;
mod daemon;
mod live;
mod offline;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::Server;

/// All that there is, in a form that can be compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Holding {
    pub labels: BTreeMap<String, String>,
    pub images: BTreeMap<String, Record>,
    pub leases: BTreeMap<String, Held>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub media_type: String,
    pub digest: String,
    pub size: i64,
    pub annotations: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Seconds and nanoseconds.
    pub created_at: (i64, i32),
    pub updated_at: (i64, i32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub labels: BTreeMap<String, String>,
    pub created_at: (i64, i32),
    /// Types and ids.
    pub resources: BTreeSet<(String, String)>,
}

pub type Holdings = BTreeMap<String, Holding>;

/// What imagestore holds.
pub fn holdings(server: &Server) -> Holdings {
    let mut all = Holdings::new();
    let own = client(server);
    for namespace in server.json(&["ns", "ls"]).as_array().unwrap() {
        let name = namespace["name"].as_str().unwrap();
        let listed = server.json(&["ls", "-n", name]);
        let images = listed.as_array().unwrap().iter();
        let holding = Holding {
            labels: texts(&namespace["labels"]),
            images: images
                .map(|image| (text(&image["name"]), record(image)))
                .collect(),
            leases: own.leases(name),
        };
        all.insert(name.to_owned(), holding);
    }
    all
}

fn client(server: &Server) -> daemon::Client {
    let address = server.address();
    daemon::Client::connect(address.strip_prefix("unix://").unwrap().as_ref())
}

fn record(image: &Value) -> Record {
    Record {
        media_type: text(&image["media_type"]),
        digest: text(&image["digest"]),
        size: image["size"].as_i64().unwrap(),
        annotations: texts(&image["annotations"]),
        labels: texts(&image["labels"]),
        created_at: time(&image["created_at"]),
        updated_at: time(&image["updated_at"]),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs
        .map(|(key, value)| (key.clone(), text(value)))
        .collect()
}

fn time(value: &Value) -> (i64, i32) {
    let time: imagestore::domain::Timestamp = value.as_str().unwrap().parse().unwrap();
    (time.seconds(), time.nanos().try_into().unwrap())
}

/// The same without the times, which containerd 1.6 takes from nobody.
pub fn without_times(mut all: Holdings) -> Holdings {
    for holding in all.values_mut() {
        for image in holding.images.values_mut() {
            (image.created_at, image.updated_at) = ((0, 0), (0, 0));
        }
        for lease in holding.leases.values_mut() {
            lease.created_at = (0, 0);
        }
    }
    all
}

/// Compares by parts, so that a failure can be read.
#[track_caller]
pub fn assert_same(left: &Holdings, right: &Holdings) {
    let names = |all: &Holdings| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(left), names(right));
    for (namespace, left) in left {
        let right = &right[namespace];
        assert_eq!(left.labels, right.labels, "labels of {namespace}");
        assert_eq!(left.leases, right.leases, "leases of {namespace}");
        let names = |holding: &Holding| holding.images.keys().cloned().collect::<BTreeSet<_>>();
        let (left_names, right_names) = (names(left), names(right));
        let differing: Vec<&String> = left_names.symmetric_difference(&right_names).collect();
        assert!(
            differing.is_empty(),
            "only on one side of {namespace}: {differing:?}"
        );
        for (name, image) in &left.images {
            assert_eq!(image, &right.images[name], "{namespace}/{name}");
        }
    }
}
