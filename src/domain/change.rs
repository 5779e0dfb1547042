//! What a Put does to a record: replace it, or edit the parts that an update mask names.

use super::{
    Annotations, Descriptor, HistoryLimit, Image, ImageName, Invalid, Labels, Namespace,
    NamespaceRecord, Timestamp,
};

/// What becomes of an image record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a request has one, and most are the large one"
)]
pub enum ImageChange {
    Replace {
        target: Descriptor,
        labels: Labels,
    },
    /// [`Self::Replace`], but where the record is there its target is changed as by
    /// [`ImageEdit::Retarget`].
    Renew {
        target: Descriptor,
        labels: Labels,
    },
    /// In order. Without [`ImageEdit::Target`] the record must be there.
    Edit(Vec<ImageEdit>),
}

/// What a write says of its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dating {
    /// `updated_at` moves with a change only, to the time of the write, and never back: a record that is
    /// dated ahead of the clock stays so.
    #[default]
    Changes,
    /// Containerd's: every write counts, also one that leaves all as it is, and `updated_at` is the time
    /// given here, or that of the write, also where that takes it back. A new record is created at that
    /// time too.
    Writes(Option<Timestamp>),
    /// Both as they were elsewhere.
    Kept {
        created_at: Timestamp,
        updated_at: Timestamp,
    },
}

/// One part of an image record, as it shall be; `None` removes a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a request has a few")]
pub enum ImageEdit {
    Target(Descriptor),
    /// A target from who knows only media type, digest, size and annotations: while the first three stay
    /// as they are, so does what else the target has. Does not make a record.
    Retarget(Descriptor),
    Annotations(Annotations),
    Annotation(String, Option<String>),
    /// Without these keys.
    NoAnnotations(Vec<String>),
    Labels(Labels),
    Label(String, Option<String>),
    /// Without these keys.
    NoLabels(Vec<String>),
}

/// A path of an image's update mask. A key goes to the end of the path, dots included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImagePath {
    All,
    Target,
    Annotations,
    Annotation(String),
    Labels,
    Label(String),
}

/// What becomes of a namespace's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceChange {
    Replace {
        labels: Labels,
        history_limit: Option<HistoryLimit>,
    },
    /// In order; the namespace must be there.
    Edit(Vec<NamespaceEdit>),
    /// In order; a namespace that is not there is made first.
    Upsert(Vec<NamespaceEdit>),
}

/// One part of a namespace's record, as it shall be; `None` removes a label, or goes back to the
/// default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceEdit {
    Labels(Labels),
    Label(String, Option<String>),
    HistoryLimit(Option<HistoryLimit>),
}

/// A path of a namespace's update mask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamespacePath {
    All,
    Labels,
    Label(String),
    HistoryLimit,
}

// === impl ImageChange ===

impl ImageChange {
    /// The record after the change, dated by a write of `now`; `None` where the change edits a record that
    /// is not there.
    pub fn apply(
        &self,
        name: &ImageName,
        old: Option<&Image>,
        dating: Dating,
        now: Timestamp,
    ) -> Result<Option<Image>, Invalid> {
        let Some((target, labels)) = self.contents(old)? else {
            return Ok(None);
        };
        let changes = old.is_none_or(|old| old.target != target || old.labels != labels);
        let before = old.map(|old| (old.created_at, old.updated_at));
        let (created_at, updated_at) = dating.times(before, changes, now);
        Ok(Some(Image {
            name: name.clone(),
            target,
            labels,
            created_at,
            updated_at,
        }))
    }

    fn contents(&self, old: Option<&Image>) -> Result<Option<(Descriptor, Labels)>, Invalid> {
        let edits = match self {
            Self::Replace { target, labels } => return Ok(Some((target.clone(), labels.clone()))),
            Self::Renew { target, labels } => {
                let target = match old {
                    Some(old) if old.target.is_same_content(target) => old
                        .target
                        .clone()
                        .with_annotations(target.annotations().clone())
                        .map_err(|e| e.within("image.target"))?,
                    Some(_) | None => target.clone(),
                };
                return Ok(Some((target, labels.clone())));
            }
            Self::Edit(edits) => edits,
        };
        let mut target = old.map(|old| old.target.clone());
        let mut labels = old.map(|old| old.labels.clone()).unwrap_or_default();
        if target.is_none() {
            target = edits.iter().find_map(|edit| match edit {
                ImageEdit::Target(target) => Some(target.clone()),
                _ => None,
            });
        }
        let Some(mut target) = target else {
            return Ok(None);
        };
        let mut annotations = target.annotations().clone();
        for edit in edits {
            match edit {
                ImageEdit::Target(new) => {
                    target = new.clone();
                    annotations = target.annotations().clone();
                }
                ImageEdit::Retarget(new) => {
                    annotations = new.annotations().clone();
                    if !target.is_same_content(new) {
                        target = new.clone();
                    }
                }
                ImageEdit::Annotations(new) => annotations = new.clone(),
                ImageEdit::Annotation(key, Some(value)) => {
                    annotations.insert(key.clone(), value.clone());
                }
                ImageEdit::Annotation(key, None) => {
                    annotations.remove(key);
                }
                ImageEdit::NoAnnotations(keys) => {
                    for key in keys {
                        annotations.remove(key);
                    }
                }
                ImageEdit::Labels(new) => labels = new.clone(),
                ImageEdit::Label(key, value) => {
                    edit_label(&mut labels, key, value.as_deref())
                        .map_err(|e| e.within("image"))?;
                }
                ImageEdit::NoLabels(keys) => {
                    for key in keys {
                        labels.remove(key);
                    }
                }
            }
        }
        let target = target.with_annotations(annotations);
        Ok(Some((
            target.map_err(|e| e.within("image.target"))?,
            labels,
        )))
    }
}

// === impl Dating ===

impl Dating {
    /// Whether a write that leaves the record as it is still counts as one.
    pub fn is_always_written(self) -> bool {
        match self {
            Self::Writes(_) => true,
            Self::Changes | Self::Kept { .. } => false,
        }
    }

    /// When the record was created and updated, given what it had before, and whether the write changes
    /// anything else.
    fn times(
        self,
        before: Option<(Timestamp, Timestamp)>,
        changes: bool,
        now: Timestamp,
    ) -> (Timestamp, Timestamp) {
        match (self, before) {
            (
                Self::Kept {
                    created_at,
                    updated_at,
                },
                _,
            ) => (created_at, updated_at),
            (Self::Writes(at), before) => {
                let at = at.unwrap_or(now);
                (before.map_or(at, |(created_at, _)| created_at), at)
            }
            (Self::Changes, None) => (now, now),
            (Self::Changes, Some((created_at, updated_at))) if changes => {
                (created_at, now.max(updated_at))
            }
            (Self::Changes, Some(before)) => before,
        }
    }
}

fn edit_label(labels: &mut Labels, key: &str, value: Option<&str>) -> Result<(), Invalid> {
    match value {
        Some(value) => labels.set(key.to_owned(), value.to_owned()),
        None => {
            labels.remove(key);
            Ok(())
        }
    }
}

// === impl ImagePath ===

impl ImagePath {
    /// Refuses a path that is no part of an image that a Put can change.
    pub fn parse(path: &str) -> Result<Self, Invalid> {
        match path {
            "*" => Ok(Self::All),
            "target" => Ok(Self::Target),
            "target.annotations" => Ok(Self::Annotations),
            "labels" => Ok(Self::Labels),
            _ => match (
                path.strip_prefix("labels."),
                path.strip_prefix("target.annotations."),
            ) {
                (Some(key), _) if !key.is_empty() => Ok(Self::Label(key.to_owned())),
                (_, Some(key)) if !key.is_empty() => Ok(Self::Annotation(key.to_owned())),
                _ => Err(Invalid::new(
                    "update_mask",
                    format!(
                        "has {:?}; it may have `target`, `target.annotations`, \
                         `target.annotations.KEY`, `labels`, `labels.KEY` or `*`",
                        shown(path)
                    ),
                )),
            },
        }
    }
}

/// The beginning of a text that a complaint repeats.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

// === impl NamespaceChange ===

impl NamespaceChange {
    /// The record after the change, by the rules of [`ImageChange::apply`].
    pub fn apply(
        &self,
        name: &Namespace,
        old: Option<&NamespaceRecord>,
        dating: Dating,
        now: Timestamp,
    ) -> Result<Option<NamespaceRecord>, Invalid> {
        let mut labels = old.map(|old| old.labels.clone()).unwrap_or_default();
        let mut history_limit = old.and_then(|old| old.history_limit);
        match (self, old) {
            (
                Self::Replace {
                    labels: new,
                    history_limit: limit,
                },
                _,
            ) => {
                labels = new.clone();
                history_limit = *limit;
            }
            (Self::Edit(_), None) => return Ok(None),
            (Self::Edit(edits), Some(_)) | (Self::Upsert(edits), _) => {
                for edit in edits {
                    match edit {
                        NamespaceEdit::Labels(new) => labels = new.clone(),
                        NamespaceEdit::Label(key, value) => {
                            edit_label(&mut labels, key, value.as_deref())
                                .map_err(|e| e.within("namespace"))?;
                        }
                        NamespaceEdit::HistoryLimit(limit) => history_limit = *limit,
                    }
                }
            }
        }
        let changes =
            old.is_none_or(|old| old.labels != labels || old.history_limit != history_limit);
        let before = old.map(|old| (old.created_at, old.updated_at));
        let (created_at, updated_at) = dating.times(before, changes, now);
        Ok(Some(NamespaceRecord {
            name: name.clone(),
            labels,
            history_limit,
            created_at,
            updated_at,
        }))
    }
}

// === impl NamespacePath ===

impl NamespacePath {
    /// Refuses a path that is no part of a namespace that a Put can change.
    pub fn parse(path: &str) -> Result<Self, Invalid> {
        match (path, path.strip_prefix("labels.")) {
            ("*", _) => Ok(Self::All),
            ("labels", _) => Ok(Self::Labels),
            ("history_limit", _) => Ok(Self::HistoryLimit),
            (_, Some(key)) if !key.is_empty() => Ok(Self::Label(key.to_owned())),
            _ => Err(Invalid::new(
                "update_mask",
                format!(
                    "has {:?}; it may have `labels`, `labels.KEY`, `history_limit` or `*`",
                    shown(path)
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Algorithm, Digest, Size};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::new(seconds, 0).unwrap()
    }

    fn target(content: &str) -> Descriptor {
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        Descriptor::new(
            "a/b".parse().unwrap(),
            digest,
            Size::try_from(7u64).unwrap(),
        )
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let mut labels = Labels::default();
        for (key, value) in pairs {
            labels.set((*key).into(), (*value).into()).unwrap();
        }
        labels
    }

    fn stored() -> Image {
        Image {
            name: "n".parse().unwrap(),
            target: target("one"),
            labels: labels(&[("a", "1"), ("b.c", "2")]),
            created_at: at(100),
            updated_at: at(100),
        }
    }

    fn edited(edits: Vec<ImageEdit>) -> Image {
        let old = stored();
        ImageChange::Edit(edits)
            .apply(&old.name, Some(&old), Dating::Changes, at(200))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_replacement_keeps_created_at_and_moves_updated_at() {
        let old = stored();
        let change = ImageChange::Replace {
            target: target("two"),
            labels: Labels::default(),
        };
        let new = change
            .apply(&old.name, Some(&old), Dating::Changes, at(200))
            .unwrap()
            .unwrap();
        assert_eq!((new.created_at, new.updated_at), (at(100), at(200)));
        assert!(new.labels.is_empty());
    }

    #[test]
    fn a_clock_that_steps_back_does_not_take_updated_at_back() {
        let old = stored();
        let change = ImageChange::Replace {
            target: target("two"),
            labels: Labels::default(),
        };
        let new = change
            .apply(&old.name, Some(&old), Dating::Changes, at(50))
            .unwrap()
            .unwrap();
        assert_eq!(new.updated_at, at(100));
    }

    #[test]
    fn a_change_that_changes_nothing_is_the_record_as_it_was() {
        let old = stored();
        let same = ImageChange::Replace {
            target: old.target.clone(),
            labels: old.labels.clone(),
        };
        assert_eq!(
            same.apply(&old.name, Some(&old), Dating::Changes, at(200))
                .unwrap(),
            Some(old.clone())
        );
        let set_again = vec![ImageEdit::Label("a".into(), Some("1".into()))];
        assert_eq!(edited(set_again), old);
    }

    #[test]
    fn one_label_changes_and_the_rest_stays() {
        let new = edited(vec![
            ImageEdit::Label("b.c".into(), None),
            ImageEdit::Label("d".into(), Some(String::new())),
        ]);
        assert_eq!(new.labels, labels(&[("a", "1"), ("d", "")]));
        assert_eq!(new.target, stored().target);
    }

    #[test]
    fn annotations_are_edited_inside_the_target() {
        let new = edited(vec![
            ImageEdit::Target(target("two")),
            ImageEdit::Annotation("k".into(), Some("v".into())),
        ]);
        assert_eq!(new.target.digest(), target("two").digest());
        assert_eq!(
            new.target.annotations().get("k").map(String::as_str),
            Some("v")
        );
        assert_eq!(new.labels, stored().labels);
    }

    #[test]
    fn an_edit_makes_a_record_only_when_it_brings_a_target() {
        let name: ImageName = "n".parse().unwrap();
        let label = ImageEdit::Label("a".into(), Some("1".into()));
        let labels_only = ImageChange::Edit(vec![label.clone()]);
        assert_eq!(
            labels_only
                .apply(&name, None, Dating::Changes, at(1))
                .unwrap(),
            None
        );
        let both = ImageChange::Edit(vec![label, ImageEdit::Target(target("one"))]);
        let made = both
            .apply(&name, None, Dating::Changes, at(1))
            .unwrap()
            .unwrap();
        assert_eq!((made.labels.get("a"), made.created_at), (Some("1"), at(1)));
    }

    /// A target with everything that containerd does not know.
    fn whole_target() -> Descriptor {
        target("one")
            .with_urls(vec!["https://example.org/one".into()])
            .unwrap()
            .with_platform(Some(
                crate::domain::Platform::new("arm64".into(), "linux".into()).unwrap(),
            ))
            .with_artifact_type(Some("a/chart".parse().unwrap()))
            .with_annotations(Annotations::from([("k".into(), "v".into())]))
            .unwrap()
    }

    #[test]
    fn a_retarget_to_the_same_content_keeps_what_containerd_does_not_know() {
        let old = Image {
            target: whole_target(),
            ..stored()
        };
        let retarget = |new: Descriptor| {
            ImageChange::Edit(vec![ImageEdit::Retarget(new)])
                .apply(&old.name, Some(&old), Dating::Changes, at(200))
                .unwrap()
                .unwrap()
        };
        let annotations = Annotations::from([("l".into(), "w".into())]);
        let same = target("one").with_annotations(annotations.clone()).unwrap();
        let kept = whole_target().with_annotations(annotations).unwrap();
        assert_eq!(retarget(same).target, kept);
        let other_size = Descriptor::new(
            "a/b".parse().unwrap(),
            *target("one").digest(),
            Size::try_from(8u64).unwrap(),
        );
        let other_type = Descriptor::new(
            "a/c".parse().unwrap(),
            *target("one").digest(),
            target("one").size(),
        );
        for other in [target("two"), other_size, other_type] {
            assert_eq!(retarget(other.clone()).target, other);
        }
    }

    #[test]
    fn a_record_is_renewed_as_by_a_retarget_and_made_where_it_is_not_there() {
        let old = Image {
            target: whole_target(),
            ..stored()
        };
        let new_labels = labels(&[("a", "1")]);
        let renewed = |old: Option<&Image>, target: Descriptor| {
            let labels = new_labels.clone();
            let change = ImageChange::Renew { target, labels };
            let new = change.apply(&stored().name, old, Dating::Changes, at(200));
            let new = new.unwrap().unwrap();
            assert_eq!(new.labels, new_labels);
            new.target
        };
        let annotations = Annotations::from([("l".into(), "w".into())]);
        let same = target("one").with_annotations(annotations.clone()).unwrap();
        let kept = whole_target().with_annotations(annotations).unwrap();
        assert_eq!(renewed(Some(&old), same.clone()), kept);
        assert_eq!(renewed(None, same.clone()), same);
        assert_eq!(renewed(Some(&old), target("two")), target("two"));
    }

    #[test]
    fn a_retarget_makes_no_record() {
        let edits = vec![
            ImageEdit::Retarget(target("one")),
            ImageEdit::Labels(labels(&[("a", "1")])),
        ];
        let made = ImageChange::Edit(edits).apply(&stored().name, None, Dating::Changes, at(1));
        assert_eq!(made, Ok(None));
    }

    #[test]
    fn a_write_of_containerds_dates_the_record_whatever_it_changes() {
        let old = stored();
        let dated = |change: &ImageChange, old: Option<&Image>, dating| {
            let new = change
                .apply(&stored().name, old, dating, at(200))
                .unwrap()
                .unwrap();
            (new.created_at, new.updated_at)
        };
        let nothing = ImageChange::Edit(Vec::new());
        let (earlier, now) = (Dating::Writes(Some(at(7))), Dating::Writes(None));
        assert_eq!(dated(&nothing, Some(&old), now), (at(100), at(200)));
        assert_eq!(dated(&nothing, Some(&old), earlier), (at(100), at(7)));
        let replace = ImageChange::Replace {
            target: target("two"),
            labels: Labels::default(),
        };
        assert_eq!(dated(&replace, None, now), (at(200), at(200)));
        assert_eq!(dated(&replace, None, earlier), (at(7), at(7)));
        let kept = Dating::Kept {
            created_at: at(3),
            updated_at: at(5),
        };
        for old in [None, Some(&old)] {
            assert_eq!(dated(&replace, old, kept), (at(3), at(5)));
        }
    }

    #[test]
    fn an_upsert_makes_a_namespace_and_changes_only_what_it_names() {
        let name: Namespace = "ns".parse().unwrap();
        let upsert = NamespaceChange::Upsert(vec![NamespaceEdit::Labels(labels(&[("a", "1")]))]);
        let made = upsert
            .apply(&name, None, Dating::Writes(None), at(1))
            .unwrap()
            .unwrap();
        assert_eq!((made.labels.get("a"), made.created_at), (Some("1"), at(1)));
        let limited = NamespaceRecord {
            labels: Labels::default(),
            history_limit: Some(HistoryLimit::try_from(3).unwrap()),
            ..made
        };
        let new = upsert.apply(&name, Some(&limited), Dating::Writes(None), at(2));
        let new = new.unwrap().unwrap();
        assert_eq!(new.labels, labels(&[("a", "1")]));
        assert_eq!(new.history_limit, limited.history_limit);
        assert_eq!((new.created_at, new.updated_at), (at(1), at(2)));
    }

    #[test]
    fn a_mask_path_names_a_part_that_a_put_can_change() {
        assert_eq!(
            ImagePath::parse("labels.a.\"b/c\"").unwrap(),
            ImagePath::Label("a.\"b/c\"".into())
        );
        assert_eq!(
            ImagePath::parse("target.annotations.x.y").unwrap(),
            ImagePath::Annotation("x.y".into())
        );
        for bad in [
            "",
            "name",
            "created_at",
            "target.digest",
            "labels.",
            "target.annotations.",
            "Labels",
        ] {
            assert_eq!(
                ImagePath::parse(bad).unwrap_err().field(),
                "update_mask",
                "{bad}"
            );
        }
        for bad in ["", "name", "labels."] {
            assert_eq!(
                NamespacePath::parse(bad).unwrap_err().field(),
                "update_mask",
                "{bad}"
            );
        }
    }
}
