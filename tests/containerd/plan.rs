//! The calls of a lane, chosen by a seed alone, so that they can be sent again.

use std::collections::BTreeMap;

use imagestore::proto::containerd::services as pb;
use imagestore::proto::containerd::types::Descriptor;
use prost_types::{FieldMask, Timestamp};

use crate::call::{Ask, Call, LANE, MADE};
use crate::common::digest;
use crate::common::random::Random;

type Labels = BTreeMap<String, String>;

/// So few that calls often meet.
const NAMES: [&str; 8] = [
    "a",
    "docker.io/library/alpine:3.18",
    "docker.io/library/alpine:3.19",
    "10x",
    "Zed",
    ":",
    "blank and\nnew line",
    "ünïcode/ß:1",
];

/// What no reference is, and what must be quoted in a text.
const ODD_NAMES: [&str; 14] = [
    "",
    "tab\tand \"quotes\" and \\",
    "bell\u{7}",
    "delete\u{7f}",
    "zero\u{200b}width",
    "soft\u{ad}hyphen",
    "e\u{301}",
    "\u{1f600}",
    "\u{fffd}",
    "\u{a0}",
    "\u{2028}",
    "\u{10ffff}",
    "\r\u{b}\u{c}\u{8}",
    "'$(x)`",
];

const KEYS: [&str; 9] = [
    "app",
    "a/b",
    "dot.ted.key",
    "q\"k",
    "ünï",
    "containerd.io/gc.root",
    "k",
    " ",
    "new\nline",
];

const VALUES: [&str; 6] = ["web", "db", "v", "", "ü\u{1f600}", "a b,c=\"d\""];

const MEDIA_TYPES: [&str; 6] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.test",
    "no media type",
    "ü/\u{7}",
    "",
];

/// `bad` of a digest is where a digest is expected.
const BAD_DIGESTS: [&str; 17] = [
    "",
    "sha256",
    "sha256:",
    ":abc",
    ":",
    "sha256:abc",
    "sha256:2C26B46B68FFC68FF99B453C1D30413413422D706483BFA0F98A5E886266E7AE",
    "sha256:gggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg",
    "SHA256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "sha512:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "md5:d41d8cd98f00b204e9800998ecf8427e",
    "blake3:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "a+b.c_d-e:x=_-",
    "a++b:x",
    "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7a\n",
    "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7:e",
    "sha256:\u{fc}c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7",
];

const IMAGE_PATHS: [&str; 26] = [
    "labels",
    "labels.app",
    "labels.a/b",
    "labels.dot.ted.key",
    "labels.q\"k",
    "labels.\"a/b\"",
    "labels.ünï",
    "labels.k",
    "labels.absent",
    "target",
    "annotations",
    "annotations.k",
    "annotations.dot.ted.key",
    "annotations.absent",
    "labels.",
    "annotations.",
    "",
    "*",
    "name",
    "Labels",
    "created_at",
    "updated_at",
    "target.digest",
    "target.annotations",
    "labels ",
    "ünï\n",
];

/// How many of the paths name something that can be updated.
const GOOD_IMAGE_PATHS: u64 = 14;

const NAMESPACE_PATHS: [&str; 10] = [
    "labels.app",
    "labels.a/b",
    "labels.dot.ted.key",
    "labels.absent",
    "labels.",
    "labels",
    "name",
    "",
    "*",
    "label.app",
];

const GOOD_NAMESPACE_PATHS: u64 = 4;

const LEASES: [&str; 6] = ["l1", "l2", "a/b c", "ünï", "l1.content", "quo\"te\u{200b}"];

const RESOURCE_TYPES: [&str; 12] = [
    "content",
    "ingests",
    "snapshots/overlayfs",
    "snapshots/native",
    "snapshots/no such",
    "snapshots",
    "snapshots/",
    "snapshots/a/b",
    "content/x",
    "ingests/x",
    "bogus",
    "",
];

const RESOURCES: [&str; 5] = ["r1", "ref 2", "ünï/3", "", "sha256:abc"];

const IMAGE_FILTERS: [&str; 34] = [
    "",
    "name==a",
    "name==docker.io/library/alpine:3.18",
    "name~=^docker.io/library/alpine:",
    "name~=\"^docker.io/library/alpine:[\\\\w][\\\\w.-]{0,127}$\"",
    "name!=a",
    "name",
    "name.x",
    "labels.app",
    "labels.app==web",
    "labels.app!=web",
    "labels.app~=^(web|db)$",
    "labels.\"a/b\"==db",
    "labels.dot.ted.key==v",
    "labels.\"dot.ted.key\"",
    "labels.nope~=^$",
    "annotations.k==v",
    "annotations.app",
    "target.mediatype==application/vnd.test",
    "target.digest~=^sha256:",
    "target.digest!=sha256:abc",
    "target.size==10",
    "created_at!=x",
    "labels",
    "name==a,labels.app==web",
    "name~=a(",
    "name=a",
    "name==",
    "==a",
    "name==a,",
    "labels.a/b==x",
    "name==\"a",
    "name=='a'",
    "\u{fc}==x",
];

const LEASE_FILTERS: [&str; 11] = [
    "",
    "id==l1",
    "id~=^l",
    "id!=l1",
    "labels.app==web",
    "labels.app",
    "labels.\"a/b\"",
    "created_at",
    "name==l1",
    "id==l1,labels.app",
    "id===l1",
];

/// Plans the calls of one lane.
pub struct Planner {
    random: Random,
    /// Whether it may use the names that mean the same in every lane.
    is_first: bool,
    /// Leases asked for so far whose ids the daemon makes up.
    made: u64,
}

impl Planner {
    pub fn new(seed: u64, is_first: bool) -> Self {
        Self {
            random: Random::new(seed),
            is_first,
            made: 0,
        }
    }

    pub fn next(&mut self) -> Call {
        let ask = match self.random.below(100) {
            0..9 => Ask::GetImage(pb::images::v1::GetImageRequest { name: self.name() }),
            9..18 => Ask::ListImages(pb::images::v1::ListImagesRequest {
                filters: self.filters(&IMAGE_FILTERS),
            }),
            18..33 => self.create_image(),
            33..49 => self.update_image(),
            49..58 => self.delete_image(),
            58..75 => self.about_namespaces(),
            _ => self.about_leases(),
        };
        let is_about_namespaces = ask.method().starts_with("Namespaces");
        Call {
            namespaces: self.header(is_about_namespaces),
            lease: self
                .one_in(12)
                .then(|| self.pick(&["l1", "absent", ""]).to_owned()),
            ask,
        }
    }

    /// What a plan begins with, so that whatever its seed it comes to every known difference.
    pub fn beginning(&self) -> Vec<Call> {
        use pb::{images::v1 as images, leases::v1 as leases, namespaces::v1 as namespaces};

        let image = |name: &str| images::Image {
            name: name.to_owned(),
            target: Some(Descriptor {
                media_type: MEDIA_TYPES[0].to_owned(),
                digest: digest("t0"),
                size: 10,
                ..Default::default()
            }),
            ..Default::default()
        };
        let create = |image: images::Image| {
            Ask::CreateImage(images::CreateImageRequest {
                image: Some(image),
                ..Default::default()
            })
        };
        let update = |image: images::Image| {
            Ask::UpdateImage(images::UpdateImageRequest {
                image: Some(image),
                ..Default::default()
            })
        };
        let delete = |name: &str| {
            Ask::DeleteImage(images::DeleteImageRequest {
                name: name.to_owned(),
                ..Default::default()
            })
        };
        let namespace = |name: &str| {
            Some(namespaces::Namespace {
                name: name.to_owned(),
                labels: Labels::from([("app".to_owned(), "web".to_owned())]),
            })
        };
        let create_namespace = |name: &str| {
            Ask::CreateNamespace(namespaces::CreateNamespaceRequest {
                namespace: namespace(name),
            })
        };
        let update_namespace = |name: &str| {
            Ask::UpdateNamespace(namespaces::UpdateNamespaceRequest {
                namespace: namespace(name),
                update_mask: None,
            })
        };
        let create_lease = |id: &str| {
            Ask::CreateLease(leases::CreateRequest {
                id: id.to_owned(),
                ..Default::default()
            })
        };
        let of_type_images = leases::Resource {
            id: NAMES[0].to_owned(),
            r#type: "images".to_owned(),
        };

        let mut of_no_key = image("no key");
        of_no_key.labels.insert(String::new(), "v".to_owned());
        let mut huge = image("huge");
        make_huge(&mut huge);
        let dated = |created: Option<(i64, i32)>, updated: Option<(i64, i32)>| {
            let time = |(seconds, nanos)| Timestamp { seconds, nanos };
            images::Image {
                labels: Labels::from([("app".to_owned(), "web".to_owned())]),
                created_at: created.map(time),
                updated_at: updated.map(time),
                ..image("dated")
            }
        };

        let mut asks = vec![
            // A namespace that has had an image and has none is asked to delete one without a name.
            create(image(NAMES[0])),
            delete(NAMES[0]),
            delete(""),
            create(image(&"n".repeat(4097))),
            create(image("nul\0")),
            create(of_no_key),
            create(huge),
            create(dated(Some((1, -1)), None)),
            create(dated(None, Some((i64::MAX, 0)))),
            create(dated(None, None)),
            update(dated(Some((i64::MIN, 0)), None)),
            create(dated(None, None)),
            update(dated(None, Some((1, 1_000_000_000)))),
            create_lease("nul\0"),
            create_lease(LEASES[0]),
            Ask::AddResource(leases::AddResourceRequest {
                id: LEASES[0].to_owned(),
                resource: Some(of_type_images),
            }),
            update_namespace("LANE/a"),
        ];
        if self.is_first {
            let name = || "version".to_owned();
            asks.extend([
                Ask::GetNamespace(namespaces::GetNamespaceRequest { name: name() }),
                create_namespace("version"),
                update_namespace("version"),
                Ask::DeleteNamespace(namespaces::DeleteNamespaceRequest { name: name() }),
            ]);
        }
        let call = |ask| Call {
            namespaces: vec!["LANE-e".to_owned()],
            lease: None,
            ask,
        };
        let mut calls: Vec<Call> = asks.into_iter().map(call).collect();
        calls.push(Call {
            namespaces: Vec::new(),
            ..call(create_namespace("LANE-d"))
        });
        calls
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.below(end)
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.random.one_in(many)
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        self.random.pick(of)
    }

    fn header(&mut self, is_about_namespaces: bool) -> Vec<String> {
        let values: &[&str] = match self.below(if is_about_namespaces { 50 } else { 100 }) {
            0 | 1 => &[],
            2 => &[""],
            3 => &["LANE-a", "LANE-b"],
            4 => &["LANE-b", "not/valid"],
            5 => &["", "LANE-a"],
            6 => &["not/valid", "LANE-a"],
            7 => &["-LANE"],
            8 => &["LANE-"],
            9 => &["LANE__a"],
            10 => &["LANE a"],
            11 => &["LANE-caf\u{e9}"],
            12 => return vec![long(LANE, 76)],
            13 => return vec![long(LANE, 77)],
            14 => return vec![long(LANE, 76) + "\u{e9}"],
            15 => &["LANE.c_d"],
            16..19 => &["LANE-c"],
            _ if self.one_in(3) => &["LANE-b"],
            _ => &["LANE-a"],
        };
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn name(&mut self) -> String {
        match self.below(40) {
            0 => self.pick(&ODD_NAMES).to_owned(),
            1 => self.pick(&ODD_NAMES).to_owned(),
            2 if self.one_in(4) => "n".repeat(4096),
            3 if self.one_in(3) => "n".repeat(4097),
            4 if self.one_in(3) => "nul\0".to_owned(),
            5..20 => NAMES[0].to_owned(),
            _ => self.pick(&NAMES).to_owned(),
        }
    }

    fn plain_labels(&mut self) -> Labels {
        let many = self.below(4);
        (0..many)
            .map(|_| (self.pick(&KEYS).to_owned(), self.pick(&VALUES).to_owned()))
            .collect()
    }

    /// A pair at the edge of what is accepted, or beyond.
    fn odd_label(&mut self) -> Option<(String, String)> {
        Some(match self.below(80) {
            0 => ("size".to_owned(), "x".repeat(4092)),
            1 => ("size".to_owned(), "x".repeat(4093)),
            2 => ("long".repeat(1024), String::new()),
            3 => ("long".repeat(1024), "x".to_owned()),
            4 => ("\u{fc}".repeat(6), "\u{fc}".repeat(2043)),
            5 => ("ten bytes \u{7}\n\u{fc}".to_owned(), "x".repeat(4093)),
            6 => (String::new(), String::new()),
            7 => (String::new(), "v".to_owned()),
            _ => return None,
        })
    }

    /// Pairs of which at most one is refused, since Go looks at them in any order.
    fn labels(&mut self) -> Labels {
        let mut labels = self.plain_labels();
        labels.extend(self.odd_label());
        labels
    }

    /// One pair that may be refused, or several that may not: an Update of a namespace sets one after the
    /// other, in any order.
    fn namespace_labels(&mut self) -> Labels {
        match self.odd_label() {
            Some(odd) => Labels::from([odd]),
            None => self.plain_labels(),
        }
    }

    fn annotations(&mut self) -> Labels {
        let mut annotations = self.labels();
        if self.one_in(60) {
            annotations.insert("big".to_owned(), "x".repeat(5000));
        }
        annotations
    }

    fn digest(&mut self) -> String {
        match self.below(20) {
            0 | 1 => self.pick(&BAD_DIGESTS).to_owned(),
            2 => format!("sha512:{}", "0123456789abcdef".repeat(8)),
            3 => format!("sha384:{}", "0123456789abcdef".repeat(6)),
            nth => digest(&format!("t{}", nth % 3)),
        }
    }

    fn target(&mut self) -> Option<Descriptor> {
        if self.one_in(25) {
            return None;
        }
        if self.one_in(25) {
            return Some(Descriptor::default());
        }
        let size = match self.below(40) {
            0 => 0,
            1 => -1,
            2 => i64::MIN,
            3 => i64::MAX,
            nth => 10 + nth as i64 % 2,
        };
        Some(Descriptor {
            media_type: match self.below(12) {
                0..3 => self.pick(&MEDIA_TYPES),
                _ => MEDIA_TYPES[0],
            }
            .to_owned(),
            digest: self.digest(),
            size,
            annotations: self.annotations(),
        })
    }

    /// What clients send along, and must not matter.
    fn time(&mut self) -> Option<Timestamp> {
        let (seconds, nanos) = match self.below(10) {
            0 => (0, 0),
            // Go's zero time.
            1 => (-62_135_596_800, 0),
            2 => (-1, 1),
            3 => (1_700_000_000, 999_999_999),
            4 => (253_402_300_799, 999_999_999),
            _ => return None,
        };
        Some(Timestamp { seconds, nanos })
    }

    fn image(&mut self) -> Option<pb::images::v1::Image> {
        if self.one_in(60) {
            return None;
        }
        Some(pb::images::v1::Image {
            name: self.name(),
            labels: self.labels(),
            target: self.target(),
            created_at: self.time(),
            updated_at: self.time(),
        })
    }

    fn create_image(&mut self) -> Ask {
        let mut image = self.image();
        if let Some(image) = image.as_mut()
            && self.one_in(30)
        {
            make_huge(image);
        }
        Ask::CreateImage(pb::images::v1::CreateImageRequest {
            image,
            source_date_epoch: None,
        })
    }

    fn update_image(&mut self) -> Ask {
        Ask::UpdateImage(pb::images::v1::UpdateImageRequest {
            image: self.image(),
            update_mask: self.mask(&IMAGE_PATHS, GOOD_IMAGE_PATHS),
            source_date_epoch: None,
        })
    }

    fn delete_image(&mut self) -> Ask {
        Ask::DeleteImage(pb::images::v1::DeleteImageRequest {
            name: if self.one_in(10) {
                String::new()
            } else {
                self.name()
            },
            sync: self.one_in(8),
            target: None,
        })
    }

    fn mask(&mut self, paths: &[&'static str], good: u64) -> Option<FieldMask> {
        let many = match self.below(10) {
            0 => return None,
            1 => 0,
            2..7 => 1,
            _ => 2 + self.below(3),
        };
        let mut chosen: Vec<String> = Vec::new();
        for _ in 0..many {
            let among = if self.one_in(6) {
                paths.len() as u64
            } else {
                good
            };
            let path = match chosen.last() {
                Some(last) if self.one_in(5) => last.clone(),
                _ => paths[self.below(among) as usize].to_owned(),
            };
            chosen.push(path);
        }
        Some(FieldMask { paths: chosen })
    }

    fn filters(&mut self, of: &[&'static str]) -> Vec<String> {
        let many = self.below(3);
        (0..many).map(|_| self.pick(of).to_owned()).collect()
    }

    fn namespace_name(&mut self) -> String {
        match self.below(40) {
            0 => String::new(),
            1 => "LANE__a".to_owned(),
            2 => "LANE/a".to_owned(),
            3 => "LANE\n\u{fc}".to_owned(),
            4 => long(LANE, 76),
            5 => long(LANE, 77),
            6..10 if self.is_first => "version".to_owned(),
            10 => "LANE-absent".to_owned(),
            nth => format!("LANE-{}", ["a", "b", "c", "d", "e"][nth as usize % 5]),
        }
    }

    fn namespace(&mut self) -> Option<pb::namespaces::v1::Namespace> {
        if self.one_in(40) {
            return None;
        }
        Some(pb::namespaces::v1::Namespace {
            name: self.namespace_name(),
            labels: self.namespace_labels(),
        })
    }

    fn about_namespaces(&mut self) -> Ask {
        use pb::namespaces::v1 as pb;
        match self.below(10) {
            0 | 1 => Ask::GetNamespace(pb::GetNamespaceRequest {
                name: self.namespace_name(),
            }),
            2 => Ask::ListNamespaces(pb::ListNamespacesRequest {
                filter: self.pick(&["", "name==LANE-a", "=="]).to_owned(),
            }),
            3 | 4 => Ask::CreateNamespace(pb::CreateNamespaceRequest {
                namespace: self.namespace(),
            }),
            5..8 => Ask::UpdateNamespace(pb::UpdateNamespaceRequest {
                namespace: self.namespace(),
                update_mask: self.mask(&NAMESPACE_PATHS, GOOD_NAMESPACE_PATHS),
            }),
            _ => Ask::DeleteNamespace(pb::DeleteNamespaceRequest {
                name: self.namespace_name(),
            }),
        }
    }

    fn lease(&mut self) -> String {
        match self.below(20) {
            0 if self.made > 0 => format!("{MADE}{}", self.below(self.made)),
            1 => "absent".to_owned(),
            2 if self.one_in(4) => "nul\0".to_owned(),
            3 => String::new(),
            4..12 => LEASES[0].to_owned(),
            _ => self.pick(&LEASES).to_owned(),
        }
    }

    fn resource(&mut self) -> Option<pb::leases::v1::Resource> {
        if self.one_in(40) {
            return None;
        }
        let r#type = match self.below(50) {
            0 | 1 => "images",
            2..30 => "content",
            _ => self.pick(&RESOURCE_TYPES),
        };
        let is_content = r#type == "content" && !self.one_in(3);
        Some(pb::leases::v1::Resource {
            id: if is_content {
                self.digest()
            } else {
                self.pick(&RESOURCES).to_owned()
            },
            r#type: r#type.to_owned(),
        })
    }

    fn about_leases(&mut self) -> Ask {
        use pb::leases::v1 as pb;
        match self.below(20) {
            0..6 => {
                let id = if self.one_in(12) {
                    String::new()
                } else {
                    self.lease()
                };
                self.made += u64::from(id.is_empty());
                Ask::CreateLease(pb::CreateRequest {
                    id,
                    labels: self.labels(),
                })
            }
            6..9 => Ask::DeleteLease(pb::DeleteRequest {
                id: self.lease(),
                sync: self.one_in(6),
            }),
            9..11 => Ask::ListLeases(pb::ListRequest {
                filters: self.filters(&LEASE_FILTERS),
            }),
            11..15 => Ask::AddResource(pb::AddResourceRequest {
                id: self.lease(),
                resource: self.resource(),
            }),
            15..17 => Ask::DeleteResource(pb::DeleteResourceRequest {
                id: self.lease(),
                resource: self.resource(),
            }),
            _ => Ask::ListResources(pb::ListResourcesRequest { id: self.lease() }),
        }
    }
}

/// Makes it too large for a record of ours, if it has a target; containerd has no such limit.
fn make_huge(image: &mut pb::images::v1::Image) {
    if let Some(target) = image.target.as_mut() {
        target
            .annotations
            .insert("huge".to_owned(), "x".repeat(300 << 10));
    }
}

/// A namespace's name of so many bytes.
fn long(lane: &str, bytes: usize) -> String {
    format!("{lane}-{}", "n".repeat(bytes - lane.len() - 1))
}
