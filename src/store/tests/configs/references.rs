//! Which config a reference stands for, at every length and of every kind.

use super::*;
use crate::domain::RunPlatform;

on_every_engine![
    an_id_resolves_at_every_length_from_four_digits_on,
    what_is_no_beginning_of_an_id_is_said_to_be_none,
    the_beginning_of_several_ids_lists_them,
    candidates_are_told_up_to_a_number,
    a_name_stands_for_the_config_of_its_target,
    a_name_comes_before_the_beginning_of_an_id_and_after_a_whole_one,
    of_several_configs_of_a_name_the_platform_chooses,
    a_name_that_leads_to_no_config_stands_for_none,
];

async fn resolve(on: &On, text: &str) -> Result<ConfigId, Error> {
    on_platform(on, text, None).await
}

async fn on_platform(on: &On, text: &str, architecture: Option<&str>) -> Result<ConfigId, Error> {
    let platform = architecture.map(|architecture| RunPlatform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        ..RunPlatform::default()
    });
    let configs = on.store.configs();
    let found = configs
        .resolve(&ns(), &reference(text), platform.as_ref())
        .await;
    found.map(|found| found.value)
}

async fn an_id_resolves_at_every_length_from_four_digits_on(on: &On) {
    let wanted = on.create(&draft(&["a"])).await;
    let hex = wanted.digest().hex();
    for digits in 4..=64 {
        assert_eq!(resolve(on, &hex[..digits]).await.unwrap(), wanted);
        let long = format!("sha256:{}", &hex[..digits]);
        assert_eq!(resolve(on, &long).await.unwrap(), wanted);
    }
}

async fn what_is_no_beginning_of_an_id_is_said_to_be_none(on: &On) {
    let hex = on.create(&draft(&["a"])).await.digest().hex();
    for text in [
        &hex[..1],
        &hex[..3],
        "sha256:",
        &format!("sha256:{}", &hex[..3]),
        &format!("sha256:{}", hex.to_uppercase()),
        &format!("sha256:{hex}0"),
    ] {
        let refused = resolve(on, text).await.unwrap_err();
        let is_said = matches!(&refused, Error::Invalid(invalid) if invalid.field() == "reference");
        assert!(is_said, "{text}: {refused}");
    }
    // What might be a name is not found.
    for text in ["zzzz", &format!("{hex}0"), "sha256", "md5:1234", " "] {
        let refused = resolve(on, text).await.unwrap_err();
        assert!(matches!(refused, Error::NotFound(_)), "{text}: {refused}");
    }
    assert!("".parse::<Reference>().is_err());
}

/// Configs that can be read, whose ids are what the test says. Nothing reads their bytes.
async fn plant(on: &On, ids: &[ConfigId]) {
    let made = on.create(&draft(&["a"])).await;
    let keys = [
        schema::summary_key(&ns(), &made),
        schema::marks_key(&ns(), &made),
    ];
    let rows = on.store.snapshot().await.unwrap().get(&keys).await.unwrap();
    on.break_with(|batch| {
        for id in ids {
            let value = |i: usize| rows[i].as_ref().unwrap().value.clone();
            batch
                .put(schema::summary_key(&ns(), id), value(0))
                .put(schema::marks_key(&ns(), id), value(1));
        }
    })
    .await;
}

async fn unplant(on: &On, ids: &[ConfigId]) {
    on.break_with(|batch| {
        for id in ids {
            batch
                .delete(schema::summary_key(&ns(), id))
                .delete(schema::marks_key(&ns(), id));
        }
    })
    .await;
}

async fn the_beginning_of_several_ids_lists_them(on: &On) {
    let mut bytes = [0xab; 32];
    let a = ConfigId::from_bytes(bytes);
    bytes[31] = 0xac;
    let b = ConfigId::from_bytes(bytes);
    plant(on, &[b, a]).await;
    let hex = a.digest().hex();
    for digits in 4..=63 {
        let text = &hex[..digits];
        let Error::Ambiguous {
            candidates,
            has_more,
            reference,
            ..
        } = resolve(on, text).await.unwrap_err()
        else {
            panic!("{text} is taken for one");
        };
        assert_eq!((candidates, has_more), (vec![a, b], false));
        assert_eq!(reference, text);
    }
    assert_eq!(resolve(on, &hex).await.unwrap(), a);
    unplant(on, &[a, b]).await;
}

async fn candidates_are_told_up_to_a_number(on: &On) {
    let ids: Vec<ConfigId> = (0..11)
        .map(|i| {
            let mut bytes = [0xab; 32];
            bytes[9] = i;
            ConfigId::from_bytes(bytes)
        })
        .collect();
    for (count, more) in [(10, false), (11, true)] {
        plant(on, &ids[..count]).await;
        let refused = resolve(on, "abab").await.unwrap_err();
        let Error::Ambiguous {
            candidates,
            has_more,
            ..
        } = refused
        else {
            panic!("{refused}");
        };
        assert_eq!((&candidates[..], has_more), (&ids[..10], more));
        unplant(on, &ids[..count]).await;
    }
}

/// A record of that name that points to some target.
pub(super) async fn tag(on: &On, name: &str, target: Digest) {
    let size = Size::try_from(7u64).unwrap();
    let target = Descriptor::new("a/b".parse().unwrap(), target, size);
    let change = ImageChange::Replace {
        target,
        labels: Labels::default(),
    };
    let request = PutImage::new(name.parse().unwrap(), change);
    on.store.images().put(&ns(), request).await.unwrap();
}

async fn a_name_stands_for_the_config_of_its_target(on: &On) {
    let id = on.create(&draft(&["a"])).await;
    let manifest = *target("manifest").digest();
    tag(on, "direct:1", id.digest()).await;
    tag(on, "linked:1", manifest).await;
    assert_eq!(resolve(on, "direct:1").await.unwrap(), id);
    let refused = resolve(on, "linked:1").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "config linked:1 in namespace ns: not found"
    );
    on.link(id, manifest).await;
    assert_eq!(resolve(on, "linked:1").await.unwrap(), id);
}

async fn a_name_comes_before_the_beginning_of_an_id_and_after_a_whole_one(on: &On) {
    let id = on.create(&draft(&["a"])).await;
    let other = on.create(&draft(&["b"])).await;
    let hex = id.digest().hex();
    for text in [
        hex[..4].to_owned(),
        hex[..3].to_owned(),
        hex.clone(),
        id.to_string(),
    ] {
        tag(on, &text, other.digest()).await;
    }
    assert_eq!(resolve(on, &hex[..4]).await.unwrap(), other);
    assert_eq!(resolve(on, &hex[..3]).await.unwrap(), other);
    assert_eq!(resolve(on, &hex[..5]).await.unwrap(), id);
    assert_eq!(resolve(on, &hex).await.unwrap(), id);
    assert_eq!(resolve(on, &id.to_string()).await.unwrap(), id);
    on.remove(id).await.unwrap();
    let gone = resolve(on, &hex).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "an id is no name");
}

async fn of_several_configs_of_a_name_the_platform_chooses(on: &On) {
    let index = *target("index").digest();
    let mut ids = Vec::new();
    for architecture in ["amd64", "arm64", "riscv64"] {
        let id = on.create(&draft(&["a"]).on(architecture)).await;
        on.link(id, index).await;
        ids.push(id);
    }
    tag(on, "multi:1", index).await;
    for (i, architecture) in ["amd64", "arm64", "riscv64"].into_iter().enumerate() {
        let found = on_platform(on, "multi:1", Some(architecture)).await;
        assert_eq!(found.unwrap(), ids[i]);
    }
    let none = on_platform(on, "multi:1", Some("s390x")).await;
    assert!(matches!(none, Err(Error::NotFound(_))));
    let Err(Error::Ambiguous { candidates, .. }) = resolve(on, "multi:1").await else {
        panic!("one of three");
    };
    ids.sort();
    assert_eq!(candidates, ids);
    // Two that suit alike are two.
    let again = on.create(&draft(&["a"]).saying("again")).await;
    on.link(again, index).await;
    let two = on_platform(on, "multi:1", Some("amd64")).await;
    assert!(matches!(two, Err(Error::Ambiguous { candidates, .. }) if candidates.len() == 2));
    // One is one, whatever it runs on.
    tag(on, "single:1", ids[0].digest()).await;
    let one = on_platform(on, "single:1", Some("s390x")).await;
    assert_eq!(one.unwrap(), ids[0]);
}

async fn a_name_that_leads_to_no_config_stands_for_none(on: &On) {
    let id = on.create(&draft(&["a"])).await;
    let hex = id.digest().hex();
    tag(on, &hex[..6], *target("else").digest()).await;
    let none = resolve(on, &hex[..6]).await;
    assert!(matches!(none, Err(Error::NotFound(_))), "it is a name");
    on.delete(&format!("ns/{}", &hex[..6])).await.unwrap();
    assert_eq!(resolve(on, &hex[..6]).await.unwrap(), id);
}
