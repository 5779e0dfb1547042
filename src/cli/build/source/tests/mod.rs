//! Directories of images, as they are read, rendered and written.

mod plain;
mod templates;
mod walk;
mod writing;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::cli::build::config::FILE_NAME;

/// A directory with those files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn config(dir: &Path) -> Config {
    Config::find(None, dir).unwrap()
}

fn scanned(dir: &TempDir) -> Scanned {
    scan(dir.path(), &config(dir.path()), &mut template::answer).unwrap()
}

/// Why a scan fails, with the paths as they are below the directory.
fn refused(dir: &TempDir) -> String {
    let failure = scan(dir.path(), &config(dir.path()), &mut template::answer).unwrap_err();
    below(dir, &format!("{failure:?}"))
}

fn below(dir: &TempDir, text: &str) -> String {
    text.replace(&format!("{}/", dir.path().display()), "")
}

/// Each image and what it is built on.
fn graph(scanned: &Scanned) -> Vec<String> {
    let image = |image: &SourceImage| {
        let on: Vec<String> = image
            .dependencies
            .iter()
            .map(|dependency| match dependency {
                Dependency::Target { .. } => dependency.to_string(),
                Dependency::External(name) => format!("external {name}"),
            })
            .collect();
        format!("{} <- {}", image.key, on.join(", "))
    };
    scanned.images.iter().map(image).collect()
}

/// The Dockerfile of an image, where each target has a label of its own.
fn rendered(dir: &TempDir, scanned: &Scanned, key: &str) -> Result<String, String> {
    let image = scanned
        .images
        .iter()
        .find(|image| image.key.to_string() == key);
    let labels = |name: &TargetName| match name.as_str() {
        "gone" => None,
        name => Some(format!("reg.example/team/{name}:9")),
    };
    let rendered = image
        .unwrap()
        .render(&config(dir.path()), &labels, &mut template::answer);
    match rendered {
        Ok(rendered) => {
            assert_eq!(rendered.context, image.unwrap().dir);
            Ok(rendered.dockerfile)
        }
        Err(failure) => Err(below(dir, &format!("{failure:?}"))),
    }
}

const SETTINGS: &str = r#"
registry = "reg.example"
prefix = "team"
base_images = ["debian:13", "reg.example/team/seed:2"]
[variables]
greeting = "hello"
version = { major = 3 }
[uids]
app = 900
"#;

/// docker-pkg's layout with that much in it.
fn image(name: &str, version: &str, control: &str, template: &str) -> Vec<(String, String)> {
    let mut files = vec![
        (format!("{name}/Dockerfile.template"), template.to_owned()),
        (
            format!("{name}/changelog"),
            format!("{name} ({version}) x; urgency=low\n"),
        ),
    ];
    if !control.is_empty() {
        files.push((format!("{name}/control"), control.to_owned()));
    }
    files
}

fn tree_of(images: &[(&str, &str, &str, &str)]) -> TempDir {
    let mut files = vec![(FILE_NAME.to_owned(), SETTINGS.to_owned())];
    for (name, version, control, template) in images {
        files.extend(image(name, version, control, template));
    }
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    tree(&files)
}
