//! Whether a source has a step in its history, and where: decided purely.

use super::SourceMissReason;
use crate::domain::{ContainerConfig, ImageConfig, NotBuiltOn, RunPlatform, Step, next_step};

/// The step of a source that a build is about to make on a parent; without a parent, on nothing.
pub fn consider<'a>(
    source: &'a ImageConfig,
    parent: Option<&'a ImageConfig>,
    container_config: &ContainerConfig,
    platform: &RunPlatform,
) -> Result<Step<'a>, SourceMissReason> {
    if !platform.accepts(source.platform()) {
        return Err(SourceMissReason::OtherPlatform);
    }
    let step = next_step(source, parent).map_err(|why| match why {
        NotBuiltOn::OtherParent => SourceMissReason::OtherParent,
        NotBuiltOn::UnclearHistory => SourceMissReason::UnclearHistory,
    })?;
    if !step.is_made_by(container_config) {
        return Err(SourceMissReason::OtherStep {
            created_by: told(&step.entry().created_by),
        });
    }
    Ok(step)
}

/// Bytes of a command that are told; a hundred sources may each have one of a megabyte.
const MAX_TOLD: usize = 4096;

fn told(command: &str) -> String {
    if command.len() <= MAX_TOLD {
        return command.to_owned();
    }
    format!("{}…", &command[..command.floor_char_boundary(MAX_TOLD)])
}
