//! Folders that are OCI layouts, or claim to be.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::slice;

use proptest::prelude::*;

use super::*;

#[test]
fn configs_are_linked_to_their_manifest_and_to_every_index_above() {
    let mut layout = Layout::new();
    let (amd, arm) = (config("amd64"), config("arm64"));
    let (amd_manifest, arm_manifest) = (layout.manifest(&amd), layout.manifest(&arm));
    let inner = layout.index(&[amd_manifest.clone(), arm_manifest.clone()]);
    let outer = layout.index(slice::from_ref(&inner));
    // Once more, by another way.
    let other = layout.index(slice::from_ref(&arm_manifest));
    layout.name(outer.clone(), "outer");
    layout.name(other.clone(), "other");
    layout.name(amd_manifest.clone(), "amd");
    let told = layout.told();
    let amd = digest(amd.to_string().as_bytes());
    let arm = digest(arm.to_string().as_bytes());
    assert_eq!(
        told.configs,
        [
            (amd.clone(), vec![of(&amd_manifest)]),
            (arm.clone(), vec![of(&arm_manifest)]),
        ]
    );
    let links = [
        (&amd, &inner),
        (&arm, &inner),
        (&amd, &outer),
        (&arm, &outer),
        (&arm, &other),
    ];
    assert_eq!(
        told.links,
        links.map(|(id, target)| (id.clone(), of(target)))
    );
    let names: Vec<&str> = told.images.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["outer", "other", "amd"]);
    assert_eq!(
        (told.refused, told.notes, told.failure),
        (vec![], vec![], None)
    );
}

#[test]
fn a_descriptor_comes_whole_and_containerds_name_comes_first() {
    let mut layout = Layout::new();
    let mut entry = layout.manifest(&config("arm"));
    entry["platform"] = json!({
        "os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1", "os.features": ["f"]
    });
    entry["urls"] = json!(["https://example.org"]);
    entry["artifactType"] = json!("a/b");
    entry["annotations"] = json!({
        "org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "example.org/a:1"
    });
    entry["future"] = json!({"unknown": 1});
    layout.entries.push(entry.clone());
    let told = layout.told();
    let (name, target) = &told.images[0];
    assert_eq!(name, "example.org/a:1");
    let platform = target.platform.clone().unwrap();
    assert_eq!((&*platform.variant, &*platform.os_version), ("v7", "1"));
    assert_eq!(platform.os_features, ["f"]);
    assert_eq!((target.annotations.len(), target.urls.len()), (2, 1));
    assert_eq!(
        (&*target.artifact_type, &*target.digest),
        ("a/b", &*of(&entry))
    );
}

#[test]
fn a_config_may_stand_in_the_index_itself() {
    let mut layout = Layout::new();
    let content = config("amd64").to_string();
    let entry = layout.blob(CONFIG, &content);
    layout.name(entry, "config");
    let told = layout.told();
    assert_eq!(told.configs, [(digest(content.as_bytes()), vec![])]);
    assert_eq!(
        (told.images.len(), told.links.len(), told.notes.len()),
        (1, 0, 0)
    );
}

#[test]
fn an_index_that_is_refused_leaves_no_link_behind() {
    let layout = Layout::new();
    let manifests = (0..300).map(|i| layout.manifest(&config(&i.to_string())));
    let large = layout.index(&manifests.collect::<Vec<_>>());
    let mut layout = layout;
    layout.name(large, "large");
    let told = layout.told();
    assert!(
        told.refused[0].contains("more than 256 images"),
        "{:?}",
        told.refused
    );
    assert_eq!((told.links.len(), told.images.len()), (0, 0));
}

#[test]
fn what_is_no_image_has_a_name_and_no_config() {
    let mut layout = Layout::new();
    let empty = layout.blob("application/vnd.oci.empty.v1+json", "{}");
    let artifact = json!({"config": empty, "layers": []}).to_string();
    let artifact = layout.blob(MANIFEST, artifact);
    layout.name(artifact, "artifact");
    let blob = layout.blob("text/plain", "hello");
    layout.name(blob, "text");
    // What BuildKit says about an image has the form of one.
    let image = layout.manifest(&config("amd64"));
    let mut attestation = layout.manifest(&config("unknown"));
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let both = layout.index(&[image, attestation]);
    layout.name(both, "attested");
    let told = layout.told();
    assert_eq!(told.images.len(), 3);
    assert_eq!(told.configs.len(), 1);
    assert_eq!(told.refused.len(), 0);
    assert_eq!(told.notes.len(), 2, "{:?}", told.notes);
    assert!(told.notes[0].starts_with("artifact: "), "{:?}", told.notes);
}

#[test]
fn an_index_may_leave_out_platforms_but_not_all() {
    let mut layout = Layout::new();
    let here = layout.manifest(&config("amd64"));
    let elsewhere = layout.manifest(&config("arm64"));
    fs::remove_file(layout.path(&elsewhere)).unwrap();
    let sparse = layout.index(&[elsewhere.clone(), here]);
    let hollow = layout.index(&[elsewhere]);
    layout.name(sparse, "sparse");
    layout.name(hollow, "hollow");
    let told = layout.told();
    assert_eq!((told.configs.len(), told.images.len()), (1, 2));
    assert!(told.notes[0].contains("is not there"), "{:?}", told.notes);
    assert_eq!(told.refused.len(), 1);
    assert!(
        told.refused[0].contains("it is not there"),
        "{:?}",
        told.refused
    );
}

#[test]
fn a_blob_that_is_not_what_its_descriptor_says_is_refused() {
    let layout = Layout::new();
    let missing = layout.manifest(&config("amd64"));
    fs::remove_file(layout.path(&missing)).unwrap();
    assert!(layout.refused(missing).contains("it is not there"));

    let layout = Layout::new();
    let wrong = layout.manifest(&config("amd64"));
    let content = fs::read(layout.path(&wrong)).unwrap();
    let mut other = content.clone();
    other[3] ^= 1;
    fs::write(layout.path(&wrong), &other).unwrap();
    assert!(layout.refused(wrong).contains("its content has the digest"));

    let layout = Layout::new();
    let mut sized = layout.manifest(&config("amd64"));
    sized["size"] = json!(3);
    assert!(layout.refused(sized).contains("and should have 3"));

    let layout = Layout::new();
    let cut = layout.blob(MANIFEST, r#"{"config": {"mediaType"#);
    assert!(layout.refused(cut).contains("it makes no sense"));

    let layout = Layout::new();
    let both = layout.blob(MANIFEST, r#"{"manifests": [], "layers": []}"#);
    assert!(layout.refused(both).contains("those of a manifest"));

    let layout = Layout::new();
    let another = layout.blob(MANIFEST, json!({"mediaType": INDEX}).to_string());
    assert!(layout.refused(another).contains("it says that it is a"));

    let layout = Layout::new();
    let large = layout.blob(MANIFEST, vec![b' '; (4 << 20) + 1]);
    assert!(
        layout
            .refused(large)
            .contains("and at most 4194304 are read")
    );

    let layout = Layout::new();
    let large = layout.blob(CONFIG, vec![b' '; (1 << 20) + 1]);
    let manifest = layout.blob(MANIFEST, json!({"config": large}).to_string());
    assert!(
        layout
            .refused(manifest)
            .contains("and at most 1048576 are read")
    );

    let layout = Layout::new();
    let escape = json!({"mediaType": MANIFEST, "digest": "sha256:../../../etc/passwd", "size": 1});
    assert!(layout.refused(escape).contains("is no digest"));
}

#[test]
fn nothing_outside_of_the_folder_is_read() {
    let outside = tempfile::tempdir().unwrap();
    let layout = Layout::new();
    let manifest = layout.manifest(&config("amd64"));
    let path = layout.path(&manifest);
    let moved = outside.path().join("manifest");
    fs::rename(&path, &moved).unwrap();
    symlink(&moved, &path).unwrap();
    assert!(layout.refused(manifest).contains("out of the folder"));

    // Within it a link is as good as a file.
    let mut layout = Layout::new();
    let manifest = layout.manifest(&config("amd64"));
    let moved = layout.folder.path().join("elsewhere");
    fs::rename(layout.path(&manifest), &moved).unwrap();
    symlink("../../elsewhere", layout.path(&manifest)).unwrap();
    layout.name(manifest, "linked");
    assert_eq!(layout.told().images.len(), 1);

    let layout = Layout::new();
    let folder = layout.manifest(&config("amd64"));
    fs::remove_file(layout.path(&folder)).unwrap();
    fs::create_dir(layout.path(&folder)).unwrap();
    assert!(layout.refused(folder).contains("it is no file"));
}

#[test]
fn a_circle_and_a_tower_of_indexes_come_to_an_end() {
    // A blob that names itself cannot have its digest.
    let layout = Layout::new();
    let claimed = digest(b"itself");
    let itself = json!({"mediaType": INDEX, "digest": claimed, "size": 6});
    let content = json!({"manifests": [itself]}).to_string();
    let itself = json!({"mediaType": INDEX, "digest": claimed, "size": content.len()});
    fs::write(layout.path(&itself), content).unwrap();
    assert!(
        layout
            .refused(itself)
            .contains("its content has the digest")
    );

    let mut layout = Layout::new();
    let mut top = layout.manifest(&config("amd64"));
    for _ in 0..12 {
        top = layout.index(&[top]);
    }
    layout.name(top, "tower");
    let told = layout.told();
    assert!(
        told.refused[0].contains("below more than 8 indexes"),
        "{:?}",
        told.refused
    );

    // Each document is read once, whatever points to it.
    let mut layout = Layout::new();
    let mut top = layout.manifest(&config("amd64"));
    for _ in 0..6 {
        top = layout.index(&vec![top; 1000]);
    }
    layout.name(top, "bushy");
    let told = layout.told();
    assert_eq!(
        (told.configs.len(), told.images.len(), told.refused.len()),
        (1, 1, 0)
    );
}

#[test]
fn a_folder_that_is_no_layout_is_told_so() {
    let layout = Layout::new();
    layout.close();
    for (file, content, said) in [
        ("index.json", None, "index.json: it is not there"),
        (
            "index.json",
            Some("{"),
            "index.json: it makes no sense: EOF",
        ),
        (
            "index.json",
            Some(r#"{"manifests": [1]}"#),
            "index.json: it makes no sense",
        ),
        ("oci-layout", None, "oci-layout: it is not there"),
        (
            "oci-layout",
            Some(r#"{"imageLayoutVersion":"2.0.0"}"#),
            "of version 2.0.0, not 1",
        ),
    ] {
        let path = layout.folder.path().join(file);
        let before = fs::read(&path).unwrap();
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let told = told(Source::Layout(layout.folder.path().to_owned()));
        let failure = told.failure.unwrap();
        assert!(failure.contains(said), "{failure}");
        fs::write(&path, before).unwrap();
    }
    let told = told(Source::Layout("/no/such/folder".into()));
    assert!(told.failure.unwrap().contains("no such file"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_document_makes_a_layout_stumble(at in 0_usize..4096, byte: u8, which in 0_usize..3) {
        let mut layout = Layout::new();
        let manifest = layout.manifest(&config("amd64"));
        let index = layout.index(slice::from_ref(&manifest));
        layout.name(index.clone(), "a:1");
        layout.close();
        let root: &Path = layout.folder.path();
        let path = match which {
            0 => root.join("index.json"),
            1 => layout.path(&index),
            _ => layout.path(&manifest),
        };
        let mut content = fs::read(&path).unwrap();
        let at = at % content.len();
        content[at] = byte;
        fs::write(&path, content).unwrap();
        told(Source::Layout(root.to_owned()));
    }
}
