//! Taking back what failed.

use super::load::{All, Claims, Everything};
use super::rows::{SeenTarget, rewrite, subject};
use super::{BuildTargets, ResetTargets};
use crate::domain::build::{Event, State, TargetKey, Transition};
use crate::domain::{Invalid, Namespace};
use crate::error::Error;
use crate::kv::Batch;
use crate::store::answered::Answered;
use crate::store::claims::note;
use crate::store::edit::Decision;
use crate::store::wire::TargetRow;
use crate::store::{At, schema};

impl BuildTargets<'_> {
    /// Has all that is selected and in error be built again; all or none. Durable when it returns.
    ///
    /// Nobody is at what is in error: a failure ends the claim, and what failed is not handed out.
    ///
    /// [`Error::Invalid`] for more than [`Self::MAX_RESET`].
    pub async fn reset(
        &self,
        namespace: &Namespace,
        request: &ResetTargets,
    ) -> Result<At<Vec<TargetKey>>, Error> {
        let look = Everything {
            store: self.store,
            namespace,
            claims: Claims::None,
        };
        let turns = [schema::build_graph_key(namespace)];
        let once = request.request.as_ref().filter(|_| !request.validate_only);
        let decide = |seen: &All| {
            let mut batch = seen.batch();
            let reset = plan(&mut batch, namespace, request, seen)?;
            let value = Answered::new(namespace, reset);
            if request.validate_only {
                return Ok(Decision::nothing(seen.moment.wall, value));
            }
            Ok(Decision { batch, value })
        };
        let answer = self.store.edit(&turns, &look, once, decide).await?;
        Ok(answer.map(Answered::into_value))
    }
}

fn plan(
    batch: &mut Batch,
    namespace: &Namespace,
    request: &ResetTargets,
    seen: &All,
) -> Result<Vec<TargetKey>, Error> {
    let is_meant = |target: &&SeenTarget| {
        target.row.progress.state == State::Error && target.is_selected(&request.selector)
    };
    let meant: Vec<&SeenTarget> = seen.loaded.targets.iter().filter(is_meant).collect();
    let (many, most) = (meant.len(), BuildTargets::MAX_RESET);
    if many > most {
        let reason = format!("selects {many} targets that failed, more than {most}; say fewer");
        return Err(Invalid::new("selector", reason).into());
    }
    for target in &meant {
        let reset = target.row.progress.after(&Event::Reset);
        let progress = match reset.map_err(|illegal| Error::IllegalTransition {
            subject: subject(namespace, target.target()),
            illegal,
        })? {
            Transition::To(progress) => *progress,
            Transition::Unchanged => continue,
        };
        let row = TargetRow {
            progress,
            updated_at: seen.moment.steady,
            ..(*target.row).clone()
        };
        rewrite(batch, namespace, target, &row)?;
    }
    if !meant.is_empty() {
        note(batch, &seen.moment);
    }
    Ok(meant
        .into_iter()
        .map(|target| target.target().clone())
        .collect())
}
