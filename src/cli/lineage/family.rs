//! A config with those below and above it, and which one of them each stands on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::{StreamExt, TryStreamExt, stream};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::cli::config;
use crate::cli::connect::PAGE_SIZE;
use crate::cli::failure::Failure;
use crate::proto::v1::configs_client::ConfigsClient;
use crate::proto::v1::{
    BaseOfRequest, Config, ConfigPlatform, DescendantsRequest, GetConfigRequest, Relative,
};

/// All configs of a lineage: those that were asked about, then their bases, the nearest first, then what is
/// built on them, the nearest first.
pub struct Family {
    /// What was asked about.
    pub reference: String,
    pub members: Vec<Member>,
}

pub struct Member {
    pub relation: Relation,
    pub config: Config,
    pub names: Vec<String>,
    pub has_more_names: bool,
    /// How many layers lie between it and what was asked about.
    pub layers: i32,
    /// Descendants only: the config, of those that were asked about, that it is built on.
    pub base: String,
    pub base_generation: u64,
    pub is_outdated: bool,
    /// How many steps its history has, once they are known.
    pub steps: usize,
    /// It has the layers, and the history of the lower one is not the beginning of that of the upper one.
    pub is_by_layers_only: bool,
    /// The nearest other member that it is built on, by its place, once it is known.
    pub stands_on: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Itself,
    Base,
    Descendant,
}

/// What says where a config stands: its layers, and the steps that made them.
#[derive(Default)]
struct Standing {
    chain_ids: Vec<String>,
    steps: Vec<String>,
}

/// Configs that are read at once.
const IN_FLIGHT: usize = 16;
/// Members whose layers are read, to see which one stands on which. Larger families are shown flat.
const MAX_NESTED: usize = 1000;

impl Family {
    /// Reads the lineage of all configs that a text stands for.
    pub async fn of(
        client: &mut ConfigsClient<Channel>,
        namespace: &str,
        text: &str,
        platform: Option<&ConfigPlatform>,
    ) -> Result<Self, Failure> {
        let (reference, itself) = itself(client, namespace, text, platform).await?;
        let mut family = Self {
            reference: reference.clone(),
            members: Vec::new(),
        };
        let mut bases: Vec<Member> = Vec::new();
        for config in itself {
            for base in bases_of(client, namespace, &config.id).await? {
                let base = Member::new(Relation::Base, base);
                match bases.iter_mut().find(|one| one.config.id == base.config.id) {
                    // It is enough that one of them goes on from it.
                    Some(known) => known.is_by_layers_only &= base.is_by_layers_only,
                    None => bases.push(base),
                }
            }
            let config = Some(config);
            let itself = Relative {
                config,
                ..Relative::default()
            };
            family.members.push(Member::new(Relation::Itself, itself));
        }
        family.members.extend(bases);
        let mut request = DescendantsRequest {
            namespace: namespace.to_owned(),
            reference,
            platform: platform.cloned(),
            earlier_generations: true,
            page_size: PAGE_SIZE,
            page_token: String::new(),
        };
        loop {
            let page = client.descendants(request.clone()).await?.into_inner();
            let members = page.descendants.into_iter();
            family
                .members
                .extend(members.map(|one| Member::new(Relation::Descendant, one)));
            if page.next_page_token.is_empty() {
                return Ok(family);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Reads the layers and steps of the members: which one stands on which. Does nothing where there are very many.
    pub async fn nest(
        &mut self,
        client: &ConfigsClient<Channel>,
        namespace: &str,
    ) -> Result<(), Failure> {
        if self.members.len() > MAX_NESTED {
            return Ok(());
        }
        let members = self.members.iter().map(|member| &member.config.id);
        // What a name was before is no member.
        let bases = self.members.iter().map(|member| &member.base);
        let ids: BTreeSet<String> = members
            .chain(bases)
            .filter(|id| !id.is_empty())
            .cloned()
            .collect();
        let all: BTreeMap<String, Standing> = stream::iter(ids)
            .map(|id| standing(client.clone(), namespace, id))
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await?;
        self.compare(&all);
        Ok(())
    }

    fn compare(&mut self, all: &BTreeMap<String, Standing>) {
        let of = |id: &String| all.get(id);
        for member in &mut self.members {
            member.steps = of(&member.config.id).map_or(0, |own| own.steps.len());
        }
        // Of equal layers, what says of itself that it is the nearest.
        self.members.sort_by_key(|member| match member.relation {
            Relation::Itself => (0, 0, false, Reverse(0)),
            Relation::Base => (
                1,
                member.layers,
                member.is_by_layers_only,
                Reverse(member.steps),
            ),
            Relation::Descendant => (2, 0, false, Reverse(0)),
        });
        let mut standings: Vec<&Standing> = Vec::new();
        let nowhere = Standing::default();
        for member in &self.members {
            standings.push(of(&member.config.id).unwrap_or(&nowhere));
        }
        standings.extend(all.iter().filter_map(|(id, standing)| {
            let is_member = self.members.iter().any(|member| member.config.id == *id);
            (!is_member).then_some(standing)
        }));
        let members = self.members.len();
        for (member, on) in self.members.iter_mut().zip(nearest(&standings)) {
            member.stands_on = on.filter(|on| *on < members);
        }
    }

    pub fn related(&self, relation: Relation) -> impl Iterator<Item = (usize, &Member)> {
        let members = self.members.iter().enumerate();
        members.filter(move |(_, member)| member.relation == relation)
    }
}

/// The configs that a text stands for, and how it was read.
async fn itself(
    client: &mut ConfigsClient<Channel>,
    namespace: &str,
    text: &str,
    platform: Option<&ConfigPlatform>,
) -> Result<(String, Vec<Config>), Failure> {
    let found = config::get(client, namespace, text, platform).await;
    let refused = match found {
        Ok((reference, answer)) => return Ok((reference, answer.config.into_iter().collect())),
        Err(refused) => refused,
    };
    // An image for several platforms has a config for each. Without all of them the answer would be wrong.
    let Some(ids) = config::candidates(&refused.status).filter(|_| platform.is_none()) else {
        return Err(refused.into());
    };
    let mut configs = Vec::new();
    for id in ids {
        let request = of_id(namespace, id);
        configs.extend(client.get(request).await?.into_inner().config);
    }
    Ok((refused.reference, configs))
}

async fn bases_of(
    client: &mut ConfigsClient<Channel>,
    namespace: &str,
    id: &str,
) -> Result<Vec<Relative>, Status> {
    let mut request = BaseOfRequest {
        namespace: namespace.to_owned(),
        reference: id.to_owned(),
        platform: None,
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    let mut bases = Vec::new();
    loop {
        let page = client.base_of(request.clone()).await?.into_inner();
        bases.extend(page.bases);
        if page.next_page_token.is_empty() {
            return Ok(bases);
        }
        request.page_token = page.next_page_token;
    }
}

/// Where a config stands; nowhere when it has gone meanwhile, or is corrupt.
async fn standing(
    mut client: ConfigsClient<Channel>,
    namespace: &str,
    id: String,
) -> Result<(String, Standing), Status> {
    match client.get(of_id(namespace, id.clone())).await {
        Ok(answer) => {
            let config = answer.into_inner().config.unwrap_or_default();
            let steps = config.history.iter().map(|step| format!("{step:?}"));
            let standing = Standing {
                steps: steps.collect(),
                chain_ids: config.chain_ids,
            };
            Ok((id, standing))
        }
        Err(status) => match status.code() {
            Code::NotFound | Code::DataLoss => Ok((id, Standing::default())),
            _ => Err(status),
        },
    }
}

fn of_id(namespace: &str, id: String) -> GetConfigRequest {
    GetConfigRequest {
        namespace: namespace.to_owned(),
        reference: id,
        platform: None,
    }
}

/// Of each, the one that it goes on from with the most layers. Of several of these, one whose history it
/// continues, as far as that goes; else the one that has the least that is not its own.
fn nearest(all: &[&Standing]) -> Vec<Option<usize>> {
    let mut by_top: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, one) in all.iter().enumerate() {
        if let Some(top) = one.chain_ids.last() {
            by_top.entry(top).or_default().push(place);
        }
    }
    let on = |upper: &Standing| {
        let layers = upper.chain_ids.iter().rev();
        let mut candidates = layers.map(|layer| by_top.get(layer.as_str()).into_iter().flatten());
        candidates.find_map(|places| {
            let below = places.copied().filter(|place| all[*place].is_below(upper));
            below.max_by_key(|place| {
                let lower = all[*place];
                let steps = i64::try_from(lower.steps.len()).unwrap_or(i64::MAX);
                match lower.is_continued_by(upper) {
                    true => (true, steps),
                    false => (false, -steps),
                }
            })
        })
    };
    all.iter().map(|upper| on(upper)).collect()
}

// === impl Standing ===

impl Standing {
    /// Whether another one, with its layers at the bottom, goes on from it.
    fn is_below(&self, upper: &Self) -> bool {
        let has_more_layers = self.chain_ids.len() < upper.chain_ids.len();
        has_more_layers || self.steps.len() < upper.steps.len() && self.is_continued_by(upper)
    }

    /// Whether its history is the beginning of another one's.
    fn is_continued_by(&self, upper: &Self) -> bool {
        upper.steps.starts_with(&self.steps)
    }
}

// === impl Member ===

impl Member {
    pub fn new(relation: Relation, relative: Relative) -> Self {
        Self {
            relation,
            config: relative.config.unwrap_or_default(),
            names: relative.names,
            has_more_names: relative.has_more_names,
            layers: relative.layers,
            base: relative.base,
            base_generation: relative.base_generation,
            is_outdated: relative.is_outdated,
            steps: 0,
            is_by_layers_only: relative.by_layers_only,
            stands_on: None,
        }
    }

    /// Its names in one line; nothing where it has none.
    pub fn names_text(&self) -> String {
        let more = if self.has_more_names { ", ..." } else { "" };
        self.names.join(", ") + more
    }

    /// What it is called by, or that it has no name.
    pub fn title(&self) -> String {
        match self.names.is_empty() {
            true => "<none>".to_owned(),
            false => self.names_text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(chain_ids: &[&str], steps: &[&str]) -> Standing {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Standing {
            chain_ids: owned(chain_ids),
            steps: owned(steps),
        }
    }

    #[test]
    fn each_stands_on_the_nearest_that_it_goes_on_from() {
        let all = [
            standing(&["a"], &["ADD"]),
            standing(&["a", "b"], &["ADD", "RUN"]),
            // The same layers, and a step more.
            standing(&["a", "b"], &["ADD", "RUN", "ENV"]),
            standing(&["a", "b", "c"], &["ADD", "RUN", "ENV", "COPY"]),
            // The same layers, and another history.
            standing(&["a", "b"], &["ADD", "COPY"]),
            standing(&["x"], &[]),
            standing(&[], &[]),
            // Goes on from the second, and has the layers of the third and fifth too.
            standing(&["a", "b", "d"], &["ADD", "RUN", "COPY"]),
            // Nobody told its history.
            standing(&["a", "e"], &[]),
        ];
        assert_eq!(
            nearest(&all.iter().collect::<Vec<_>>()),
            [
                None,
                Some(0),
                Some(1),
                Some(2),
                Some(0),
                None,
                None,
                Some(1),
                Some(0)
            ]
        );
    }
}
