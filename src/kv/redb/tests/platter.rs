//! What a disk has when the power goes: all that was synced, and whatever of the rest.

use std::collections::BTreeMap;
use std::mem;

use super::content::{Change, Content};
use super::disk::{Event, FileId, Image};
use super::luck::Luck;
use crate::kv::redb::DATABASE_FILE;
use crate::kv::redb::files::UNFINISHED_FILE;

/// A disk at one point of its life.
#[derive(Clone, Debug, Default)]
pub struct Platter {
    names: BTreeMap<String, FileId>,
    files: Vec<Stored>,
}

#[derive(Clone, Debug, Default)]
struct Stored {
    synced: Content,
    unsynced: Vec<Change>,
    /// A file's first sync keeps its name too.
    was_synced: bool,
}

/// What a disk writes whole: its own sectors, or those of the drive below.
const GRAINS: [u64; 2] = [512, 4096];

impl Platter {
    /// One that begins with an image.
    pub fn of(image: &Image) -> Self {
        let mut platter = Self::default();
        for (name, content) in &image.0 {
            platter.names.insert(name.clone(), platter.files.len());
            platter.files.push(Stored {
                synced: content.clone(),
                unsynced: Vec::new(),
                was_synced: true,
            });
        }
        platter
    }

    pub fn pass(&mut self, event: &Event, luck: &mut Luck) {
        match event {
            Event::Made { name, file } => {
                self.names.insert(name.clone(), *file);
                self.files
                    .resize_with(self.files.len().max(file + 1), Stored::default);
            }
            Event::Renamed => {
                let file = self.names.remove(UNFINISHED_FILE);
                self.names
                    .extend(file.map(|file| (DATABASE_FILE.to_owned(), file)));
            }
            Event::Changed { file, change } => self.files[*file].unsynced.push(change.clone()),
            Event::Synced(file) => {
                let stored = &mut self.files[*file];
                stored.was_synced = true;
                for change in mem::take(&mut stored.unsynced) {
                    stored.synced.apply(&change);
                }
            }
            Event::SyncFailed(file) => {
                let stored = &mut self.files[*file];
                let lost = mem::take(&mut stored.unsynced);
                for change in arrived(&lost, luck) {
                    stored.synced.apply(&change);
                }
            }
            Event::Failed | Event::Answered(_) | Event::Shown(_) => {}
        }
    }

    /// One of the states that the power can leave.
    pub fn image(&self, luck: &mut Luck) -> Image {
        let mut image = Image::default();
        for (name, file) in &self.names {
            let stored = &self.files[*file];
            if !stored.was_synced && luck.one_in(2) {
                continue;
            }
            let mut content = stored.synced.clone();
            for change in arrived(&stored.unsynced, luck) {
                content.apply(&change);
            }
            image.0.insert(name.clone(), content);
        }
        image
    }

    /// The state that it leaves where nothing arrives but what was synced.
    pub fn synced(&self) -> Image {
        let files = self.names.iter();
        let synced = files.map(|(name, file)| (name.clone(), self.files[*file].synced.clone()));
        Image(synced.collect())
    }
}

/// What arrives of changes that were not synced, and in what order.
fn arrived(unsynced: &[Change], luck: &mut Luck) -> Vec<Change> {
    let grain = luck.pick(&GRAINS);
    let pieces = unsynced
        .iter()
        .cloned()
        .flat_map(|change| change.torn(grain));
    let mut pieces: Vec<Change> = pieces.collect();
    match luck.below(5) {
        0 => pieces.clear(),
        1 => {}
        // In order, up to somewhere.
        2 => pieces.truncate(luck.below(pieces.len() + 1)),
        // All but one: the piece that everything else relies on.
        3 => {
            if !pieces.is_empty() {
                pieces.remove(luck.below(pieces.len()));
            }
        }
        _ => {
            let (of, out_of) = luck.pick(&[(1, 8), (1, 2), (7, 8)]);
            pieces.retain(|_| luck.below(out_of) < of);
            luck.shuffle(&mut pieces);
        }
    }
    pieces
}
