//! Tar archives, of `docker save` and of layouts.

use proptest::prelude::*;

use super::*;
use crate::cli::import::oci::document::DOCKER_CONFIG;

/// A tar archive of files and links.
fn tar(entries: &[(&str, Result<&[u8], &str>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, entry) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        // Not set_path, which refuses what leads out.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        match entry {
            Ok(content) => {
                header.set_size(content.len() as u64);
                header.set_cksum();
                archive.append(&header, *content).unwrap();
            }
            Err(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                header.set_link_name_literal(target).unwrap();
                header.set_cksum();
                archive.append(&header, io::empty()).unwrap();
            }
        }
    }
    archive.into_inner().unwrap()
}

fn told_of_archive(content: &[u8]) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    fs::write(&path, content).unwrap();
    let told = told(Source::Archive(path));
    drop(folder);
    told
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut packed, content).unwrap();
    packed.finish().unwrap()
}

#[test]
fn the_names_of_a_saved_image_point_to_its_config() {
    let config = config("amd64").to_string();
    let id = digest(config.as_bytes());
    let hex = &id[7..];
    let list =
        json!([{"Config": "link.json", "RepoTags": ["alpine:3", "a.b/c:1"], "Layers": ["l.tar"]}]);
    let layer = vec![7; 1 << 16];
    for (list, refused) in [
        (
            list.to_string()
                .replace("link.json", &format!("{hex}.json")),
            None,
        ),
        (
            list.to_string()
                .replace("link.json", &format!("blobs/sha256/{hex}")),
            None,
        ),
        (list.to_string(), Some("not called by its digest")),
        (
            list.to_string()
                .replace("link.json", &format!("{}.json", "0".repeat(64))),
            Some("its content has the digest"),
        ),
        (
            list.to_string().replace("link.json", "../../etc/passwd"),
            Some("out of the archive"),
        ),
        (
            list.to_string().replace("link.json", "out.json"),
            Some("out of the archive"),
        ),
        (
            list.to_string().replace("link.json", "circle.json"),
            Some("in a circle"),
        ),
        (
            list.to_string().replace("link.json", "l.tar"),
            Some("it is no JSON"),
        ),
        (
            list.to_string().replace("link.json", "none.json"),
            Some("it is not there"),
        ),
    ] {
        let zeros = format!("{}.json", "0".repeat(64));
        let by_digest = format!("./{hex}.json");
        let as_blob = format!("blobs/sha256/{hex}");
        let up = format!("../../{hex}.json");
        let archive = tar(&[
            ("l.tar", Ok(&layer)),
            (&by_digest, Ok(config.as_bytes())),
            (&as_blob, Err(&up)),
            (&zeros, Ok(config.as_bytes())),
            ("link.json", Err(&by_digest)),
            ("out.json", Err("/etc/passwd")),
            ("circle.json", Err("circle.json")),
            ("../escape", Ok(b"{}")),
            ("manifest.json", Ok(list.as_bytes())),
        ]);
        for archive in [gzip(&archive), archive] {
            let told = told_of_archive(&archive);
            assert_eq!(told.failure, None);
            match refused {
                Some(said) => {
                    assert!(told.refused[0].contains(said), "{:?}", told.refused);
                    assert_eq!((told.configs.len(), told.images.len()), (0, 0));
                }
                None => {
                    assert_eq!(told.configs, [(id.clone(), vec![])]);
                    let names: Vec<&str> = told.images.iter().map(|(name, _)| &**name).collect();
                    assert_eq!(names, ["docker.io/library/alpine:3", "a.b/c:1"]);
                    let target = &told.images[0].1;
                    assert_eq!(
                        (&*target.digest, &*target.media_type),
                        (&*id, DOCKER_CONFIG)
                    );
                    assert_eq!(target.size, i64::try_from(config.len()).unwrap());
                }
            }
        }
    }
}

#[test]
fn an_archive_may_hold_a_layout() {
    let mut layout = Layout::new();
    let manifest = layout.manifest(&config("amd64"));
    layout.name(manifest, "inside");
    layout.close();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", layout.folder.path()).unwrap();
    let archive = archive.into_inner().unwrap();
    for archive in [gzip(&archive), archive] {
        let told = told_of_archive(&archive);
        assert_eq!(
            (told.configs.len(), told.images.len()),
            (1, 1),
            "{:?}",
            told.failure
        );
    }
}

#[test]
fn an_archive_that_is_none_or_is_cut_is_told_so() {
    let list = json!([]).to_string();
    let whole = tar(&[("manifest.json", Ok(list.as_bytes()))]);
    for (content, said) in [
        (
            b"no archive, but some text".repeat(40),
            "must be a tar archive",
        ),
        (
            tar(&[("some.txt", Ok(b"text"))]),
            "neither an OCI layout nor",
        ),
        (gzip(&whole)[..20].to_vec(), "must be a tar archive"),
        (Vec::new(), "neither an OCI layout nor"),
    ] {
        let failure = told_of_archive(&content).failure.unwrap();
        assert!(failure.contains(said), "{failure}");
    }
}

/// What was lost: a long name is read whole by the tar crate, so a small gzip file could fill the memory.
#[test]
fn a_name_that_has_no_end_is_refused() {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend(vec![b'a'; 3 << 20]);
    for archive in [gzip(&archive), archive] {
        let failure = told_of_archive(&archive).failure.unwrap();
        assert!(
            failure.contains("headers of an entry have more than"),
            "{failure}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_an_archive_stumble(
        at in 0_usize..4096,
        byte: u8,
        cut in 0_usize..4096,
        is_packed: bool,
    ) {
        let config = config("amd64").to_string();
        let name = format!("{}.json", &digest(config.as_bytes())[7..]);
        let list = json!([{"Config": name, "RepoTags": ["a:1"]}]).to_string();
        let mut archive = tar(&[
            (&name, Ok(config.as_bytes())), ("manifest.json", Ok(list.as_bytes())),
        ]);
        let at = at % archive.len();
        archive[at] = byte;
        archive.truncate(archive.len() - cut % archive.len());
        let archive = if is_packed { gzip(&archive) } else { archive };
        told_of_archive(&archive);
    }
}
