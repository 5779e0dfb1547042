//! Asking the daemon here, by its commands.

use super::config::{Argv, Vars};
use super::process::{self, Ran, Voice};
use super::registry::Look;
use super::stop::Stop;
use crate::domain::build::Presence;

/// Looks for an image with the command for that: a line is there, none is not, and a failure says nothing.
pub async fn look(exists: &Argv, vars: &Vars, stop: &Stop) -> Look {
    let ran = process::run(&exists.fill(vars), &Voice::Silent, true, stop).await;
    read(&ran)
}

fn read(ran: &Ran) -> Look {
    if !ran.is_well() {
        return Look::unknown(format!(
            "the command that looks for it failed: {}",
            ran.why()
        ));
    }
    match ran
        .stdout
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
    {
        Some(line) => Look::sure(Presence::Present(line.parse().ok())),
        None => Look::sure(Presence::Absent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn look_with(script: &str) -> Look {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        look(
            &Argv::new(&words, &[]).unwrap(),
            &Vars::default(),
            &Stop::default(),
        )
        .await
    }

    #[tokio::test]
    async fn only_success_without_a_line_is_absent() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (script, presence) in [
            ("true".to_owned(), Presence::Absent),
            ("echo".to_owned(), Presence::Absent),
            ("echo 0a0b".to_owned(), Presence::Present(None)),
            (
                format!("echo {digest}"),
                Presence::Present(Some(digest.parse().unwrap())),
            ),
            ("false".to_owned(), Presence::Unknown),
            ("echo there; exit 1".to_owned(), Presence::Unknown),
            ("kill -9 $$".to_owned(), Presence::Unknown),
        ] {
            assert_eq!(look_with(&script).await.presence, presence, "{script}");
        }
    }
}
