//! The stages of a Dockerfile, and which of them the last one needs.

use super::{Said, Used};
use crate::cli::build::config::Wrong;

/// The stages, in the order of the file.
#[derive(Debug, Default)]
pub struct Stages(Vec<Stage>);

#[derive(Debug)]
struct Stage {
    /// In lowercase.
    name: Option<String>,
    base: Base,
    /// What COPY and RUN take files from.
    uses: Vec<Used>,
    version: Option<Said>,
}

/// What a stage begins with.
#[derive(Debug)]
pub enum Base {
    /// An earlier stage.
    Stage(usize),
    Image(Used),
    Scratch,
}

impl Stages {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last stage that began with that name.
    pub fn named(&self, name: &str) -> Option<usize> {
        let is_so = |stage: &Stage| {
            stage
                .name
                .as_ref()
                .is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        self.0.iter().rposition(is_so)
    }

    pub fn begin(&mut self, name: Option<String>, base: Base) {
        self.0.push(Stage {
            name,
            base,
            uses: Vec::new(),
            version: None,
        });
    }

    /// Takes note of an image, or a stage, that the newest stage takes files from.
    pub fn uses(&mut self, used: Used) {
        if let Some(stage) = self.0.last_mut() {
            stage.uses.push(used);
        }
    }

    pub fn says_version(&mut self, version: Said) {
        if let Some(stage) = self.0.last_mut() {
            stage.version = Some(version);
        }
    }

    /// The version of the last stage, or of the nearest stage below it that says one.
    pub fn version(&self) -> Option<Said> {
        let mut stage = self.0.last()?;
        loop {
            match (&stage.version, &stage.base) {
                (Some(version), _) => return Some(version.clone()),
                (None, Base::Stage(below)) => stage = &self.0[*below],
                (None, Base::Image(_) | Base::Scratch) => return None,
            }
        }
    }

    /// The images of the stages that the last one is made from.
    pub fn needed(&self) -> Result<Vec<Used>, Wrong> {
        let mut seen = vec![false; self.0.len()];
        let mut images = Vec::new();
        let mut open = vec![self.0.len() - 1];
        while let Some(n) = open.pop() {
            if std::mem::replace(&mut seen[n], true) {
                continue;
            }
            let stage = &self.0[n];
            match &stage.base {
                Base::Stage(below) => open.push(*below),
                Base::Image(used) => images.push(used.clone()),
                Base::Scratch => {}
            }
            for used in &stage.uses {
                match self.stage_of(used)? {
                    Some(other) => open.push(other),
                    None => images.push(used.clone()),
                }
            }
        }
        Ok(images)
    }

    /// The stage that files are taken from, by its name or number; none where that is an image.
    fn stage_of(&self, used: &Used) -> Result<Option<usize>, Wrong> {
        let Ok(number) = used.reference.parse::<usize>() else {
            return Ok(self.named(&used.reference));
        };
        match number < self.0.len() {
            true => Ok(Some(number)),
            false => {
                let reason = format!("there is no stage {number}; the first is 0");
                Err(Wrong::at(used.line, reason))
            }
        }
    }
}
