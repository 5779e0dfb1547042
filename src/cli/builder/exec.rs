//! `imagestore builder exec`: runs a command with an image that is fresh.

use std::path::PathBuf;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use tokio::process::Command;

use super::make::Recipe;
use super::user::User;
use super::{PolicyOptions, Which, config};
use crate::cli::build::holder;
use crate::cli::build::keeper::Lost;
use crate::cli::build::stop::Signals;
use crate::cli::build::telling::say;
use crate::cli::connect::Common;
use crate::cli::failure::{Exit, Failure, system_reason};

/// Run a command with an image to build in, which is made first where there is none that is fresh
///
/// `{image}` in the command is the image. Of all who ask for the same builder one makes the image; the others wait,
/// or go on with the old one. The image is not removed while the command runs. Ends as the command does. The policy
/// that the options tell is for a builder that is not there yet; `builder put` changes that of one that is.
#[derive(Debug, clap::Args)]
#[command(mut_arg("recipe_id", |option| option.hide(true)))]
pub struct Exec {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    policy: PolicyOptions,
    /// Make a new image, whatever there is
    #[arg(long)]
    force: bool,
    /// Use an image that is too old while somebody makes a new one, or nobody can
    #[arg(long)]
    stale_ok: bool,
    /// How images are made [default: imagestore.toml here]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to run, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What shells say of a program that cannot be run, and of one that there is not.
const CANNOT_RUN: u8 = 126;
const NO_SUCH_PROGRAM: u8 = 127;

impl Exec {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut signals = Signals::catch()?;
        let stop = signals.stop.clone();
        let config = config(self.config.as_deref())?;
        // Read once: what is made is what the builder goes by.
        let recipe = Recipe::read(&self.which.how)?;
        let mut user = User {
            client: common.builders().await?,
            namespace: common.one_namespace()?.to_owned(),
            key: self.which.how.key_by(&self.which.base, recipe.id())?,
            recipe,
            location: config.location()?,
            config,
            holder: holder(),
            tracks_base: false,
            stop: &stop,
        };
        let image = match user.put(&self.policy).await {
            Ok(()) => user.image(self.force, self.stale_ok).await,
            Err(failure) => Err(failure),
        };
        let image = match image {
            // Given back by now.
            _ if stop.is_asked() => {
                if let Ok(image) = image {
                    user.unpin(&image.pin.id).await;
                }
                return signals.end().await;
            }
            Ok(image) => image,
            Err(failure) => {
                signals.settled().await;
                return Err(failure);
            }
        };
        let keeper = user.keep_pin(&image.pin);
        let warn = async {
            let Lost(why) = keeper.lost().await;
            say(&format!(
                "imagestore: the image may be removed from now on: {why}."
            ));
            std::future::pending::<std::convert::Infallible>().await
        };
        let ended = tokio::select! {
            ended = run(&self.command, &image.name, &mut signals) => ended,
            never = warn => match never {},
        };
        drop(keeper);
        user.unpin(&image.pin.id).await;
        signals.settled().await;
        match ended? {
            Exit::As(0) => Ok(()),
            exit => Err(Failure::told(exit)),
        }
    }
}

/// Runs the command as if the person had: with this process's terminal, and in its group.
async fn run(command: &[String], image: &str, signals: &mut Signals) -> Result<Exit, Failure> {
    let filled: Vec<String> = command
        .iter()
        .map(|word| word.replace("{image}", image))
        .collect();
    let Some((program, arguments)) = filled.split_first() else {
        return Err(Failure::usage("no command is given"));
    };
    let spawned = Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => Failure::new(format!("there is no program {program}"))
            .exiting(Exit::As(NO_SUCH_PROGRAM)),
        _ => Failure::new(format!("cannot run {program}: {}", system_reason(&why)))
            .exiting(Exit::As(CANNOT_RUN)),
    })?;
    let pid = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let tell = |signal| {
        if let Some(pid) = pid {
            // It may have ended.
            let _ = kill_process(pid, signal);
        }
    };
    let cannot_wait =
        |why: std::io::Error| Failure::new(format!("cannot wait for {program}: {why}"));
    let stop = signals.stop.clone();
    tokio::select! {
        ended = child.wait() => return Ok(exit(ended.map_err(cannot_wait)?)),
        signal = signals.caught() => {
            // A terminal tells the whole group of ^C and ^\.
            let is_typed = [Signal::INT, Signal::QUIT].contains(&signal);
            if !is_typed || !std::io::stdin().is_terminal() {
                tell(signal);
            }
        }
    }
    tokio::select! {
        ended = child.wait() => return Ok(exit(ended.map_err(cannot_wait)?)),
        () = stop.at_once() => tell(Signal::KILL),
    }
    Ok(exit(child.wait().await.map_err(cannot_wait)?))
}

fn exit(ended: ExitStatus) -> Exit {
    match (ended.code(), ended.signal()) {
        (Some(code), _) => Exit::As(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Some(signal)) => Exit::of_signal(signal),
        (None, None) => Exit::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_a_signal_ended_is_told_as_shells_do() {
        assert_eq!(exit(ExitStatus::from_raw(3 << 8)), Exit::As(3));
        assert_eq!(exit(ExitStatus::from_raw(15)), Exit::As(143));
        assert_eq!(exit(ExitStatus::from_raw(0)), Exit::As(0));
    }
}
