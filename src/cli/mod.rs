//! The command line: one file a command, over the same API that everybody uses.

mod address;
mod backup;
mod bolt;
mod build;
mod builder;

mod cache;
mod compact;
mod completions;
mod config;
mod connect;
mod containerd;
mod count;
mod export;
mod failure;
mod get;
mod history;
mod human;
mod import;
mod label;
mod lineage;
mod lines;
mod ls;
mod ns;
mod output;
mod pair;
mod platform;
mod put;
mod record;
mod restore;
mod retry;
mod rm;
mod rollback;
mod select;
mod serve;
mod status;
mod table;
mod tally;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::connect::Common;
use self::failure::Failure;
use self::output::Form;

/// Keeps records of container images: which digest a name points to
///
/// Exit codes: 0 done, 1 error, 2 wrong usage, 4 not found, 5 conflict (it exists already, it changed
/// meanwhile, or its state forbids it).
#[derive(Debug, Parser)]
#[command(name = "imagestore", version, max_term_width = 100)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Put(Box<put::Put>),
    Get(get::Get),
    Ls(ls::Ls),
    Label(label::Label),
    Rm(rm::Rm),
    History(history::History),
    Rollback(rollback::Rollback),
    Count(count::Count),
    Watch(watch::Watch),
    Ns(ns::Ns),
    Config(config::Config),
    Lineage(lineage::Lineage),
    Cache(cache::Cache),
    Build(Box<build::Build>),
    Builder(Box<builder::Builder>),
    Import(import::Import),
    Export(export::Export),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Compact(compact::Compact),
    Status(status::Status),
    Verify(verify::Verify),
    Completions(completions::Completions),
}

/// Parses the command line, does what it says, and tells what went wrong.
pub fn main() -> ExitCode {
    // kv/redb turns redb's panics on damaged pages into errors, which say what to do.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic
            .location()
            .is_some_and(|at| at.file().contains("/redb-"))
        {
            tell(panic);
        }
    }));
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(why) => {
            let failure = Failure::new(format!("cannot start threads: {why}"));
            failure.tell();
            return failure.exit().into();
        }
    };
    let done = runtime.block_on(run(Args::of_process()));
    // Does not wait for a thread that waits for standard input.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.exit().into()
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let common = &args.common;
    if !args.command.has_form(common.form) {
        let failure = Failure::usage(match common.form {
            Form::Mermaid => "only build graph is written in Mermaid",
            _ => "only lineage and build graph are written as a graph",
        });
        return Err(failure.next("Give -o json, ndjson or table"));
    }
    match args.command {
        Command::Serve(serve) => serve.run().await,
        Command::Put(put) => put.run(common).await,
        Command::Get(get) => get.run(common).await,
        Command::Ls(ls) => ls.run(common).await,
        Command::Label(label) => label.run(common).await,
        Command::Rm(rm) => rm.run(common).await,
        Command::History(history) => history.run(common).await,
        Command::Rollback(rollback) => rollback.run(common).await,
        Command::Count(count) => count.run(common).await,
        Command::Watch(watch) => watch.run(common).await,
        Command::Ns(ns) => ns.run(common).await,
        Command::Config(config) => config.run(common).await,
        Command::Lineage(lineage) => lineage.run(common).await,
        Command::Cache(cache) => cache.run(common).await,
        Command::Build(build) => build.run(common).await,
        Command::Builder(builder) => builder.run(common).await,
        Command::Import(import) => import.run(common).await,
        Command::Export(export) => export.run(common).await,
        Command::Backup(backup) => backup.run(common).await,
        Command::Restore(restore) => restore.run(common).await,
        Command::Compact(compact) => compact.run(common).await,
        Command::Status(status) => status.run(common).await,
        Command::Verify(verify) => verify.run(common).await,
        Command::Completions(completions) => completions.run(),
    }
}

impl Command {
    /// Whether its results can be written so.
    fn has_form(&self, form: Form) -> bool {
        match form {
            Form::Table | Form::Json | Form::Ndjson => true,
            Form::Dot => match self {
                Self::Lineage(_) => true,
                Self::Build(build) => build.is_graph(),
                _ => false,
            },
            Form::Mermaid => matches!(self, Self::Build(build) if build.is_graph()),
        }
    }
}

impl Args {
    /// The arguments of this process. Ends it with code 2, and clap's words, where they make no sense.
    fn of_process() -> Self {
        let matches = Self::command().get_matches();
        let mut args = Self::from_arg_matches(&matches).unwrap_or_else(|why| why.exit());
        args.common.namespace_given =
            matches.value_source("namespace") == Some(ValueSource::CommandLine);
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn common_options_stand_before_or_after_the_command() {
        for line in ["imagestore -n - -o json ls", "imagestore ls -n - -o json"] {
            let args = Args::try_parse_from(line.split(' ')).unwrap();
            assert!(args.common.all_namespaces(), "{line}");
            assert_eq!(args.common.output(), output::Output::Json, "{line}");
        }
    }
}
