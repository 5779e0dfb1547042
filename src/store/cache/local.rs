//! What was built here: the index of steps, and the configs that it leads to.

use super::LocalMiss;
use super::search::Parent;
use crate::domain::{ConfigId, ContainerConfig, DiffId, ImageConfig, Namespace, RunPlatform};
use crate::error::Error;
use crate::kv::{Rows, Versioned};
use crate::store::edit::View;
use crate::store::schema;
use crate::store::wire;

/// A step on a parent, and for whom.
pub struct LocalStep<'a> {
    pub namespace: &'a Namespace,
    /// `None` for a step from scratch.
    pub parent: Option<&'a Parent>,
    pub container_config: &'a ContainerConfig,
    pub platform: &'a RunPlatform,
}

/// Rows of the index that are read at once. The first one is it, nearly always.
const STEP: usize = 16;

impl LocalStep<'_> {
    /// The newest result of the step that was built here. Costs the same however many children the parent has.
    ///
    /// The index only says where to look: what it leads to is read and compared again, and passed over where it is
    /// not what it should be.
    pub async fn find(&self, view: &View<'_>) -> Result<Result<ConfigId, LocalMiss>, Error> {
        let parent = self.parent.map(|parent| parent.link);
        let part = schema::step_part(parent.as_ref(), &self.container_config.fingerprint());
        let mut rows = Rows::starting_with(schema::cache(self.namespace), &part);
        let mut missed = LocalMiss::NoSuchStep;
        loop {
            let found = view.scan(&rows, STEP).await?;
            for (row, value) in &found.rows {
                // Verify tells of a row that makes no sense; it is no reason to find nothing.
                let (Ok(row), Ok(platform)) = (
                    schema::parse_cache_row(row),
                    wire::decode_cache(value.value.clone()),
                ) else {
                    continue;
                };
                if !self.platform.accepts(&platform) {
                    missed = LocalMiss::OtherPlatform;
                } else if self.is_result(view, &row.id).await? {
                    return Ok(Ok(row.id));
                }
            }
            let Some(more) = found.rest(rows) else {
                return Ok(Err(missed));
            };
            rows = more;
        }
    }

    async fn is_result(&self, view: &View<'_>, id: &ConfigId) -> Result<bool, Error> {
        let keys = [
            schema::config_key(self.namespace, id),
            schema::marks_key(self.namespace, id),
        ];
        let [config, marks] = &view.get(&keys).await?[..] else {
            return Ok(false);
        };
        Ok(self.is_marked(id, marks.as_ref()) && self.has_step(id, config.as_ref()))
    }

    /// Whether it was built here, from the parent.
    fn is_marked(&self, id: &ConfigId, marks: Option<&Versioned>) -> bool {
        let Some(Ok(marks)) = marks.map(|row| wire::decode_marks(id, row.value.clone())) else {
            return false;
        };
        marks.built_locally && marks.parent == self.parent.map(|parent| parent.link)
    }

    /// Whether its bytes are what its id says, and its last step is this one, for this platform.
    fn has_step(&self, id: &ConfigId, config: Option<&Versioned>) -> bool {
        let Some(bytes) = config.map(|row| &row.value) else {
            return false;
        };
        ConfigId::of(bytes) == *id
            && ImageConfig::parse(bytes).is_ok_and(|config| {
                config.container_config() == Some(self.container_config)
                    && self.platform.accepts(config.platform())
                    && self.is_below(config.diff_ids())
            })
    }

    /// Whether these can be the layers of the result. What was built from a parent that nobody remembers has more than
    /// a step from scratch makes.
    fn is_below(&self, layers: &[DiffId]) -> bool {
        match self.parent {
            Some(parent) => layers.starts_with(&parent.summary.diff_ids),
            None => layers.len() <= 1,
        }
    }
}
