//! What history tells: whether an image was built on another one, and by which step it went on.

use super::json::Fields;
use super::{ContainerConfig, DiffId, ImageConfig};
use crate::domain::{Invalid, Timestamp};

/// A step of a build, as a config remembers it. Times are the same whatever offset they were written with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryEntry {
    pub created: Option<Timestamp>,
    pub created_by: String,
    pub author: String,
    pub comment: String,
    /// The step made no layer.
    pub empty_layer: bool,
}

/// The step by which an image goes on from its parent.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    pub(super) image: &'a ImageConfig,
    pub(super) parent: Option<&'a ImageConfig>,
    entry: &'a HistoryEntry,
    layer: Option<&'a DiffId>,
}

/// Why an image does not go on from a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBuiltOn {
    /// History and layers of the parent are not the beginning of the image's own, or nothing comes after them.
    OtherParent,
    /// The history of the one or of the other does not say which layers its steps made.
    UnclearHistory,
}

/// The step by which `image` goes on from `parent`; without a parent, its first.
///
/// Refuses an image whose history and layers do not begin with all of the parent's, and one that ends there.
/// Where a history has not as many entries with a layer as there are layers, nothing is concluded from it.
pub fn next_step<'a>(
    image: &'a ImageConfig,
    parent: Option<&'a ImageConfig>,
) -> Result<Step<'a>, NotBuiltOn> {
    let is_clear = |config: &ImageConfig| config.steps_with_layer() == config.diff_ids().len();
    if !is_clear(image) || !parent.is_none_or(is_clear) {
        return Err(NotBuiltOn::UnclearHistory);
    }
    let (history, layers) = parent.map_or((&[][..], &[][..]), |p| (p.history(), p.diff_ids()));
    if !image.history().starts_with(history) || !image.diff_ids().starts_with(layers) {
        return Err(NotBuiltOn::OtherParent);
    }
    let Some(entry) = image.history().get(history.len()) else {
        return Err(NotBuiltOn::OtherParent);
    };
    let layer = (!entry.empty_layer).then(|| &image.diff_ids()[layers.len()]);
    Ok(Step {
        image,
        parent,
        entry,
        layer,
    })
}

// === impl HistoryEntry ===

impl HistoryEntry {
    pub(super) fn of(fields: Fields<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            created: fields.time("created")?,
            created_by: fields.text("created_by")?,
            author: fields.text("author")?,
            comment: fields.text("comment")?,
            empty_layer: fields.flag("empty_layer")?,
        })
    }
}

// === impl Step ===

impl<'a> Step<'a> {
    pub fn entry(&self) -> &'a HistoryEntry {
        self.entry
    }

    /// The layer that it made, if any.
    pub fn layer(&self) -> Option<&'a DiffId> {
        self.layer
    }

    /// Whether nothing comes after it: its result is the image itself.
    pub fn is_last(&self) -> bool {
        self.image.history().len() == self.parent.map_or(0, |p| p.history().len()) + 1
    }

    /// Whether it is the step that a build is about to make.
    ///
    /// History tells a command as one line, where `["a b", "c"]` and `["a", "b", "c"]` are the same. Of the last step
    /// the image may remember the words, and then they count.
    pub fn is_made_by(&self, container_config: &ContainerConfig) -> bool {
        let remembered = self.image.container_config().filter(|_| self.is_last());
        let words = remembered.map_or(&[][..], |container| &container.cmd);
        self.entry.created_by == container_config.cmd_line()
            && (words.is_empty() || *words == container_config.cmd)
    }
}
