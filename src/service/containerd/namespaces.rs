//! `containerd.services.namespaces.v1.Namespaces`.
//!
//! As containerd 1.6 does it, except that as in 2.x no metadata is needed: an event is of the namespace
//! itself. What else differs is listed in `tests/containerd/known.rs`.

use prost::Message;
use tonic::{Request, Response, Status};
use tracing::Span;

use super::answers::{Answers, sharing};
use super::error::{Fault, Kind, not_found, quoted};
use super::{identifier, wire};
use crate::domain::{Dating, Namespace, NamespaceChange, NamespaceEdit, NamespaceRecord};
use crate::error::{Error, Subject};
use crate::proto::containerd::services::namespaces::v1 as pb;
use crate::store::{DeleteNamespace, Precondition, PutNamespace, Store};

/// The service over a store.
pub struct Service {
    store: Store,
    answers: Answers,
}

impl Service {
    pub fn new(store: &Store, answers: &Answers) -> Self {
        Self {
            store: store.clone(),
            answers: answers.clone(),
        }
    }
}

/// The name of a namespace that shall be there.
fn new_name(text: &str) -> Result<Namespace, Fault> {
    let name = identifier(text)?;
    Span::current().record("namespace", name.as_str());
    Ok(name)
}

fn check_label(key: &str, value: &str) -> Result<(), Fault> {
    wire::check_label(key, value).map_err(|fault| fault.within("namespace.Labels"))
}

/// The same, in an Update: containerd forgets there of which kind it is.
fn check_update(key: &str, value: &str) -> Result<(), Fault> {
    check_label(key, value).map_err(|fault| Fault::bare(Kind::Unknown, fault.text()))?;
    match key {
        "" if !value.is_empty() => Err(keyless()),
        _ => Ok(()),
    }
}

/// To containerd an error of its database.
fn keyless() -> Fault {
    Fault::new(Kind::InvalidArgument, "key required")
}

/// What an Update does. Without a mask and without labels it makes no namespace.
fn update(request: pb::UpdateNamespaceRequest) -> Result<PutNamespace, Fault> {
    let pb::Namespace { name, labels } = request.namespace.unwrap_or_default();
    let paths = request.update_mask.map(|mask| mask.paths);
    let paths = paths.unwrap_or_default();
    let change = if paths.is_empty() {
        for (key, value) in &labels {
            check_update(key, value)?;
        }
        let is_made = !labels.is_empty();
        let labels = wire::labels(wire::with_values(labels))?;
        let edits = vec![NamespaceEdit::Labels(labels)];
        match is_made {
            true => NamespaceChange::Upsert(edits),
            // It sets none and removes none.
            false => NamespaceChange::Edit(edits),
        }
    } else {
        let mut keys = Vec::with_capacity(paths.len());
        for path in paths {
            let Some(key) = path.strip_prefix(wire::LABEL) else {
                let why = format!("cannot update {} field", quoted(&path));
                return Err(Fault::bare(Kind::InvalidArgument, why));
            };
            check_update(key, labels.get(key).map_or("", String::as_str))?;
            keys.push(wire::without(path, wire::LABEL));
        }
        let (given, gone) = wire::named(keys, labels);
        let given = given
            .into_iter()
            .map(|(key, value)| (key, Some(value).filter(|value| !value.is_empty())));
        let mut edits = Vec::new();
        for (key, value) in given.chain(gone.into_iter().map(|key| (key, None))) {
            if !key.is_empty() {
                edits.push(NamespaceEdit::Label(key, value));
            }
        }
        NamespaceChange::Upsert(edits)
    };
    Ok(PutNamespace {
        name: new_name(&name)?,
        change,
        dating: Dating::Writes(None),
        when: Precondition::None,
        validate_only: false,
        request: None,
    })
}

fn message(record: NamespaceRecord) -> pb::Namespace {
    pb::Namespace {
        name: record.name.as_str().to_owned(),
        labels: record.labels.into_map(),
    }
}

#[tonic::async_trait]
impl pb::namespaces_server::Namespaces for Service {
    async fn get(
        &self,
        request: Request<pb::GetNamespaceRequest>,
    ) -> Result<Response<pb::GetNamespaceResponse>, Status> {
        let name = request.into_inner().name;
        let found = match name.parse() {
            Ok(name) => self.store.namespaces().get(&name).await,
            Err(invalid) => Err(Error::Invalid(invalid)),
        };
        let namespace = match found {
            Ok(found) => message(found.value.stored.record),
            // One that is not there is one without labels.
            Err(Error::NotFound(_) | Error::Invalid(_)) => pb::Namespace {
                name,
                ..Default::default()
            },
            Err(cause) => return Err(Fault::from(cause).into()),
        };
        Ok(Response::new(pb::GetNamespaceResponse {
            namespace: Some(namespace),
        }))
    }

    async fn list(
        &self,
        _: Request<pb::ListNamespacesRequest>,
    ) -> Result<Response<pb::ListNamespacesResponse>, Status> {
        let walk = self.store.namespaces().walk().await;
        let mut walk = walk.map_err(Fault::from)?;
        let mut namespaces = Vec::new();
        let mut room = wire::Room::new();
        let mut share = None;
        while let Some(found) = walk.next().await.map_err(Fault::from)? {
            for stored in found {
                let namespace = message(stored.record);
                room.take(namespace.encoded_len()).map_err(|limit| {
                    let why = format!("the namespaces take more than {limit} bytes");
                    Fault::bare(Kind::ResourceExhausted, why)
                })?;
                namespaces.push(namespace);
            }
            self.answers.share(&mut share, room.taken()).await?;
        }
        let answer = pb::ListNamespacesResponse { namespaces };
        Ok(sharing(answer, share))
    }

    async fn create(
        &self,
        request: Request<pb::CreateNamespaceRequest>,
    ) -> Result<Response<pb::CreateNamespaceResponse>, Status> {
        let namespace = request.into_inner().namespace.unwrap_or_default();
        let name = new_name(&namespace.name)?;
        for (key, value) in &namespace.labels {
            check_label(key, value)?;
        }
        let namespaces = self.store.namespaces();
        if namespace.labels.contains_key("") {
            // That it is there is said first.
            let fault = match namespaces.get(&name).await {
                Ok(found) => Error::Exists(Subject::Namespace(found.value.stored.namespace)).into(),
                Err(Error::NotFound(_)) => keyless(),
                Err(cause) => cause.into(),
            };
            return Err(fault.into());
        }
        let labels = wire::labels(wire::with_values(namespace.labels.clone()))?;
        let put = PutNamespace {
            name,
            change: NamespaceChange::Upsert(vec![NamespaceEdit::Labels(labels)]),
            dating: Dating::Writes(None),
            when: Precondition::MustNotExist,
            validate_only: false,
            request: None,
        };
        namespaces.put(&put).await.map_err(Fault::from)?;
        // As it was sent, also labels without a value.
        Ok(Response::new(pb::CreateNamespaceResponse {
            namespace: Some(namespace),
        }))
    }

    async fn update(
        &self,
        request: Request<pb::UpdateNamespaceRequest>,
    ) -> Result<Response<pb::UpdateNamespaceResponse>, Status> {
        let put = update(request.into_inner())?;
        match self.store.namespaces().put(&put).await {
            Ok(_) | Err(Error::NotFound(_)) => {}
            Err(cause) => return Err(Fault::from(cause).into()),
        }
        // There, and empty.
        Ok(Response::new(pb::UpdateNamespaceResponse {
            namespace: Some(pb::Namespace::default()),
        }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteNamespaceRequest>,
    ) -> Result<Response<()>, Status> {
        let text = &request.get_ref().name;
        // There is none of a name that none can have.
        let name = text.parse().map_err(|_| not_found("namespace", text))?;
        let delete = DeleteNamespace {
            name,
            force: false,
            when: Precondition::None,
            validate_only: false,
            request: None,
        };
        let deleted = self.store.namespaces().delete(&delete).await;
        deleted.map_err(Fault::from)?;
        Ok(Response::new(()))
    }
}

#[cfg(test)]
mod tests;
