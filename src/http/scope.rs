//! What a request reaches: the node through the eyes of its bearer.
//!
//! Handlers never see the node itself. They get [`Reads`] or [`Writes`], which are bound to the
//! bearer's tenant; [`TenantReads`] or [`TenantAppends`], which hold the log of the tenant that the
//! path names; or [`Whole`], which bearers that are bound to a tenant don't get. So a handler can't
//! forget to look whose entries it touches.

use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::Method;
use axum::http::request::Parts;
use prometheus_client::metrics::gauge::Gauge;

use super::access::Access;
use super::parameters::Parameters;
use super::problem::Problem;
use crate::node::consumers::{Lag, Moved, lag};
use crate::node::{
    AppendError, Consumer, ConsumerName, CursorError, EmitError, Explanation, Filter, Follow, From,
    Node, Page, Persona, Query, QueryError, Receipt, ReplicationError, Right, Token, wall_millis,
};
use crate::session::TenantLog;
use crate::store::Reader;
use crate::words::gap::GAP_KIND;
use crate::words::json::DraftJson;
use crate::words::{
    ClusterId, Code, Draft, EmitNumber, Entry, EntryId, NameError, Seq, Tenant, Time,
};

/// The node that is served, which only this file takes out of it, and the door before it.
#[derive(Clone)]
pub struct Served {
    node: Node,
    access: Access,
}

impl Served {
    /// A node to be served to those whom the door lets in.
    pub fn new(node: Node, access: Access) -> Self {
        Self { node, access }
    }

    /// What the bearer of a request may do. Whoever reads the body finds it among the extensions.
    fn admit(&self, parts: &mut Parts) -> Result<Grant, Problem> {
        let grant = self.access.grant(&parts.headers)?;
        parts.extensions.insert(grant.clone());
        Ok(grant)
    }
}

/// Whose entries a bearer may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenancy {
    /// Everybody's, and the node's own state.
    All,
    /// One tenant's.
    Of(Tenant),
}

impl Tenancy {
    /// Gives a draft that names no tenant the bearer's.
    pub fn complete(&self, draft: &mut DraftJson) {
        if let Self::Of(tenant) = self {
            draft.tenant.get_or_insert_with(|| tenant.to_string());
        }
    }

    fn admits(&self, named: &Tenant) -> Result<(), Problem> {
        match self {
            Self::Of(own) if own != named => {
                let detail = format!("the token is for the tenant {own}, not for {named}");
                Err(Problem::new(Code::Rights, detail))
            }
            _ => Ok(()),
        }
    }

    /// A filter that lets nothing pass that is another tenant's. Gaps pass: what was dropped may
    /// have been the bearer's.
    fn narrow(&self, mut filter: Filter) -> Result<Filter, Problem> {
        if let Self::Of(own) = self {
            let named = filter.tenant.get_or_insert_with(|| own.clone());
            self.admits(named)?;
        }
        Ok(filter)
    }

    fn shows(&self, entry: &Entry) -> bool {
        match self {
            Self::All => true,
            Self::Of(own) => entry.body.tenant == *own || entry.body.kind.as_str() == GAP_KIND,
        }
    }
}

/// What a bearer may do, and with whose entries.
#[derive(Clone, Debug)]
pub struct Grant {
    tenancy: Tenancy,
    reads: bool,
    appends: bool,
}

impl Grant {
    /// Everything.
    pub fn everything() -> Self {
        Self { tenancy: Tenancy::All, reads: true, appends: true }
    }

    /// What a token grants.
    ///
    /// # Errors
    /// It names a tenant that is none.
    pub fn of(token: &Token) -> Result<Self, NameError> {
        let tenancy = token.tenant()?.map_or(Tenancy::All, Tenancy::Of);
        let may = |right| token.rights.contains(&right);
        Ok(Self { tenancy, reads: may(Right::Read), appends: may(Right::Append) })
    }

    /// Whose entries may be named.
    pub fn tenancy(&self) -> &Tenancy {
        &self.tenancy
    }

    fn require(&self, right: Right) -> Result<(), Problem> {
        let (right, may) = match right {
            Right::Read => ("read", self.reads),
            Right::Append => ("append", self.appends),
        };
        if may {
            return Ok(());
        }
        Err(Problem::new(Code::Rights, format!("the token doesn't have the right to {right}")))
    }
}

/// Why a node has no entry of that name.
pub async fn absent(node: &Node, id: EntryId) -> Problem {
    match node.is_removed(id).await {
        Ok(true) => Problem::new(Code::Removed, format!("the entry {id} was removed")),
        Ok(false) => not_here(id),
        Err(error) => error.into(),
    }
}

fn not_here(id: EntryId) -> Problem {
    Problem::new(Code::NotFound, format!("no entry {id} has arrived on this node"))
}

/// The log as the bearer may read it.
pub struct Reads {
    node: Node,
    tenancy: Tenancy,
}

impl FromRequestParts<Served> for Reads {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Problem> {
        let grant = served.admit(parts)?;
        grant.require(Right::Read)?;
        Ok(Self { node: served.node.clone(), tenancy: grant.tenancy })
    }
}

impl Reads {
    /// A page of what the bearer may see.
    ///
    /// # Errors
    /// The query names another tenant, or has no answer.
    pub async fn query(&self, mut query: Query) -> Result<Page, Problem> {
        query.filter = self.tenancy.narrow(query.filter)?;
        Ok(self.node.query(query).await?)
    }

    /// What is read for a page. It tells of the whole log, so a tenant's token doesn't reach it.
    ///
    /// # Errors
    /// The bearer is bound to a tenant, or the query has no answer.
    pub async fn explain(&self, query: Query) -> Result<Explanation, Problem> {
        match &self.tenancy {
            Tenancy::All => Ok(self.node.explain(query).await?.1),
            Tenancy::Of(_) => {
                let what = "what is read for an answer tells of other tenants";
                Err(Problem::new(Code::Rights, what))
            }
        }
    }

    /// One entry, or all that share the seq; none that the bearer may not see.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn get(&self, id: EntryId) -> Result<Vec<Entry>, QueryError> {
        let mut entries = self.node.get(id).await?;
        entries.retain(|entry| self.tenancy.shows(entry));
        Ok(entries)
    }

    /// Why there is no entry of that name. A bearer that is bound to a tenant doesn't learn whether it
    /// was removed: it may have been another tenant's.
    pub async fn absent(&self, id: EntryId) -> Problem {
        match self.tenancy {
            Tenancy::All => absent(&self.node, id).await,
            Tenancy::Of(_) => not_here(id),
        }
    }

    /// Follows what the bearer may see; or says why the cursor is none of this node.
    ///
    /// # Errors
    /// The filter names another tenant, or the store can't be read.
    pub async fn follow(
        &self,
        filter: Filter,
        from: From,
    ) -> Result<Result<Follow, CursorError>, Problem> {
        let filter = self.tenancy.narrow(filter)?;
        match self.node.follow(filter, from).await {
            Ok(follow) => Ok(Ok(follow)),
            Err(QueryError::Cursor(error)) => Ok(Err(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// The persona of this name: of the tenant that the parameters name, or else of the bearer's.
    ///
    /// # Errors
    /// There is none, or it is another tenant's.
    pub async fn persona(&self, name: &str, parameters: &Parameters) -> Result<Persona, Problem> {
        let named = parameters.read("tenant", Code::Name, Tenant::parse)?;
        let tenant = match (named, &self.tenancy) {
            (Some(named), _) => named,
            (None, Tenancy::Of(own)) => own.clone(),
            (None, Tenancy::All) => Tenant::default(),
        };
        self.tenancy.admits(&tenant)?;
        Ok(TenantLog::new(self.node.clone(), tenant)?.persona(name).await?)
    }

    /// Counts a stream until the value is dropped.
    pub fn count_stream(&self) -> Counted {
        Counted::stream(&self.node)
    }

    /// The cluster of the log.
    pub fn cluster(&self) -> ClusterId {
        self.node.cluster()
    }

    /// The end of the node, to be waited for.
    pub fn closing(&self) -> Closing {
        Closing(self.node.clone())
    }
}

/// Something that a gauge counts as long as it lives.
pub struct Counted(Gauge);

impl Counted {
    fn stream(node: &Node) -> Self {
        let streams = node.metrics().http_streams.clone();
        streams.inc();
        Self(streams)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The end of the node.
#[derive(Clone)]
pub struct Closing(Node);

impl Closing {
    /// Resolves so long after the node began to shut down.
    pub async fn ended(&self, grace: Duration) {
        self.0.closing().await;
        tokio::time::sleep(grace).await;
    }
}

/// The log as the bearer may write it.
pub struct Writes {
    node: Node,
    tenancy: Tenancy,
}

impl FromRequestParts<Served> for Writes {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Problem> {
        let grant = served.admit(parts)?;
        grant.require(Right::Append)?;
        Ok(Self { node: served.node.clone(), tenancy: grant.tenancy })
    }
}

/// Drafts that the bearer may append.
pub struct Own(Vec<Draft>);

impl Writes {
    /// Takes drafts that the bearer may append.
    ///
    /// # Errors
    /// One of them is another tenant's.
    pub fn admit(&self, drafts: Vec<Draft>) -> Result<Own, Problem> {
        drafts.iter().try_for_each(|draft| self.tenancy.admits(&draft.tenant))?;
        Ok(Own(drafts))
    }

    /// Appends drafts in one commit, or none of them; with a key, once. Keys of different tenants
    /// are different keys.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(
        &self,
        Own(drafts): Own,
        key: Option<&str>,
    ) -> Result<Vec<Receipt>, AppendError> {
        match (key, &self.tenancy) {
            (None, _) => self.node.append_all(drafts).await,
            (Some(key), Tenancy::All) => self.node.append_once(key, drafts).await,
            (Some(key), Tenancy::Of(tenant)) => {
                // No key of a client holds a control character.
                self.node.append_once(&format!("{tenant}\n{key}"), drafts).await
            }
        }
    }

    /// Emits events, all or none.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub fn emit(&self, Own(events): Own) -> Result<(EmitNumber, u64), EmitError> {
        self.node.emit_all(events)
    }

    /// Waits until so many peers have this node's entries below `next_seq`.
    ///
    /// # Errors
    /// They haven't in time.
    pub async fn wait_replicated(
        &self,
        next_seq: Seq,
        peers: usize,
        patience: Duration,
    ) -> Result<(), ReplicationError> {
        self.node.wait_replicated(next_seq, peers, patience).await
    }

    /// Why the node writes no more, if a commit failed.
    pub fn poison(&self) -> Option<&str> {
        self.node.poison()
    }
}

/// The log of the tenant that the path names, for a bearer who may read it.
pub struct TenantReads(pub TenantLog);

impl FromRequestParts<Served> for TenantReads {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Problem> {
        named_log(parts, served, Right::Read).await.map(Self)
    }
}

impl TenantReads {
    /// Counts a stream until the value is dropped.
    pub fn count_stream(&self) -> Counted {
        Counted::stream(self.0.node())
    }
}

/// The log of the tenant that the path names, for a bearer who may append to it.
pub struct TenantAppends(pub TenantLog);

impl FromRequestParts<Served> for TenantAppends {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Problem> {
        named_log(parts, served, Right::Append).await.map(Self)
    }
}

/// The log of the tenant in the path, once it is known that the bearer may do this with it.
async fn named_log(parts: &mut Parts, served: &Served, right: Right) -> Result<TenantLog, Problem> {
    let grant = served.admit(parts)?;
    grant.require(right)?;
    let path = RawPathParams::from_request_parts(parts, served).await;
    let path = path.map_err(|error| Problem::new(Code::Name, error))?;
    let named = path.iter().find_map(|(name, value)| (name == "tenant").then_some(value));
    let tenant = Tenant::parse(named.unwrap_or_default());
    let tenant = tenant.map_err(|error| Problem::new(Code::Name, error).at("tenant"))?;
    grant.tenancy.admits(&tenant)?;
    Ok(TenantLog::new(served.node.clone(), tenant)?)
}

/// The whole node, for bearers that are bound to no tenant and have the right to read, or, where the
/// request changes something, to append.
pub struct Whole(pub Node);

impl FromRequestParts<Served> for Whole {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Problem> {
        let grant = served.admit(parts)?;
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        grant.require(if reads { Right::Read } else { Right::Append })?;
        match grant.tenancy {
            Tenancy::All => Ok(Self(served.node.clone())),
            Tenancy::Of(tenant) => {
                let detail = format!("the token is for the tenant {tenant}, not for the node");
                Err(Problem::new(Code::Rights, detail))
            }
        }
    }
}

/// The named consumers of the bearer: whoever reads may say how far. Bearers who are bound to a tenant
/// have consumers of their own, which those who are bound to none see, too.
pub struct Consumes {
    node: Node,
    tenancy: Tenancy,
}

impl FromRequestParts<Served> for Consumes {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Problem> {
        let grant = served.admit(parts)?;
        grant.require(Right::Read)?;
        Ok(Self { node: served.node.clone(), tenancy: grant.tenancy })
    }
}

impl Consumes {
    /// The consumer that is meant: of the tenant that the parameters name, or else of the bearer's.
    ///
    /// # Errors
    /// It can't be a name, or it is another tenant's.
    pub fn named(&self, name: &str, parameters: &Parameters) -> Result<ConsumerName, Problem> {
        parameters.allow(&["tenant"])?;
        let named = parameters.read("tenant", Code::Name, Tenant::parse)?;
        let tenant = match (named, &self.tenancy) {
            (None, Tenancy::Of(own)) => Some(own.clone()),
            (named, tenancy) => {
                named.iter().try_for_each(|named| tenancy.admits(named))?;
                named
            }
        };
        Ok(ConsumerName::new(tenant, name)?)
    }

    /// All consumers that the bearer may see.
    pub fn list(&self) -> Vec<(ConsumerName, Consumer)> {
        let mut listed = self.node.consumers().list();
        if let Tenancy::Of(own) = &self.tenancy {
            listed.retain(|(name, _)| name.tenant() == Some(own));
        }
        listed
    }

    /// One consumer.
    pub fn find(&self, name: &ConsumerName) -> Option<Consumer> {
        self.node.consumers().find(name)
    }

    /// Moves a consumer to where `place` says, and makes it when it is missing.
    ///
    /// # Errors
    /// There is no such place, or see [`ConsumerError`].
    pub async fn put(
        &self,
        name: ConsumerName,
        place: impl FnOnce(&mut dyn Reader) -> Result<Moved, Problem> + Send + 'static,
    ) -> Result<Consumer, Problem> {
        let node = self.node.clone();
        let put = self.node.read(move |reader| {
            let moved = match place(reader) {
                Ok(moved) => moved,
                Err(problem) => return Ok(Err(problem)),
            };
            let put = node.consumers().put(reader, &name, &moved, now());
            Ok(put.map_err(Problem::from))
        });
        put.await?
    }

    /// Forgets a consumer; there was none when it returns none.
    ///
    /// # Errors
    /// The file can't be removed.
    pub async fn remove(&self, name: ConsumerName) -> Result<Option<Consumer>, Problem> {
        let node = self.node.clone();
        let removed = tokio::task::spawn_blocking(move || node.consumers().remove(&name)).await;
        Ok(removed.map_err(|error| Problem::new(Code::Io, error))??)
    }

    /// How far a consumer is behind; none where its place is lost.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn lag(
        &self,
        name: &ConsumerName,
        consumer: &Consumer,
    ) -> Result<Option<Lag>, Problem> {
        let (tenant, position) = (name.tenant().cloned(), consumer.position.clone());
        let lag = self.node.read(move |reader| lag(reader, &position, tenant.as_ref(), now()));
        Ok(lag.await?)
    }
}

fn now() -> Time {
    Time::from_millis(wall_millis())
}

/// The node as everybody may see it who reaches it: whether it can persist.
pub struct Probed(pub Node);

impl FromRequestParts<Served> for Probed {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, served: &Served) -> Result<Self, Self::Rejection> {
        Ok(Self(served.node.clone()))
    }
}
